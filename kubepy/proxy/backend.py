"""What a backend must do. One backend object serves one address family; it is told the whole state and finds out itself what changed."""
from __future__ import annotations

from typing import Protocol

from kubepy.proxy.model import State


class BackendError(Exception):
    """The kernel (or the program that talks to it) refused; the text says what and why. The next `apply` tries everything again."""


class Backend(Protocol):
    async def apply(self, state: State) -> bool:
        """Makes the kernel's rules say `state`; whether everything was written, not only what has changed. Raises BackendError."""
        ...

    async def intact(self) -> bool:
        """Whether the rules are still there; when they are not, the next `apply` must write all of them."""
        ...

    async def available(self) -> bool:
        """Whether the kernel and the programs are there for its family."""
        ...

    def prepare(self) -> None:
        """Sets what the kernel has to be told once and for all, with root's rights; `apply` does it too."""

    async def left_over(self) -> bool:
        """Whether rules of this backend are there, by something that no other backend makes."""
        ...

    def forget(self) -> None:
        """The next `apply` writes everything."""

    async def cleanup(self) -> None:
        """Removes everything this backend ever made."""
        ...
