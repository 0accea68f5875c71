"""Values of Kubernetes' own CEL types: a message with the type's name and the value's text."""
from __future__ import annotations

from functools import lru_cache
from typing import Any

from google.protobuf import message_factory

NAMES = frozenset(("Quantity", "URL", "IP", "CIDR", "Semver"))


@lru_cache(maxsize=1)
def _class() -> Any:
    from kubepy.api.cel.types import Pool

    return message_factory.GetMessageClass(Pool().pool.FindMessageTypeByName("kubernetes.Opaque"))


def make(kind: str, value: str) -> Any:
    """A value; `value` is canonical, so that equal ones are equal messages."""
    return _class()(kind=kind, value=value)


def kind_of(value: Any) -> str:
    return str(getattr(value, "kind", ""))


def text_of(value: Any) -> str:
    return str(value.value)
