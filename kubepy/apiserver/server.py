"""What one API server process consists of, and the interfaces of the parts that other packages bring.

`build.py` assembles it; filters and verbs get the `Server` and nothing else.
"""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from kubepy.api.resource import Resource
from kubepy.apiserver.request import Attributes, RequestInfo, User
from kubepy.apiserver.storage.interface import ResourceStore
from kubepy.base.clock import Clock, SystemClock
from kubepy.base.task import Tasks

if TYPE_CHECKING:
    from kubepy.apiserver.options import Options
    from kubepy.apiserver.table import KindTable


class Authenticator(Protocol):
    async def authenticate(self, scope: Mapping[str, Any]) -> User | None:
        """Who sent the request (an ASGI scope with `client_cert`): None when it carries no credentials (the filter then makes it
        anonymous, or refuses); raises Unauthorized for bad ones."""
        ...


class Decision(NamedTuple):
    allowed: bool
    reason: str = ""
    """What follows the colon in a refusal, or explains a permission in reviews."""
    denied: bool = False
    """Refused for good, not merely without an opinion."""


class Authorizer(Protocol):
    async def authorize(self, user: User, info: RequestInfo) -> Decision: ...


class Admission(Protocol):
    """The chain of admission plugins. Both raise ApiError to refuse."""

    async def admit(self, attributes: Attributes) -> None:
        """Mutating admission: may change or replace `attributes.obj`."""
        ...

    async def validate(self, attributes: Attributes) -> None: ...


class Stores(Protocol):
    """All stores of the process."""

    def store(self, resource: Resource) -> ResourceStore:
        """The store of a stored resource (`Kind.stored_as or Kind.resource`)."""
        ...

    async def revision(self) -> int:
        """etcd's current revision, by a quorum read."""
        ...


@dataclass(slots=True)
class Server:
    options: Options
    kinds: KindTable
    stores: Stores
    authenticator: Authenticator
    authorizer: Authorizer
    admission: Admission
    clock: Clock = field(default_factory=SystemClock)
    tasks: Tasks = field(default_factory=lambda: Tasks("apiserver"))
    started: set[str] = field(default_factory=set)
    """Names of the post-start hooks that have finished; /readyz waits for all of `pending`."""
    pending: set[str] = field(default_factory=set)
    closing: bool = False
    """Set on SIGTERM: /readyz fails, watches end."""
    extensions: dict[str, Any] = field(default_factory=dict)
    """Parts that only their own package knows (token signer, allocators), by name."""

    def store(self, resource: Resource) -> ResourceStore:
        return self.stores.store(resource)
