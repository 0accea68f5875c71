"""What one API server process consists of; `build.py` assembles it. Filters and verbs get the `Server` and nothing else."""
from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from kubepy.api.resource import Resource
from kubepy.api.types import Object
from kubepy.apiserver.admission.chain import Chain
from kubepy.apiserver.aggregation.table import Table
from kubepy.apiserver.authn.interface import Authenticator, Impersonator
from kubepy.apiserver.authz.interface import Authorizer
from kubepy.apiserver.registry.kind import Kind
from kubepy.apiserver.services import Services
from kubepy.apiserver.storage.backend import Backend
from kubepy.apiserver.storage.interface import ResourceStore
from kubepy.base.clock import Clock
from kubepy.base.task import Tasks

if TYPE_CHECKING:
    from kubepy.apiserver.audit.auditor import Auditor
    from kubepy.apiserver.options import Options
    from kubepy.apiserver.table import KindTable


class Reservation(Protocol):
    async def undo(self) -> None: ...

    async def commit(self) -> None: ...


class Reserver(Protocol):
    def prepare(self, obj: Object, old: Object | None) -> None:
        """Before validation; changes `obj`."""
        ...

    async def reserve(self, obj: Object, old: Object | None, *, keep: bool) -> Reservation:
        """After validation; changes `obj`. Undone when the write fails, committed when it succeeds."""
        ...

    async def deleted(self, obj: Object) -> None: ...


@dataclass(slots=True)
class Server:
    options: Options
    kinds: KindTable
    services: Services
    authenticator: Authenticator
    impersonator: Impersonator
    authorizer: Authorizer
    admission: Chain
    tasks: Tasks = field(default_factory=lambda: Tasks("apiserver"))
    pending: set[str] = field(default_factory=set)
    """Names of the post-start hooks that have not finished; /readyz waits for them."""
    hooks: tuple[str, ...] = ()
    backend: Backend | None = None
    reservers: dict[Resource, Reserver] = field(default_factory=dict)
    """What writes of a resource reserve beside it: services their addresses."""
    auditor: Auditor | None = None
    remotes: Table = field(default_factory=Table)
    """The group versions that other servers serve."""
    extra_hooks: dict[str, Callable[[Server], Awaitable[None]]] = field(default_factory=dict)
    """Post-start hooks beside those in `hook.py`."""
    leaving: Callable[[], Awaitable[None]] | None = None
    """Takes the server out of the kubernetes service's endpoints."""
    stopping: list[Callable[[], Awaitable[None]]] = field(default_factory=list)
    """What is to be closed when the process ends, besides tasks and storage."""
    watches: set[asyncio.Task[Any]] = field(default_factory=set)
    """The requests that last until they are told to end."""
    closing: bool = False
    """Set on SIGTERM: /readyz fails and watches end."""

    @property
    def clock(self) -> Clock:
        return self.services.clock

    async def deleted(self, resource: Resource, obj: Object) -> None:
        """Gives back what a removed object had reserved."""
        reserver = self.reservers.get(resource)
        if reserver is not None:
            await reserver.deleted(obj)

    def close(self) -> None:
        """Begins the end: not ready any more, and watches finish now."""
        self.closing = True
        for task in list(self.watches):
            task.cancel()

    async def check_storage(self) -> None:
        """Raises when etcd cannot serve."""
        if self.backend is not None:
            await self.backend.check()

    def unfilled(self) -> list[str]:
        """The resources whose caches are still being read."""
        return self.backend.unfilled() if self.backend is not None else []

    def count(self, group: str, version: str, plural: str) -> int:
        """About how many objects of a resource there are, without waiting."""
        kind = self.kinds.find(group, version, plural)
        if kind is None or kind.handler is not None or self.backend is None:
            return 0
        return int(getattr(self.services.store(stored(kind)), "size", 0))

    def store(self, kind: Kind) -> ResourceStore:
        """The store of a kind, also of one that is stored as another resource, or its view of it (custom resources)."""
        view: ResourceStore | None = getattr(kind, "view", None)
        return view if view is not None else self.services.store(stored(kind))


def stored(kind: Kind) -> Resource:
    return kind.stored_as or kind.resource
