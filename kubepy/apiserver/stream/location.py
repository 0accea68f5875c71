"""Where `proxy` subresources lead: a pod's port, one of a Service's endpoints (`ResourceLocation` upstream)."""
from __future__ import annotations

import ipaddress
import random
from dataclasses import dataclass

from kubepy.api.errors import BadRequest, NotFound, ServiceUnavailable
from kubepy.api.resource import ENDPOINTS, PODS, SERVICES
from kubepy.api.types import Object
from kubepy.apiserver.services import Services


@dataclass(frozen=True, slots=True)
class Location:
    scheme: str
    host: str
    port: int


def split_name(name: str, what: str) -> tuple[str, str, str]:
    """`[scheme:]name[:port]` as scheme, name and port; raises BadRequest."""
    parts = name.split(":")
    if len(parts) == 1:
        return "", parts[0], ""
    if len(parts) == 2:
        return "", parts[0], parts[1]
    if len(parts) == 3 and parts[0] in ("http", "https", ""):
        return parts[0], parts[1], parts[2]
    raise BadRequest(f'invalid {what} request "{name}"')


async def pod_location(services: Services, namespace: str, name: str) -> Location:
    scheme, pod_name, port = split_name(name, "pod")
    pod = (await services.store(PODS).get(namespace, pod_name)).decode()
    if not port:
        ports = [item["containerPort"] for container in pod["spec"]["containers"] for item in container.get("ports", [])]
        port = str(ports[0]) if ports else ""
    address = pod.get("status", {}).get("podIP", "")
    _check_proxyable(address)
    return Location(scheme or "http", address, _number(port) or (443 if scheme == "https" else 80))


async def service_location(services: Services, namespace: str, name: str) -> Location:
    scheme, service_name, port = split_name(name, "service")
    service = (await services.store(SERVICES).get(namespace, service_name)).decode()
    if port.isdigit():
        port = _port_name(service, service_name, int(port))
    try:
        endpoints = (await services.store(ENDPOINTS).get(namespace, service_name)).decode()
    except NotFound:
        raise NotFound.of(SERVICES, service_name) from None
    subsets = endpoints.get("subsets") or []
    if not subsets:
        raise ServiceUnavailable(f'no endpoints available for service "{service_name}"')
    for subset in random.sample(subsets, len(subsets)):
        number = next((item["port"] for item in subset.get("ports", []) if item.get("name", "") == port), None)
        addresses = subset.get("addresses", [])
        if number is None:
            continue
        for address in random.sample(addresses, len(addresses)):
            if await _is_of_pod(services, address):
                return Location(scheme or "http", address["ip"], number)
    raise ServiceUnavailable(f'no endpoints available for service "{name}"')


def _port_name(service: Object, name: str, number: int) -> str:
    for port in service["spec"].get("ports", []):
        if port["port"] == number:
            return str(port.get("name", ""))
    raise ServiceUnavailable(f'no service port {number} found for service "{name}"')


async def _is_of_pod(services: Services, address: Object) -> bool:
    """Endpoints are writable by users: only addresses that a pod really has are proxied to."""
    reference = address.get("targetRef") or {}
    if reference.get("kind") != "Pod":
        return False
    try:
        pod = (await services.store(PODS).get(reference.get("namespace", ""), reference.get("name", ""))).decode()
    except NotFound:
        return False
    return any(item.get("ip") == address["ip"] for item in pod.get("status", {}).get("podIPs", []))


def _check_proxyable(address: str) -> None:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        raise BadRequest("address not allowed") from None
    if parsed.is_loopback or parsed.is_link_local or parsed.is_multicast or parsed.is_unspecified:
        raise BadRequest("address not allowed")


def _number(port: str) -> int:
    if not port:
        return 0
    if not port.isdigit() or not 0 < int(port) < 65536:
        raise BadRequest(f'invalid port "{port}"')
    return int(port)
