"""Kubernetes' CEL functions (`k8s.io/apiserver/pkg/cel/library`): lists, regex, quantity, url, ip, cidr, semver, format.

Each function is declared once, with the types that the checker sees. The evaluator knows one message for all of Kubernetes' types, so
functions of one name and shape are merged there and told apart by the message's kind.
"""
from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, NamedTuple

from cel_expr_python import cel

from kubepy.api.cel.function import lists, net, quantities, texts
from kubepy.api.cel.function.opaque import NAMES, kind_of
from kubepy.api.cel.types import cel_type


class Function(NamedTuple):
    """`parameters` and `result` are type names: CEL's, or one of Kubernetes' own (Quantity, URL, …)."""

    name: str
    member: bool
    parameters: tuple[str, ...]
    result: str
    call: Callable[..., Any]


def functions() -> list[Function]:
    return [Function(*item) for module in (lists, texts, quantities, net) for item in module.FUNCTIONS]


@lru_cache(maxsize=2)
def declarations(*, opaque: bool) -> list[Any]:
    """The declarations for an environment; `opaque` is for the evaluator."""
    by_name: dict[str, dict[tuple[bool, tuple[str, ...]], list[Function]]] = {}
    for function in functions():
        shape = tuple("Opaque" if opaque and item in NAMES else item for item in function.parameters)
        by_name.setdefault(function.name, {}).setdefault((function.member, shape), []).append(function)
    return [cel.FunctionDecl(name, [_overload(name, position, member, shape, found, opaque)
                                    for position, ((member, shape), found) in enumerate(shapes.items())])
            for name, shapes in by_name.items()]


def _overload(name: str, position: int, member: bool, shape: tuple[str, ...], found: list[Function], opaque: bool) -> Any:
    results = {item.result for item in found}
    result = results.pop() if len(results) == 1 else "dyn"
    if opaque and result in NAMES:
        result = "Opaque"
    return cel.Overload(f"kubernetes_{name.replace('.', '_')}_{position}", _type(result), [_type(item) for item in shape], member,
                        _dispatch(found))


def _type(name: str) -> Any:
    if name in NAMES or name == "Opaque":
        return cel.Type(f"kubernetes.{name}")
    return cel_type(name)


def _dispatch(found: list[Function]) -> Callable[..., Any]:
    if len(found) == 1:
        return found[0].call

    def call(*values: Any) -> Any:
        for function in found:
            if all(wanted not in NAMES or kind_of(value) == wanted for wanted, value in zip(function.parameters, values, strict=True)):
                return function.call(*values)
        raise ValueError("no such overload")

    return call


def names() -> Iterable[str]:
    return {function.name for function in functions()}
