"""From a service reference to an address that can be dialled (`k8s.io/apiserver/pkg/util/proxy`).

The service's ready endpoints are dialled directly, as upstream does with --enable-aggregator-routing: the API server needs no kube-proxy
on its machine. The service's host name is what certificates are checked against.
Known difference: a service of type ExternalName is dialled by that name; upstream does so only without aggregator routing.
"""
from __future__ import annotations

import random
from collections.abc import Iterator
from typing import NamedTuple

from kubepy.api.errors import NotFound
from kubepy.api.resource import ENDPOINT_SLICES, SERVICES
from kubepy.api.service import SERVICE_LABEL
from kubepy.api.types import Object
from kubepy.apiserver.services import Services


class Unresolved(Exception):
    """A service that is missing, lacks the port, or has no endpoints; the message is upstream's."""


class Backend(NamedTuple):
    host: str
    port: int


async def resolve_service(services: Services, namespace: str, name: str, port: int) -> Backend:
    """One of the ready endpoints, chosen by chance; raises Unresolved."""
    service = await _service(services, namespace, name)
    spec = service.get("spec") or {}
    if spec.get("type") == "ExternalName":
        return Backend(str(spec.get("externalName", "")), port)
    chosen = next((item for item in spec.get("ports") or () if item.get("port") == port), None)
    if chosen is None:
        raise Unresolved(f'no service port {port} found for service "{name}"')
    backends = [backend for found in await slices_of(services, namespace, name)
                for backend in ready_addresses(found, chosen.get("name", ""))]
    if not backends:
        raise Unresolved(f'no endpoints available for service "{name}"')
    return random.choice(backends)


async def _service(services: Services, namespace: str, name: str) -> Object:
    store = services.store(SERVICES)
    entry = store.cached(namespace, name)
    if entry is None:
        try:
            entry = await store.get(namespace, name)
        except NotFound:
            raise Unresolved(f'service "{name}" not found') from None
    return entry.decode()


async def slices_of(services: Services, namespace: str, name: str) -> list[Object]:
    page = await services.store(ENDPOINT_SLICES).list(
        namespace, resource_version="0", match=lambda entry: entry.labels.get(SERVICE_LABEL) == name,
        labels=lambda labels: labels.get(SERVICE_LABEL) == name)
    return [entry.decode() for entry in page.entries]


def ready_addresses(endpoint_slice: Object, port_name: str) -> Iterator[Backend]:
    for port in endpoint_slice.get("ports") or ():
        if port.get("name", "") != port_name or port.get("port") is None:
            continue
        for endpoint in endpoint_slice.get("endpoints") or ():
            if (endpoint.get("conditions") or {}).get("ready") is not False:
                for address in endpoint.get("addresses") or ():
                    yield Backend(address, port["port"])
