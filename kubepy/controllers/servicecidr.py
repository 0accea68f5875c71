"""ServiceCIDRs (`pkg/controller/servicecidrs`): ready while they live; they go only when no address needs them."""
from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address, ip_network

from kubepy.api.resource import Resource
from kubepy.api.types import Object
from kubepy.base.clock import format_time
from kubepy.client.controller import Controller, Watch
from kubepy.controllers.kit import condition
from kubepy.controllers.kit.environment import Environment

SERVICE_CIDRS = Resource("networking.k8s.io", "v1", "servicecidrs", "ServiceCIDR", False)
IP_ADDRESSES = Resource("networking.k8s.io", "v1", "ipaddresses", "IPAddress", False)
FINALIZER = "networking.k8s.io/service-cidr-finalizer"
GRACE = 10.0
"""Seconds between announcing that a range goes and letting it go: allocators must have heard of it."""
READY = ("True", "", "Kubernetes Service CIDR is ready")
BLOCKED = ("False", "Terminating",
           "There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR")


def orphans(cidr: Object, others: Iterable[Object], addresses: Iterable[str]) -> list[str]:
    """Addresses of the range that no other range (which is not itself going) holds."""
    mine = [ip_network(text) for text in cidr["spec"].get("cidrs") or ()]
    rest = [ip_network(text) for other in others if other["metadata"].get("deletionTimestamp") is None
            and other["metadata"]["name"] != cidr["metadata"]["name"] for text in other["spec"].get("cidrs") or ()]
    return [text for text in addresses if any(ip_address(text) in network for network in mine)
            and not any(ip_address(text) in network for network in rest)]


def controller(env: Environment) -> Controller:
    client = env.client_for("service-cidrs-controller")
    cidrs, addresses = env.informers.informer(SERVICE_CIDRS).lister, env.informers.informer(IP_ADDRESSES).lister

    async def set_ready(cidr: Object, status: str, reason: str, message: str) -> Object:
        old = (cidr.get("status") or {}).get("conditions") or []
        new = condition.merge(old, condition.build("Ready", status, reason, message, format_time(env.clock.now())))
        if new == old:
            return cidr
        return await client.update(SERVICE_CIDRS, {**cidr, "status": {**(cidr.get("status") or {}), "conditions": new}},
                                   subresource="status")

    async def set_finalizers(cidr: Object, finalizers: list[str]) -> Object:
        return await client.patch(SERVICE_CIDRS, cidr["metadata"]["name"], {"metadata": {
            "resourceVersion": cidr["metadata"]["resourceVersion"], "finalizers": finalizers}})

    async def reconcile(key: str) -> float | None:
        cidr = cidrs.get(key)
        if cidr is None:
            return None
        finalizers = cidr["metadata"].get("finalizers") or []
        if cidr["metadata"].get("deletionTimestamp") is None:
            if FINALIZER not in finalizers:
                cidr = await set_finalizers(cidr, [*finalizers, FINALIZER])
            await set_ready(cidr, *READY)
            return None
        if FINALIZER not in finalizers:
            return None
        if orphans(cidr, cidrs.list(), (item["metadata"]["name"] for item in addresses.list())):
            await set_ready(cidr, *BLOCKED)
            return None
        known = condition.find((cidr.get("status") or {}).get("conditions") or (), "Ready")
        await set_ready(cidr, "False", "Terminating", "The ServiceCIDR is going to be removed")
        if known is None or known["status"] == "True":
            return GRACE
        await set_finalizers(cidr, [item for item in finalizers if item != FINALIZER])
        return None

    def containing(address: Object) -> list[str]:
        text = ip_address(address["metadata"]["name"])
        return [item["metadata"]["name"] for item in cidrs.list() for network in item["spec"].get("cidrs") or ()
                if text in ip_network(network)]

    def neighbours(cidr: Object) -> list[str]:
        return [cidr["metadata"]["name"], *(item["metadata"]["name"] for item in cidrs.list()
                                            if item["metadata"].get("deletionTimestamp") is not None)]

    return Controller("service_cidrs", reconcile, (
        Watch(SERVICE_CIDRS, keys=neighbours),
        Watch(IP_ADDRESSES, keys=containing, when=lambda old, new: new is None)))
