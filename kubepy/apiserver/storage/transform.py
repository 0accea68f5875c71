"""What happens to values between the cache and the store; `encryption` brings the ones that encrypt."""
from __future__ import annotations

from typing import Protocol


class Transformer(Protocol):
    """Of one resource. The key authenticates the value: one moved to another key does not decrypt."""

    def read(self, key: bytes, stored: bytes) -> tuple[bytes, bool]:
        """The plain value, and whether it should be written anew; raises `entry.Undecodable`."""
        ...

    def write(self, key: bytes, plain: bytes) -> bytes: ...


class Identity:
    """Values are stored as they are."""

    def read(self, key: bytes, stored: bytes) -> tuple[bytes, bool]:
        return stored, False

    def write(self, key: bytes, plain: bytes) -> bytes:
        return plain


IDENTITY = Identity()
