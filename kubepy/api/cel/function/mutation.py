"""`jsonpatch.escapeKey`, and the types that mutations construct: `JSONPatch{…}` and `Object{…}`, `Object.spec{…}` (`mutation/dynamic`)."""
from __future__ import annotations

from typing import Any

from kubepy.api.cel.declaration import Declarations
from kubepy.api.cel.kind import DYN, STRING, UNSPECIFIED, Field, Struct
from kubepy.api.cel.value import EvaluationError, ObjectValue

_PATCH = Struct("JSONPatch", {name: Field(DYN if name == "value" else STRING, name) for name in ("op", "path", "from", "value")},
                lambda name: Field(UNSPECIFIED, name))


def construct(name: str) -> Struct | None:
    """The type of a constructed object; objects have whatever fields they are given."""
    if name == "JSONPatch":
        return _PATCH
    if name == "Object" or name.startswith("Object."):
        return Struct(name, {}, lambda field: Field(DYN, field))
    return None


def check_names(value: ObjectValue) -> None:
    """That an object in field `spec` of Object is an Object.spec, and so on. Raises EvaluationError."""
    for key, item in value.items():
        _check_at(item, f"{value.name}.{key}")


def _check_at(value: Any, expected: str) -> None:
    if isinstance(value, ObjectValue):
        if value.name != expected:
            raise EvaluationError(f'unexpected type name "{value.name}", expected "{expected}", which matches field name path from root '
                                  "Object type")
        check_names(value)
    elif isinstance(value, dict):
        for item in value.values():
            _check_at(item, expected)
    elif isinstance(value, list):
        for item in value:
            _check_at(item, expected)


def declare(to: Declarations) -> None:
    to.add("jsonpatch.escapeKey(string) string", lambda text: text.replace("~", "~0").replace("/", "~1"))
