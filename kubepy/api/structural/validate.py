"""Validation of objects against a schema, in Kubernetes' words.

Source: `k8s.io/kube-openapi/pkg/validation` and `k8s.io/apiextensions-apiserver/pkg/apiserver/validation`.

    check = Check(schema)                         once for each version of a definition
    errors = check.validate(obj, old)             with an old object unchanged parts may be invalid (ratcheting)

Errors of a level come in upstream's order: type, alternatives, string, format, number, list, enumeration, object.
"""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from kubepy.api.field import Errors, FieldError, Path, invalid, not_supported, required, too_long, too_many, type_invalid
from kubepy.api.gofmt import go_quote, go_value
from kubepy.api.structural.format import FORMATS
from kubepy.api.structural.pattern import compile_pattern

_RANGES = {"int32": (-(1 << 31), (1 << 31) - 1), "int64": (-(1 << 63), (1 << 63) - 1), "uint32": (0, (1 << 32) - 1),
           "uint64": (0, (1 << 64) - 1)}
_MAX_EXACT = (1 << 53) - 1
MISSING: Any = object()
"""Stands for an old value that is not there."""


class Check:
    """What one level of a schema demands."""

    def __init__(self, raw: Mapping[str, Any]) -> None:
        self.types: tuple[str, ...] = (raw["type"],) if raw.get("type") else ()
        if raw.get("x-kubernetes-int-or-string") and not self.types:
            self.types = ("integer", "string")
        self.nullable = bool(raw.get("nullable"))
        self.format: str = raw.get("format") or ""
        self.check_format = FORMATS.get(self.format)
        if self.format and self.check_format is None and self.format not in ("int32", "int64", "float", "double"):
            self.format = ""
        self.any_of = [Check(item) for item in raw.get("anyOf") or ()]
        self.one_of = [Check(item) for item in raw.get("oneOf") or ()]
        self.all_of = [Check(item) for item in raw.get("allOf") or ()]
        self.none_of = Check(raw["not"]) if raw.get("not") is not None else None
        self.combined = bool(self.any_of or self.one_of or self.all_of or self.none_of is not None)
        self.max_length, self.min_length = raw.get("maxLength"), raw.get("minLength")
        self.pattern: str = raw.get("pattern") or ""
        self.regex: Any = compile_pattern(self.pattern) if self.pattern else None
        self.textual = self.max_length is not None or self.min_length is not None or self.regex is not None
        self.maximum, self.minimum, self.multiple = raw.get("maximum"), raw.get("minimum"), raw.get("multipleOf")
        self.open_maximum, self.open_minimum = bool(raw.get("exclusiveMaximum")), bool(raw.get("exclusiveMinimum"))
        self.range = _RANGES.get(self.format) if "integer" in self.types else None
        self.max_items, self.min_items = raw.get("maxItems"), raw.get("minItems")
        items = raw.get("items")
        self.items = Check(items) if isinstance(items, Mapping) else None
        self.unique = bool(raw.get("uniqueItems"))
        self.enum: list[Any] = list(raw.get("enum") or ())
        self.enum_texts = frozenset(item for item in self.enum if isinstance(item, str))
        self.max_properties, self.min_properties = raw.get("maxProperties"), raw.get("minProperties")
        self.required: tuple[str, ...] = tuple(raw.get("required") or ())
        self.properties: dict[str, Check] = {name: Check(node) for name, node in sorted((raw.get("properties") or {}).items())}
        extra = raw.get("additionalProperties")
        self.additional = Check(extra) if isinstance(extra, Mapping) else None
        self.list_type: str = raw.get("x-kubernetes-list-type") or ""
        self.list_keys: tuple[str, ...] = tuple(raw.get("x-kubernetes-list-map-keys") or ())

    def validate(self, value: Any, old: Any = MISSING, path: str = "") -> Errors:
        errors: Errors = []
        self.run(value, path, old, errors)
        return errors

    def run(self, value: Any, path: str, old: Any, errors: Errors) -> int:
        """Adds the errors of a value; the number of checks made, by which the best of failed alternatives is chosen.

        Errors of a value that is as it was are forgotten."""
        before = len(errors)
        count = self._run(value, path, old, errors)
        if len(errors) > before and old is not MISSING and old == value and _same_kinds(old, value):
            del errors[before:]
        return count

    def _run(self, value: Any, path: str, old: Any, errors: Errors) -> int:
        if value is None:
            if self.types and not self.nullable:
                errors.append(_type_error(path, ",".join(self.types), "null"))
            if self.enum:
                errors.append(self._enum_error(path, value))
            return 2
        count = 1
        kind = type(value)
        if self.types:
            self._type(value, path, errors)
            count += 2
        if self.combined:
            count += self._combine(value, path, errors) + 1
        if kind is str:
            if self.textual:
                self._text(value, path, errors)
            if self.check_format is not None and not self.check_format(value):
                shown = go_value(value)
                errors.append(type_invalid(Path(path), value, f"{_named(path)} must be of type {self.format}: {go_quote(shown)}"))
            count += 2
            if self.enum and value not in self.enum_texts:
                errors.append(self._enum_error(path, value))
            return count
        if kind is int or kind is float:
            self._number(value, path, errors)
            count += 1
        elif kind is list:
            count += self._list(value, path, old, errors)
        if self.enum and not _listed(value, self.enum):
            errors.append(self._enum_error(path, value))
        if kind is dict:
            count += self._object(value, path, old, errors)
        return count

    def _type(self, value: Any, path: str, errors: Errors) -> None:
        kind, types = type(value), self.types
        if kind is str:
            found, format_ = "string", ""
        elif kind is dict:
            found, format_ = "object", ""
        elif kind is list:
            found, format_ = "array", ""
        elif kind is bool:
            found, format_ = "boolean", ""
        elif kind is int and -(1 << 63) <= value < 1 << 63:
            found, format_ = "integer", "int64"
        else:
            found, format_ = "number", "float64"
        if found in types or (found == "integer" and "number" in types):
            return
        if found == "number" and "integer" in types and abs(value) <= _MAX_EXACT and float(value).is_integer():
            return
        if self.format and kind is not str and kind is not list:
            if format_ == self.format:
                return
            errors.append(_type_error(path, self.format, format_ or found))
            return
        if self.format and "number" not in types and "integer" not in types and (kind is str or kind is list):
            return
        errors.append(_type_error(path, ",".join(types), found))

    def _combine(self, value: Any, path: str, errors: Errors) -> int:
        count = 0
        for checks, exactly_one in ((self.any_of, False), (self.one_of, True)):
            if checks:
                count += _alternatives(checks, value, path, errors, exactly_one)
        if self.all_of:
            valid = 0
            for check in self.all_of:
                before = len(errors)
                count += check.run(value, path, MISSING, errors)
                valid += len(errors) == before
            if valid != len(self.all_of):
                more = "" if valid else ". None validated"
                errors.append(_general(f"{go_quote(path)} must validate all the schemas (allOf){more}"))
        if self.none_of is not None and not self.none_of.validate(value, path=path):
            errors.append(_general(f"{go_quote(path)} must not validate the schema (not)"))
        return count

    def _text(self, value: str, path: str, errors: Errors) -> None:
        if self.max_length is not None and len(value) > self.max_length:
            errors.append(too_long(Path(path), self.max_length))
        elif self.min_length is not None and len(value) < self.min_length:
            errors.append(invalid(Path(path), value, f"{_named(path)} should be at least {self.min_length} chars long"))
        elif self.regex is not None and self.regex.search(value) is None:
            errors.append(invalid(Path(path), value, f"{_named(path)} should match '{self.pattern}'"))

    def _number(self, value: float, path: str, errors: Errors) -> None:
        if self.range is not None and not self.range[0] <= value <= self.range[1]:
            errors.append(_general(f"Checked value must be of type integer with format {self.format} in {path}"))
        if self.multiple is not None and not _divides(value, self.multiple):
            errors.append(invalid(Path(path), value, f"{_named(path)} should be a multiple of {go_value(self.multiple)}"))
        if self.minimum is not None and (value <= self.minimum if self.open_minimum else value < self.minimum):
            words = "greater than" if self.open_minimum else "greater than or equal to"
            errors.append(invalid(Path(path), value, f"{_named(path)} should be {words} {go_value(self.minimum)}"))
        if self.maximum is not None and (value >= self.maximum if self.open_maximum else value > self.maximum):
            words = "less than" if self.open_maximum else "less than or equal to"
            errors.append(invalid(Path(path), value, f"{_named(path)} should be {words} {go_value(self.maximum)}"))

    def _list(self, value: list[Any], path: str, old: Any, errors: Errors) -> int:
        count = 1
        if self.items is not None:
            items = self.items
            before = self._correlated(old)
            for position, item in enumerate(value):
                was = before.get(self._key(item), MISSING) if before else MISSING
                count += items.run(item, f"{path}[{position}]", was, errors)
        if self.min_items is not None and len(value) < self.min_items:
            errors.append(invalid(Path(path), len(value), f"{_named(path)} should have at least {self.min_items} items"))
        if self.max_items is not None and len(value) > self.max_items:
            errors.append(too_many(Path(path), len(value), self.max_items))
        if self.unique and any(item in value[:position] for position, item in enumerate(value)):
            errors.append(invalid(Path(path), "", f"{_named(path)} shouldn't contain duplicates"))
        return count

    def _correlated(self, old: Any) -> dict[Any, Any]:
        """The items of the old list by their keys, where items have keys."""
        if type(old) is not list or self.list_type != "map":
            return {}
        return {self._key(item): item for item in old}

    def _key(self, item: Any) -> Any:
        return tuple(_hashable(item.get(key)) for key in self.list_keys) if type(item) is dict else None

    def _object(self, value: dict[str, Any], path: str, old: Any, errors: Errors) -> int:
        if self.min_properties is not None and len(value) < self.min_properties:
            errors.append(invalid(Path(path), len(value), f"{_named(path)} should have at least {self.min_properties} properties"))
            return 1
        if self.max_properties is not None and len(value) > self.max_properties:
            errors.append(too_many(Path(path), len(value), self.max_properties))
            return 1
        count = 1
        before = old if type(old) is dict else {}
        head = f"{path}." if path else ""
        properties = self.properties
        additional = self.additional
        if additional is not None:
            for key, item in value.items():
                if key not in properties:
                    count += additional.run(item, head + key, before.get(key, MISSING), errors)
        for key, check in properties.items():
            if key in value:
                count += check.run(value[key], head + key, before.get(key, MISSING), errors)
        for key in self.required:
            if key not in value:
                errors.append(required(Path(head + key)))
        return count

    def _enum_error(self, path: str, value: Any) -> FieldError:
        return not_supported(Path(path), value, [item if isinstance(item, str) else orjson.dumps(item).decode() for item in self.enum])


def _alternatives(checks: list[Check], value: Any, path: str, errors: Errors, exactly_one: bool) -> int:
    """anyOf and oneOf: where none holds, the errors of the alternative that came furthest are told."""
    best: tuple[int, Errors] | None = None
    valid = count = 0
    for check in checks:
        found: Errors = []
        made = check.run(value, path, MISSING, found)
        if not found:
            valid += 1
            count = made
            if not exactly_one:
                return made
        elif best is None or made > best[0]:
            best = made, found
    if valid == 1 and exactly_one:
        return count
    if exactly_one:
        more = f"Found {valid} valid alternatives" if valid else "Found none valid"
        errors.append(_general(f"{go_quote(path)} must validate one and only one schema (oneOf). {more}"))
    else:
        errors.append(_general(f"{go_quote(path)} must validate at least one schema (anyOf)"))
    if not valid and best is not None:
        errors += best[1]
    return best[0] if best is not None else count


def _named(path: str) -> str:
    return f"{path} in body"


def _general(text: str) -> FieldError:
    """Errors that upstream gives no field."""
    return FieldError("<nil>", "FieldValueInvalid", f'Invalid value: "": {text}')


def _type_error(path: str, wanted: str, found: str) -> FieldError:
    return type_invalid(Path(path), found, f"{_named(path)} must be of type {wanted}: {go_quote(found)}")


def _divides(value: float, factor: float) -> bool:
    if factor == 0:
        return True
    if isinstance(value, int) and isinstance(factor, int):
        return value % factor == 0
    return float(value / factor).is_integer()


def _listed(value: Any, enum: list[Any]) -> bool:
    return any(item == value and _same_kinds(item, value) for item in enum if item is not None)


def _same_kinds(one: Any, other: Any) -> bool:
    """Python takes true for 1: JSON does not."""
    if type(one) is bool or type(other) is bool:
        return type(one) is type(other)
    if type(one) is dict and type(other) is dict:
        return all(_same_kinds(item, other.get(key)) for key, item in one.items())
    if type(one) is list and type(other) is list:
        return all(_same_kinds(item, theirs) for item, theirs in zip(one, other, strict=False))
    return True


def _hashable(value: Any) -> Any:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS) if isinstance(value, (dict, list)) else (type(value) is bool, value)
