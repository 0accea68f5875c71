"""CEL in admission: what expressions may name, compiled once each.

Known difference: objects are checked as values of any type, and `authorizer` is not there; an expression that names it does not compile.
"""
from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from kubepy.apiserver.admission.view import View
from kubepy.apiserver.admission.webhook.review import build

if TYPE_CHECKING:
    from kubepy.api.cel import Environment, Program

CONDITION = ("object", "oldObject", "request")
ANY = ("BOOL", "INT", "UINT", "STRING", "DOUBLE", "BYTES", "LIST", "MAP", "NULL", "STRUCT", "TIMESTAMP", "DURATION", "TYPE", "OPAQUE")
POLICY = ("object", "oldObject", "request", "params", "namespaceObject", "variables")
_VARIABLE = re.compile(r"\bvariables\.([A-Za-z_]\w*)")
_UNDECLARED = re.compile(r"undeclared reference to '(\w+)\.[\w.]+'")
_SHOWN = {"BOOL": "bool", "INT": "int", "STRING": "string", "DOUBLE": "double", "LIST": "list", "MAP": "map", "NULL": "null_type"}


@lru_cache(maxsize=8)
def _environment(names: tuple[str, ...]) -> Environment:
    from kubepy.api.cel import Environment  # the engine takes a while to load, and many servers need none

    return Environment(dict.fromkeys(names, "dyn"))


@lru_cache(maxsize=4096)
def compiled(source: str, names: tuple[str, ...]) -> Program:
    """Raises CompileError."""
    return _environment(names).compile(source)


def _pointed(source: str, position: int, text: str) -> str:
    return f"ERROR: <input>:1:{position + 1}: {text}\n | {source}\n | {'.' * position}^"


def complaint(source: str, names: tuple[str, ...], wanted: Sequence[str], variables: Collection[str] | None = None) -> str:
    """Why an expression is not accepted, "" when it is. `wanted` are static types; `dyn` always passes. `variables` are the names
    of those that may be used."""
    from kubepy.api.cel import CompileError

    if variables is not None:
        for reference in _VARIABLE.finditer(source):
            if reference[1] not in variables:
                text = f"undefined field '{reference[1]}'"
                return f"compilation failed: {_pointed(source, reference.start(1) - 1, text)}"
    try:
        found = compiled(source, names).type
    except CompileError as error:
        unknown = _UNDECLARED.search(str(error))
        if unknown is not None and "\n" not in source:  # cel-cpp names the whole path, cel-go its beginning
            text = f"undeclared reference to '{unknown[1]}' (in container '')"
            return f"compilation failed: {_pointed(source, source.find(unknown[1]), text)}"
        return f"compilation failed: {error}"
    if found == "DYN" or found in wanted:
        return ""
    shown = _SHOWN.get(found, found.lower())
    listed = [_SHOWN[name] for name in wanted]
    return f"must evaluate to {listed[0] if len(listed) == 1 else 'one of [' + ' '.join(listed) + ']'} but got {shown}"


def variables_of(view: View) -> dict[str, Any]:
    """`object`, `oldObject` and `request` of a request."""
    request = build(view, "", "v1")["request"]
    for key in ("uid", "object", "oldObject"):
        del request[key]
    return {"object": view.obj, "oldObject": view.old, "request": request}


def failure(source: str, error: Exception) -> str:
    return f"expression '{source}' resulted in error: {error}"


def evaluate(source: str, names: tuple[str, ...], values: Mapping[str, Any]) -> Any:
    """Raises ValueError (CompileError, EvaluationError)."""
    return compiled(source, names).evaluate(values)
