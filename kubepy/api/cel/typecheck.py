"""Expressions of policies against the types of what they match (`k8s.io/apiserver/pkg/admission/plugin/policy/validating/typechecking.go`).

Admission itself sees objects of any type, so that a policy may match many; what cannot work for one of them is told in the policy's
status and refuses nothing.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from kubepy.api.cel import CompileError
from kubepy.api.cel.admission import Scope
from kubepy.api.cel.kind import BOOL, BYTES, DOUBLE, DYN, INT, STRING, TIMESTAMP, Field, Kind, Struct, list_of, map_of
from kubepy.api.cel.schema import escape, kind_of
from kubepy.api.schema import shape
from kubepy.api.structural.node import Node
from kubepy.api.types import Object

MAX_TYPES = 10
_SCALARS = {"string": STRING, "boolean": BOOL, "int32": INT, "int64": INT, "number": DOUBLE, "bytes": BYTES, "time": TIMESTAMP,
            "micro-time": TIMESTAMP}
_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"


class Type(NamedTuple):
    group: str
    version: str
    kind: str

    def __str__(self) -> str:
        return f"{self.group}/{self.version}, Kind={self.kind}"


class Matched(NamedTuple):
    """Resources that a policy's rules name, without wildcards."""

    group: str
    version: str
    resource: str


def matched(policy: Object) -> list[Matched]:
    """What a policy is checked against, in upstream's order."""
    found: list[Matched] = []
    for rule in ((policy.get("spec") or {}).get("matchConstraints") or {}).get("resourceRules") or ():
        groups, versions = sorted(rule.get("apiGroups") or ()), sorted(rule.get("apiVersions") or ())
        if any("*" in text for text in (*groups, *versions)):
            continue
        resources = sorted(text for text in rule.get("resources") or () if "*" not in text and "/" not in text)
        found += [Matched(group, version, resource) for group in groups for version in versions for resource in resources]
    return found


def builtin(type_: Type) -> Struct | None:
    """The type of a built-in kind."""
    found = shape.of_kind(*type_)
    return _struct(found) if found is not None else None


def _struct(found: shape.Struct) -> Struct:
    """Types may contain themselves, so fields are looked up when they are named."""
    known: dict[str, Field | None] = {}

    def field(name: str) -> Field | None:
        if name not in known:
            key = next((key for key in found.fields if escape(key) == name), None)
            known[name] = Field(_kind(found.fields[key].type), key) if key is not None else None
        return known[name]

    return Struct(found.definition, {}, field)


def _kind(type_: shape.Type) -> Kind:
    if type_.kind == "struct":
        return _struct(type_.struct)
    if type_.item is not None:
        item = _kind(type_.item)
        return list_of(item) if type_.kind == "array" else map_of(STRING, item)
    return _SCALARS.get(type_.kind, DYN)


def custom(schema: Mapping[str, Any]) -> Kind:
    """The type of a published schema of a custom kind."""
    found = kind_of(Node(schema, root=True))
    if not isinstance(found, Struct):
        return DYN
    return Struct(found.name, {**found.fields, "metadata": Field(_struct(shape.struct(_META)), "metadata")})


def warnings(policy: Object, types: Sequence[tuple[Type, Kind]], params: Kind | None) -> list[Object]:
    """`status.typeChecking.expressionWarnings`."""
    spec = policy.get("spec") or {}
    found: list[Object] = []
    for position, validation in enumerate(spec.get("validations") or ()):
        for key in ("expression", "messageExpression"):
            text = _complaints(spec, validation[key], types, params) if validation.get(key) else ""
            if text:
                found.append({"fieldRef": f"spec.validations[{position}].{key}", "warning": text})
    return found


def _complaints(spec: Object, source: str, types: Sequence[tuple[Type, Kind]], params: Kind | None) -> str:
    texts = []
    for type_, kind in sorted(types, key=lambda item: item[0]):
        scope = Scope(object=kind, params=params)
        scope.composed()
        for variable in spec.get("variables") or ():
            try:
                scope.define(variable["name"], scope.compile(variable.get("expression", "")).kind)
            except CompileError:
                scope.define(variable["name"])
        try:
            scope.compile(source)
        except CompileError as error:
            texts.append(f"{type_}: {error}\n")
    return "\n".join(texts)
