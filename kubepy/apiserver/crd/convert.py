"""Conversion between versions by a webhook (`pkg/apiserver/conversion/webhook_converter.go`)."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from kubepy.api.types import Object


class Converter(Protocol):
    async def convert(self, objects: Sequence[Object], api_version: str) -> list[Object]:
        """The objects in another version, in order; raises ApiError."""
        ...
