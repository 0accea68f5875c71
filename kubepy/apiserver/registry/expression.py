"""CEL expressions in built-in kinds: compiled when the object is written, so that what cannot work is refused.

Source: `k8s.io/apiserver/pkg/admission/plugin/cel` (environments and return types of admission expressions) and
`k8s.io/dynamic-resource-allocation/cel` (device selectors). Known differences: expressions that use `authorizer` are only parsed where
they are evaluated; in the `Object` types of mutations every field that the expression names is known.
"""
from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from google.protobuf import descriptor_pb2

from kubepy.api import field
from kubepy.api.cel import CompileError, Environment
from kubepy.api.cel.device import device_environment
from kubepy.api.cel.types import Pool
from kubepy.api.field import Errors, Path
from kubepy.api.structural.node import Node

_ANY: dict[str, Any] = {"x-kubernetes-int-or-string": True}
_TEXT, _FLAG = {"type": "string"}, {"type": "boolean"}


def _struct(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


_KIND = _struct(group=_TEXT, version=_TEXT, kind=_TEXT)
_RESOURCE = _struct(group=_TEXT, version=_TEXT, resource=_TEXT)
_USER = _struct(username=_TEXT, uid=_TEXT, groups={"type": "array", "items": _TEXT}, extra={"type": "object", "additionalProperties": _ANY})
_REQUEST = _struct(kind=_KIND, resource=_RESOURCE, subResource=_TEXT, requestKind=_KIND, requestResource=_RESOURCE,
                   requestSubResource=_TEXT, name=_TEXT, namespace=_TEXT, operation=_TEXT, userInfo=_USER, dryRun=_FLAG, options=_ANY)
_NODES = {"BOOL": _FLAG, "INT": {"type": "integer"}, "STRING": _TEXT, "DOUBLE": {"type": "number"}}
_NAMES = {"NULL": "null_type", "JSONPATCH": "JSONPatch", "OBJECT": "Object", "GOOGLE.PROTOBUF.TIMESTAMP": "google.protobuf.Timestamp",
          "GOOGLE.PROTOBUF.DURATION": "google.protobuf.Duration"}
BOOL, STRING_OR_NULL = ("bool",), ("string", "null_type")
_OBJECT = re.compile(r"\bObject((?:\.\w+)*)\s*\{")
_FIELD = re.compile(r"\b([a-zA-Z_]\w*)\s*:")
_AUTHORIZER = re.compile(r"\bauthorizer\b")
_NO_FIELD = re.compile(r"undefined field '(\w+)'(?! not)")
MAX_DEVICE_EXPRESSION = 10 * 1024


class Scope:
    """What the expressions of one policy see: variables of the request, `params`, and those that the policy defines, in order."""

    def __init__(self, *, params: bool = False, mutating: bool = False) -> None:
        self._params = params
        self._mutating = mutating
        self._variables: tuple[tuple[str, str], ...] = ()
        self.has_variables = False

    def define(self, name: str, expression: str, path: Path) -> Errors:
        """Compiles a variable, which later expressions can use."""
        self.has_variables = True
        try:
            kind, errors = self._compile(expression), []
        except CompileError as error:
            kind, errors = "", [_failed(expression, str(error), path)]  # it is there for others all the same
        self._variables = (*self._variables, (name, kind))
        return errors

    def check(self, expression: str, path: Path, returns: Sequence[str] = BOOL) -> Errors:
        """Complaints about an expression that must give one of the types."""
        try:
            kind = self._compile(expression)
        except CompileError as error:
            return [_failed(expression, str(error), path)]
        shown = go_type(kind)
        if not kind or shown in returns:
            return []
        wanted = returns[0] if len(returns) == 1 else f"one of [{' '.join(returns)}]"
        return [field.invalid(path, expression, f"must evaluate to {wanted} but got {shown}")]

    def _compile(self, expression: str) -> str:
        """The type of an expression; "" where it is not told. Raises CompileError."""
        if _AUTHORIZER.search(expression):
            return ""
        objects: tuple[tuple[str, ...], ...] = ()
        fields: tuple[str, ...] = ()
        if self._mutating:
            objects = tuple(sorted({tuple(found.split(".")[1:]) for found in _OBJECT.findall(expression)}))
            fields = tuple(sorted(set(_FIELD.findall(expression)))) if objects else ()
            # a message cannot have a field and a type of one name: Object.spec is Object_spec to the checker
            expression = _OBJECT.sub(lambda found: found[0].replace(".", "_"), expression)
            # its type is that of a conversion to text; as long, so that positions in messages stay
            expression = expression.replace("jsonpatch.escapeKey(", "             string(")
        environment = _environment(self._params, self._variables if self.has_variables else None, self._mutating, objects, fields)
        try:
            return environment.check(expression)
        except CompileError as error:
            if not self._mutating:
                raise
            words = _NO_FIELD.sub(r"expected type of field '\1' is '' but provided type is 'string'", str(error))
            raise CompileError(words if "JSONPatch{" in expression else str(error)) from error


@lru_cache(maxsize=64)
def _environment(params: bool, variables: tuple[tuple[str, str], ...] | None, mutating: bool, objects: tuple[tuple[str, ...], ...],
                 fields: tuple[str, ...]) -> Environment:
    pool = Pool(escaping=False)
    if mutating:
        pool.pool.Add(_patch_types(objects, fields))
    known = {"object": "dyn", "oldObject": "dyn", "namespaceObject": "dyn", "request": pool.signature(Node(_REQUEST))}
    if params:
        known["params"] = "dyn"
    if variables is not None:
        known["variables"] = pool.signature(Node(_struct(**{name: _NODES.get(kind, _ANY) for name, kind in variables})))
    return Environment(known, pool)


def _patch_types(objects: tuple[tuple[str, ...], ...], fields: tuple[str, ...]) -> descriptor_pb2.FileDescriptorProto:
    """`JSONPatch`, and `Object` with the nested types that an expression names."""
    file = descriptor_pb2.FileDescriptorProto(name="mutation.proto", syntax="proto3")
    file.dependency.append("google/protobuf/struct.proto")
    patch = file.message_type.add(name="JSONPatch")
    for number, name in enumerate(("op", "path", "from"), 1):
        patch.field.add(name=name, number=number, type=9, label=1)
    patch.field.add(name="value", number=4, type=11, label=1, type_name=".google.protobuf.Value")
    top = file.message_type.add(name="Object")
    _add_fields(top, fields)
    for path in objects:
        if path:
            _add_fields(file.message_type.add(name="_".join(("Object", *path))), fields)
    return file


def _add_fields(message: Any, fields: tuple[str, ...]) -> None:
    for number, name in enumerate(fields, 1):
        message.field.add(name=name, number=number, type=11, label=1, type_name=".google.protobuf.Value", json_name=f"x{number}")


def device_selector(expression: str, path: Path) -> Errors:
    """Complaints about the selector of a device."""
    if len(expression) > MAX_DEVICE_EXPRESSION:
        return [field.too_long(path, MAX_DEVICE_EXPRESSION)]
    try:
        kind = device_environment().check(expression)
    except CompileError as error:
        return [_failed(expression, str(error), path)]
    if kind in ("BOOL", "DYN"):
        return []
    return [field.invalid(path, expression, f"must evaluate to bool or the unknown type, not {go_type(kind)}")]


def _failed(expression: str, why: str, path: Path) -> field.FieldError:
    return field.invalid(path, expression, f"compilation failed: {why}")


def go_type(kind: str) -> str:
    """A type's name as cel-go writes it: `list(dyn)` for `LIST<DYN>`."""
    head, bracket, rest = kind.partition("<")
    if bracket:
        return f"{head.lower()}({', '.join(go_type(part) for part in _split(rest[:-1]))})"
    return _NAMES.get(kind, kind.lower())


def _split(text: str) -> list[str]:
    """The parameters of a type, at the outermost commas."""
    parts, depth, start = [], 0, 0
    for position, char in enumerate(text):
        depth += (char == "<") - (char == ">")
        if char == "," and not depth:
            parts.append(text[start:position].strip())
            start = position + 1
    return [*parts, text[start:].strip()]
