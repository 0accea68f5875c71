"""What a cloud provider can do (`cloudprovider.Interface`). A capability that it does not have is None.

Another provider is a module with a function that makes a `Provider`, and a line in `builtin.PROVIDERS`.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from kubepy.api.types import Object


class LoadBalancers(Protocol):
    async def ensure(self, service: Object, nodes: Sequence[Object], services: Sequence[Object]) -> list[Object]:
        """Makes the service reachable; returns `status.loadBalancer.ingress`. Raises ProviderError. `services` are all there are."""
        ...

    async def delete(self, service: Object) -> None: ...


@dataclass(frozen=True, slots=True)
class Machine:
    """What a provider knows of the machine behind a node; empty fields are not known. `addresses` are of a Node's status."""

    provider_id: str = ""
    type: str = ""
    zone: str = ""
    region: str = ""
    addresses: tuple[Object, ...] = ()
    labels: dict[str, str] = field(default_factory=dict)
    running: bool = True


class Machines(Protocol):
    async def find(self, node: Object) -> Machine | None:
        """None: there is no such machine, and its Node object may go. Raises ProviderError when that cannot be told."""
        ...


class Route(NamedTuple):
    """To the pods of a node, by the node's address."""

    cidr: str
    address: str


class Routes(Protocol):
    async def all(self) -> list[Route]:
        """The routes that this provider has made."""
        ...

    async def make(self, route: Route) -> None: ...

    async def remove(self, route: Route) -> None: ...


class ProviderError(Exception):
    """The provider cannot do it; the message is shown to the user."""


@dataclass(frozen=True, slots=True)
class Provider:
    name: str
    load_balancers: LoadBalancers | None = None
    machines: Machines | None = None
    routes: Routes | None = None
