"""What one API server process consists of; `build.py` assembles it. Filters and verbs get the `Server` and nothing else."""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kubepy.api.resource import Resource
from kubepy.apiserver.admission.chain import Chain
from kubepy.apiserver.authn.interface import Authenticator, Impersonator
from kubepy.apiserver.authz.interface import Authorizer
from kubepy.apiserver.registry.kind import Kind
from kubepy.apiserver.services import Services
from kubepy.apiserver.storage.backend import Backend
from kubepy.apiserver.storage.interface import ResourceStore
from kubepy.base.clock import Clock
from kubepy.base.task import Tasks

if TYPE_CHECKING:
    from kubepy.apiserver.options import Options
    from kubepy.apiserver.table import KindTable


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
    closing: bool = False
    """Set on SIGTERM: /readyz fails and watches end."""

    @property
    def clock(self) -> Clock:
        return self.services.clock

    async def check_storage(self) -> None:
        """Raises when etcd cannot serve."""
        if self.backend is not None:
            await self.backend.check()

    def unfilled(self) -> list[str]:
        """The resources whose caches are still being read."""
        return self.backend.unfilled() if self.backend is not None else []

    def store(self, kind: Kind) -> ResourceStore:
        """The store of a kind, also of one that is stored as another resource."""
        return self.services.store(stored(kind))


def stored(kind: Kind) -> Resource:
    return kind.stored_as or kind.resource
