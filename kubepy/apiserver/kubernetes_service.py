"""The `kubernetes` service of the default namespace and its endpoints: the addresses of all API servers that are alive.

Each server renews a lease of its own in etcd (an object with a time to live); the endpoints are the addresses whose leases have not
expired (`--endpoint-reconciler-type=lease`). Source: `pkg/controlplane/controller/kubernetesservice` and `reconcilers`.
"""
from __future__ import annotations

import asyncio
import ipaddress
from typing import cast

from kubepy.api.errors import AlreadyExists, NotFound
from kubepy.api.resource import ENDPOINT_SLICES, ENDPOINTS, Resource
from kubepy.api.service import SERVICE_LABEL
from kubepy.api.types import Object
from kubepy.apiserver.server import Server
from kubepy.apiserver.storage.interface import Entry, ResourceStore
from kubepy.apiserver.verbs.lifecycle import fill_system_fields
from kubepy.base.log import get_logger

log = get_logger("kubernetes-service")
NAMESPACE, NAME = "default", "kubernetes"
MASTER_LEASES = Resource("", "v1", "masterleases", "MasterLease", False)
"""Not served: one key a server, with a time to live."""
LEASE_SECONDS = 15
RENEW_SECONDS = 10.0


def service(cluster_ip: str, port: int) -> Object:
    return {"metadata": {"name": NAME, "labels": {"provider": "kubernetes", "component": "apiserver"}},
            "spec": {"clusterIP": cluster_ip, "sessionAffinity": "None", "type": "ClusterIP",
                     "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": port}]}}


def endpoints(addresses: list[str], port: int) -> Object:
    subsets = [{"addresses": [{"ip": address} for address in addresses], "ports": [{"name": "https", "port": port, "protocol": "TCP"}]}]
    return {"apiVersion": "v1", "kind": "Endpoints", "metadata": {
        "name": NAME, "namespace": NAMESPACE, "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"}},
        "subsets": subsets if addresses else []}


def endpoint_slice(addresses: list[str], port: int) -> Object:
    family = "IPv6" if addresses and ":" in addresses[0] else "IPv4"
    return {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": {
        "name": NAME, "namespace": NAMESPACE, "labels": {SERVICE_LABEL: NAME}}, "addressType": family,
        "endpoints": [{"addresses": [address], "conditions": {"ready": True}} for address in addresses],
        "ports": [{"name": "https", "port": port, "protocol": "TCP"}]}


def service_address(cidr: str) -> str:
    """The first address of the range: the API server's own service."""
    network = ipaddress.ip_network(cidr.split(",")[0], strict=False)
    return str(network.network_address + 1)


class Reconciler:
    """Keeps this server's address among the endpoints while it lives."""

    def __init__(self, server: Server) -> None:
        self.server = server
        options = server.options
        self.address, self.port = options.advertise_address, options.secure_port
        assert server.backend is not None
        self._leases = cast(ResourceStore, server.backend.store(MASTER_LEASES))

    async def run(self) -> None:
        while True:
            await self.once()
            await asyncio.sleep(RENEW_SECONDS)

    async def once(self) -> None:
        """Renews the lease and writes the endpoints if they differ from the living servers."""
        await self._renew()
        page = await self._leases.list(None)
        addresses = sorted(entry.name for entry in page.entries)
        await self._ensure(ENDPOINTS, endpoints(addresses, self.port), ("subsets",))
        await self._ensure(ENDPOINT_SLICES, endpoint_slice(addresses, self.port), ("endpoints", "ports"))

    async def _renew(self) -> None:
        lease: Object = {"apiVersion": "v1", "kind": MASTER_LEASES.kind, "metadata": {"name": self.address}}
        try:
            await self._leases.create("", self.address, lease, ttl=LEASE_SECONDS)
        except AlreadyExists:
            async def again(entry: Entry) -> Object:
                return {**lease, "metadata": {**lease["metadata"], "generation": (entry.decode()["metadata"].get("generation") or 0) + 1}}
            await self._leases.update("", self.address, again, ttl=LEASE_SECONDS)

    async def _ensure(self, resource: Resource, wanted: Object, fields: tuple[str, ...]) -> None:
        store = self.server.services.store(resource)
        try:
            async def change(entry: Entry) -> Object:
                obj = entry.decode()
                for field in fields:
                    obj[field] = wanted[field]
                self.server.kinds.of(resource).strategy.default(obj)
                return obj
            await store.update(NAMESPACE, NAME, change)
        except NotFound:
            self.server.kinds.of(resource).strategy.default(wanted)
            fill_system_fields(wanted, self.server.clock.now())
            try:
                await store.create(NAMESPACE, NAME, wanted)
            except AlreadyExists:
                log.v(2).info("Another server made the endpoints first", resource=resource.plural)

    async def leave(self) -> None:
        """Takes this server's address away at a graceful end."""
        try:
            await self._leases.delete("", self.address)
        except NotFound:
            return


