"""Which type may stand for which, with type parameters bound on the way (`cel-go/checker/types.go`)."""
from __future__ import annotations

from collections.abc import Sequence

from kubepy.api.cel.kind import DYN, Kind

Bindings = dict[str, Kind]
"""What type parameters stand for."""
_NULLABLE = frozenset(("opaque", "duration", "struct", "any", "timestamp"))
_EXACT = frozenset(("bool", "bytes", "double", "int", "string", "uint", "any", "duration", "timestamp", "struct"))


def is_dyn(kind: Kind) -> bool:
    return kind.form in ("dyn", "error")


def substitute(bindings: Bindings, kind: Kind, *, free_to_dyn: bool = False) -> Kind:
    """A type with its parameters replaced; those that are not bound stay or become dyn."""
    if kind.form == "param":
        found = bindings.get(kind.name)
        if found is not None:
            return substitute(bindings, found, free_to_dyn=free_to_dyn)
        return DYN if free_to_dyn else kind
    if not kind.params:
        return kind
    params = tuple(substitute(bindings, param, free_to_dyn=free_to_dyn) for param in kind.params)
    return kind if params == kind.params else Kind(kind.name, params, kind.form)


def assignable(bindings: Bindings, target: Kind, value: Kind) -> Bindings | None:
    """The bindings under which a value of a type may stand for another, None where it may not."""
    copy = dict(bindings)
    return copy if _assignable(copy, target, value) else None


def assignable_all(bindings: Bindings, targets: Sequence[Kind], values: Sequence[Kind]) -> Bindings | None:
    if len(targets) != len(values):
        return None
    copy = dict(bindings)
    return copy if all(_assignable(copy, one, other) for one, other in zip(targets, values, strict=True)) else None


def _assignable(bindings: Bindings, one: Kind, other: Kind) -> bool:
    if other.form == "param":
        valid, bound = _binds(bindings, one, other)
        if valid:
            return True
        if bound:
            return False
    if one.form == "param":
        return _binds(bindings, other, one)[0]
    if is_dyn(one) or is_dyn(other):
        return True
    if one.form == "null_type" or other.form == "null_type":
        rest = other if one.form == "null_type" else one
        return rest.form in _NULLABLE or rest.form == "null_type"
    if one.form in _EXACT:
        return one.form == other.form and one.name == other.name
    if one.form == "type":
        return other.form == "type"
    return (one.form == other.form and one.name == other.name and len(one.params) == len(other.params)
            and all(_assignable(bindings, first, second) for first, second in zip(one.params, other.params, strict=True)))


def _binds(bindings: Bindings, kind: Kind, param: Kind) -> tuple[bool, bool]:
    """Whether a type can be what a parameter stands for, and whether the parameter stood for something before."""
    if kind.form == "param" and kind.name == param.name:
        return True, True
    known = bindings.get(param.name)
    if known is not None:
        if known == kind:
            return True, True
        if _assignable(bindings, kind, known):
            general = most_general(kind, known)
            if not _refers(bindings, param, general):
                bindings[param.name] = general
            return True, True
        return False, True
    if _refers(bindings, param, kind):
        return False, False
    bindings[param.name] = kind
    return True, False


def _refers(bindings: Bindings, param: Kind, kind: Kind) -> bool:
    if kind.form == "param":
        if kind.name == param.name:
            return True
        found = bindings.get(kind.name)
        return found is not None and _refers(bindings, param, found)
    return any(_refers(bindings, param, item) for item in kind.params)


def most_general(one: Kind, other: Kind) -> Kind:
    return one if _less_specific(one, other) else other


def _less_specific(one: Kind, other: Kind) -> bool:
    if is_dyn(one) or one.form == "param":
        return True
    if is_dyn(other) or other.form == "param":
        return False
    if one.form == "null_type" or other.form == "null_type":
        return one.form != "null_type"
    if one.form != other.form or one.name != other.name or len(one.params) != len(other.params):
        return False
    return all(_less_specific(first, second) for first, second in zip(one.params, other.params, strict=True)) if one.params else True
