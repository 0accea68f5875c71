"""What a cloud provider can do. A capability that it does not have is None."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from kubepy.api.types import Object


class LoadBalancers(Protocol):
    async def ensure(self, service: Object, nodes: Sequence[Object], services: Sequence[Object]) -> list[Object]:
        """Makes the service reachable; returns `status.loadBalancer.ingress`. Raises ProviderError. `services` are all there are."""
        ...

    async def delete(self, service: Object) -> None: ...


class Nodes(Protocol):
    async def exists(self, node: Object) -> bool:
        """Whether the machine is there at all; when not, its Node object may go."""
        ...

    async def addresses(self, node: Object) -> list[Object]: ...


class Routes(Protocol):
    async def ensure(self, node: Object, pod_cidr: str) -> None: ...


class ProviderError(Exception):
    """The provider cannot do it; the message is shown to the user."""


@dataclass(frozen=True, slots=True)
class Provider:
    name: str
    load_balancers: LoadBalancers | None = None
    nodes: Nodes | None = None
    routes: Routes | None = None
