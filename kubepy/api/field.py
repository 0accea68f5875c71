"""Validation errors: field paths and the causes Kubernetes reports them as (`k8s.io/apimachinery/pkg/util/validation/field`)."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from kubepy.api.gofmt import go_quote
from kubepy.api.types import Object


class Path:
    """A field path such as `spec.containers[0].ports[1].name` or `metadata.labels[app]`; immutable."""

    __slots__ = ("text",)

    def __init__(self, text: str = "") -> None:
        self.text = text

    def child(self, *names: str) -> Path:
        return Path(".".join((self.text, *names) if self.text else names))

    def index(self, position: int) -> Path:
        return Path(f"{self.text}[{position}]")

    def key(self, name: str) -> Path:
        return Path(f"{self.text}[{name}]")

    def __str__(self) -> str:
        return self.text or "<nil>"


@dataclass(frozen=True, slots=True)
class FieldError:
    """One violation: `reason` is the wire cause type (`FieldValueInvalid`), `body` what follows the field's name in the message."""

    field: str
    reason: str
    body: str

    def __str__(self) -> str:
        return f"{self.field}: {self.body}"

    def cause(self) -> Object:
        return {"reason": self.reason, "message": self.body, "field": self.field}


Errors = list[FieldError]


def required(path: Path, detail: str = "") -> FieldError:
    return FieldError(str(path), "FieldValueRequired", _join("Required value", detail))


def invalid(path: Path, value: Any, detail: str) -> FieldError:
    return FieldError(str(path), "FieldValueInvalid", _join(f"Invalid value: {show(value)}", detail))


def type_invalid(path: Path, value: Any, detail: str) -> FieldError:
    return FieldError(str(path), "FieldValueTypeInvalid", _join(f"Invalid value: {show(value)}", detail))


def not_supported(path: Path, value: Any, supported: Sequence[str]) -> FieldError:
    """The supported values are listed sorted by the caller where upstream sorts them."""
    detail = f"supported values: {', '.join(go_quote(item) for item in supported)}" if supported else ""
    return FieldError(str(path), "FieldValueNotSupported", _join(f"Unsupported value: {show(value)}", detail))


def forbidden(path: Path, detail: str) -> FieldError:
    return FieldError(str(path), "FieldValueForbidden", _join("Forbidden", detail))


def duplicate(path: Path, value: Any) -> FieldError:
    return FieldError(str(path), "FieldValueDuplicate", f"Duplicate value: {show(value)}")


def not_found(path: Path, value: Any) -> FieldError:
    return FieldError(str(path), "FieldValueNotFound", f"Not found: {show(value)}")


def too_long(path: Path, maximum: int) -> FieldError:
    """Upstream's TooLong shows no value; `maximum` is in bytes."""
    return FieldError(str(path), "FieldValueTooLong", f"Too long: may not be more than {maximum} bytes")


def too_many(path: Path, actual: int, maximum: int) -> FieldError:
    noun = "item" if maximum == 1 else "items"
    return FieldError(str(path), "FieldValueTooMany", f"Too many: {actual}: must have at most {maximum} {noun}")


def internal(path: Path, why: str) -> FieldError:
    return FieldError(str(path), "InternalError", f"Internal error: {why}")


class Struct(dict[str, Any]):
    """A value that Kubernetes prints as a Go struct: its fields keep their order instead of being sorted."""


def show(value: Any) -> str:
    """A value as Kubernetes prints it in a message: strings quoted, null, numbers plain, the rest as JSON."""
    if isinstance(value, str):
        return go_quote(value)
    raw = orjson.dumps(_ordered(value))
    return raw.replace(b"<", b"\\u003c").replace(b">", b"\\u003e").replace(b"&", b"\\u0026").decode()


def _ordered(value: Any) -> Any:
    """Maps sorted by key, Go structs as they are."""
    if isinstance(value, dict):
        keys = value if isinstance(value, Struct) else sorted(value)
        return {key: _ordered(value[key]) for key in keys}
    return [_ordered(item) for item in value] if isinstance(value, (list, tuple)) else value


def _join(head: str, detail: str) -> str:
    return f"{head}: {detail}" if detail else head
