"""The thorough way of decoding: names every unknown and duplicate field, and the first value of a wrong type, in Kubernetes' words.

It does what `accept` does, slowly, and keeps two paths: the one strict decoding shows (`spec.containers[0].name`) and the one Go's
decoder shows for wrong types (`PodSpec.spec.containers`).
"""
from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from kubepy.api import gojson
from kubepy.api.codec import go_kind
from kubepy.api.quantity import QuantityError, parse_quantity
from kubepy.api.schema import scalar
from kubepy.api.schema.accept import ZEROS
from kubepy.api.schema.shape import SCHEMA_PROPS, Field, Struct, Type, struct

_MAX_STRICT = 100
_RANGES = {"int32": (-(2**31), 2**31 - 1), "int64": (-(2**63), 2**63 - 1)}


class WrongType(ValueError):
    """A value that Go could not decode; the message is Go's."""


def explain(shape: Struct, value: Any, *, converter: bool = False) -> tuple[Any, list[str]]:
    """The decoded object and what strict decoding complains of, in the document's order; raises WrongType for the first wrong value.

    `value` comes from `gojson.parse(…, explain=True)` where duplicates and the text of numbers matter, else it is a plain tree.
    `converter` uses the words of `runtime.FromUnstructured`, through which strategic patches go, for wrong types."""
    walker = _Walker(converter)
    result = walker.struct(shape, value, "", ())
    if walker.wrong is not None:
        raise WrongType(walker.wrong)
    return result, walker.problems[:_MAX_STRICT]


class _Walker:
    def __init__(self, converter: bool) -> None:
        self._converter = converter
        self.problems: list[str] = []
        self.wrong: str | None = None

    def struct(self, shape: Struct, value: Any, path: str, stack: tuple[str, ...]) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key, item in self._pairs(value, path, shape):
            decoded = self._field(shape, shape.fields[key], item, _join(path, key), (*stack, key))
            if decoded is None:  # left out
                result.pop(key, None)
            else:
                result[key] = decoded
        for name, default in shape.emitted.items():
            if name not in result:
                type_ = shape.fields[name].type if name in shape.fields else None
                nested = type_ is not None and type_.kind == "struct" and default == {}
                result[name] = self.struct(type_.struct, None, "", ()) if type_ is not None and nested else default
        return result

    def _pairs(self, value: Any, path: str, shape: Struct | None) -> Iterator[tuple[str, Any]]:
        """The pairs of an object that have a field; unknown and repeated keys are noted where they are met."""
        if value is None:
            return
        pairs: Iterable[tuple[str, Any]] = value.pairs if isinstance(value, gojson.Pairs) else value.items()
        seen: set[str] = set()
        for key, item in pairs:
            if shape is not None and key not in shape.fields:
                self.problems.append(f'unknown field "{_join(path, key)}"')
                continue
            if key in seen:
                self.problems.append(f'duplicate field "{_join(path, key)}"')
            seen.add(key)
            yield key, item

    def _field(self, owner: Struct, field: Field, value: Any, path: str, stack: tuple[str, ...]) -> Any:
        """The decoded value, or None when it is left out."""
        if value is None:
            return None
        if field.keeps_empty and value == []:
            return []
        decoded = self._value(owner, field.type, value, path, stack, field.go)
        return None if decoded is None or (not field.keeps_zero and _is_zero(field.type, decoded)) else decoded

    def _value(self, owner: Struct, type_: Type, value: Any, path: str, stack: tuple[str, ...], go: str) -> Any:
        kind = type_.kind
        if kind == "struct":
            if not isinstance(value, dict):
                return self._wrong(owner, value, stack, go)
            return self.struct(type_.struct, value, path, stack)
        if kind == "array":
            if not isinstance(value, list):
                return self._wrong(owner, value, stack, go)
            assert type_.item is not None
            return [self._element(owner, type_.item, item, f"{path}[{position}]", stack) for position, item in enumerate(value)] or None
        if kind == "map":
            if not isinstance(value, dict):
                return self._wrong(owner, value, stack, go)
            assert type_.item is not None
            pairs = self._pairs(value, path, None)
            return {key: self._element(owner, type_.item, item, _join(path, key), stack) for key, item in pairs} or None
        if kind == "raw":
            return gojson.plain(value)
        if kind.startswith("schema-or-"):
            return self._schema_or(kind, value)
        return self._scalar(owner, kind, value, stack, go)

    def _schema_or(self, kind: str, value: Any) -> Any:
        """A JSON schema or what may stand in its place. Go decodes it apart: unknown fields in it go without a word."""
        if isinstance(value, dict):
            apart = _Walker(self._converter)
            result = apart.struct(struct(SCHEMA_PROPS), value, "", ())
            self.wrong = self.wrong or apart.wrong
            return result
        if kind == "schema-or-bool":
            if isinstance(value, bool):
                return value
            self.wrong = self.wrong or "boolean or JSON schema expected"
            return None
        if not isinstance(value, list):
            return None
        if kind == "schema-or-array":
            return [self._schema_or(kind, item or {}) for item in value]
        return [item for item in value if isinstance(item, str)]

    def _element(self, owner: Struct, type_: Type, value: Any, path: str, stack: tuple[str, ...]) -> Any:
        if value is None:
            if type_.kind == "struct":
                return self.struct(type_.struct, None, path, stack)
            return ZEROS.get(type_.kind)
        return self._value(owner, type_, value, path, stack, type_.go)

    def _scalar(self, owner: Struct, kind: str, value: Any, stack: tuple[str, ...], go: str) -> Any:
        try:
            if kind == "string":
                return value if isinstance(value, str) else self._wrong(owner, value, stack, go)
            if kind == "boolean":
                return value if isinstance(value, bool) else self._wrong(owner, value, stack, go)
            if kind in _RANGES:
                return self._integer(owner, kind, value, stack, go)
            if kind == "number":
                if isinstance(value, bool) or not isinstance(value, (int, float)):
                    return self._wrong(owner, value, stack, go)
                return int(value) if float(value).is_integer() and abs(value) < 1e21 else float(value)
            if kind == "quantity":
                return str(parse_quantity(_quantity_text(value)))
            if kind == "int-or-string":
                return value if isinstance(value, str) else self._integer(owner, "int32", value, stack, "int32")
            if not isinstance(value, str):
                return self._wrong(owner, value, stack, "[]uint8" if kind == "bytes" else "string")
            if kind == "bytes":
                return scalar.byte_text(value)
            return scalar.time(value) if kind == "time" else scalar.micro_time(value)
        except (QuantityError, scalar.ScalarProblem) as error:
            self.wrong = self.wrong or str(error)
            return None

    def _integer(self, owner: Struct, kind: str, value: Any, stack: tuple[str, ...], go: str) -> Any:
        low, high = _RANGES[kind]
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return self._wrong(owner, value, stack, go)
        if isinstance(value, float) or not low <= value <= high:
            return self._wrong(owner, value, stack, go, f"number {_number_text(value)}")
        return value

    def _wrong(self, owner: Struct, value: Any, stack: tuple[str, ...], go: str, shown: str = "") -> None:
        if self.wrong is None and self._converter:
            self.wrong = _converter_words(value, go)
        elif self.wrong is None:
            self.wrong = (f"json: cannot unmarshal {shown or go_kind(value)} into Go struct field "
                          f"{owner.go}.{'.'.join(stack)} of type {go}")


def _converter_words(value: Any, go: str) -> str:
    """What `runtime.FromUnstructured` says; it names Go's kinds, not types."""
    if go.startswith(("[]", "map[")):
        given = {"object": "map", "array": "slice", "number": "int64"}.get(go_kind(value), go_kind(value))
        return f"cannot restore {'slice' if go.startswith('[]') else 'map'} from {given}"
    if "." in go:
        given = {"object": "map", "array": "slice", "number": "int64"}.get(go_kind(value), go_kind(value))
        return f"cannot restore struct from: {given}"
    return f"unrecognized type: {go}"


def _is_zero(type_: Type, value: Any) -> bool:
    return type_.kind in ("string", "boolean", "int32", "int64", "number", "array", "map", "bytes") and not value


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _number_text(value: Any) -> str:
    if isinstance(value, gojson.Real):
        return value.text
    return json.dumps(value)


def _quantity_text(value: Any) -> str:
    """What the quantity parser is given for any JSON value: its text, without quotes and spaces around."""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return _number_text(value)
    return "{}" if isinstance(value, dict) else "[]"
