"""The Endpoints object of each Service with a selector (`pkg/controller/endpoint`): one address family, at most 1,000 addresses."""
from __future__ import annotations

from collections.abc import Sequence

from kubepy.api.errors import AlreadyExists, ApiError, Conflict, NotFound
from kubepy.api.resource import ENDPOINTS, PODS, SERVICES
from kubepy.api.service import HEADLESS_LABEL
from kubepy.api.types import Object
from kubepy.client.controller import Controller, Watch
from kubepy.client.store import split_key
from kubepy.controllers.endpoint import member
from kubepy.controllers.kit.environment import Environment
from kubepy.controllers.kit.pod_control import is_namespace_terminating

CAPACITY = 1000
OVER_CAPACITY = "endpoints.kubernetes.io/over-capacity"
MANAGED_BY = "endpoints.kubernetes.io/managed-by"


def plan(service: Object, pods: Sequence[Object], current: Object | None) -> Object | None:
    """The Endpoints to write, or None when they are as they should be."""
    subsets = _subsets(service, pods)
    total = sum(len(item.get("addresses") or ()) + len(item.get("notReadyAddresses") or ()) for item in subsets)
    if total > CAPACITY:
        subsets = _truncate(subsets, total)
    labels = {key: value for key, value in (service["metadata"].get("labels") or {}).items() if key != HEADLESS_LABEL}
    labels[MANAGED_BY] = "endpoint-controller"
    if member.is_headless(service):
        labels[HEADLESS_LABEL] = ""
    before = (current or {}).get("metadata", {}).get("annotations") or {}
    over = "truncated" if total > CAPACITY else None
    if current is not None:
        same = (current.get("subsets") or []) == subsets and (current["metadata"].get("labels") or {}) == labels
        if same and before.get(OVER_CAPACITY) == over:
            return None
    annotations = {key: value for key, value in before.items() if key != OVER_CAPACITY}
    annotations[member.TRIGGER_TIME] = member.trigger_time(service, pods)
    if over:
        annotations[OVER_CAPACITY] = over
    base = current or {"apiVersion": "v1", "kind": "Endpoints",
                       "metadata": {"name": service["metadata"]["name"], "namespace": service["metadata"]["namespace"]}}
    return {**base, "metadata": {**base["metadata"], "labels": labels, "annotations": annotations}, "subsets": subsets}


def _subsets(service: Object, pods: Sequence[Object]) -> list[Object]:
    """Pods with the same ports share a subset (upstream's RepackSubsets); everything is sorted."""
    spec = service["spec"]
    family = (spec.get("ipFamilies") or [None])[0]
    ipv6 = family == "IPv6" if family else ":" in (spec.get("clusterIP") or "")
    groups: dict[tuple[tuple[str, int, str, str], ...], tuple[list[Object], list[Object]]] = {}
    for pod in pods:
        if not member.belongs(pod, terminating=bool(spec.get("publishNotReadyAddresses"))):
            continue
        ip = member.address_of(pod, ipv6)
        if ip is None:
            continue
        address: Object = {"ip": ip, "targetRef": member.target(pod)}
        if pod["spec"].get("nodeName"):
            address["nodeName"] = pod["spec"]["nodeName"]
        if name := member.hostname(service, pod):
            address["hostname"] = name
        ports = []
        for port in spec.get("ports") or ():
            number = member.find_port(pod, port)
            if number is not None:
                ports.append((port.get("name") or "", number, port.get("protocol") or "TCP", port.get("appProtocol") or ""))
        if not ports and not (member.is_headless(service) and not spec.get("ports")):
            continue
        ready, unready = groups.setdefault(tuple(sorted(ports)), ([], []))
        (ready if member.is_published(service, pod) else unready).append(address)
    found = []
    for group, (ready, unready) in sorted(groups.items()):
        subset: Object = {}
        for field, items in (("addresses", ready), ("notReadyAddresses", unready)):
            if items:
                subset[field] = sorted(items, key=lambda item: (item["ip"], item["targetRef"]["uid"]))
        if group:
            subset["ports"] = [_port(*port) for port in group]
        found.append(subset)
    return found


def _port(name: str, number: int, protocol: str, app_protocol: str) -> Object:
    optional = {key: value for key, value in (("name", name), ("appProtocol", app_protocol)) if value}
    return {"port": number, "protocol": protocol, **optional}


def _truncate(subsets: list[Object], total: int) -> list[Object]:
    """Ready addresses first, until the object is full."""
    room = CAPACITY
    kept: list[Object] = [dict(item) for item in subsets]
    for field in ("addresses", "notReadyAddresses"):
        for item in kept:
            if item.get(field):
                item[field] = item[field][:room]
                room -= len(item[field])
                if not item[field]:
                    del item[field]
    return [item for item in kept if item.get("addresses") or item.get("notReadyAddresses")]


class Reconciler:
    def __init__(self, env: Environment) -> None:
        self._client = env.client_for("endpoint-controller")
        self._recorder = env.recorder("endpoint-controller", "endpoint-controller")
        self._services = env.informers.informer(SERVICES).lister
        self._endpoints = env.informers.informer(ENDPOINTS).lister
        self._pods = env.informers.informer(PODS).lister

    async def reconcile(self, key: str) -> float | None:
        namespace, name = split_key(key)
        service = self._services.get(name, namespace)
        current = self._endpoints.get(name, namespace)
        if service is None:
            await self._remove(current)
            return None
        if not service["spec"].get("selector") or service["spec"].get("type") == "ExternalName":
            return None  # made by hand, or by nobody
        pods = [pod for pod in self._pods.list(namespace) if member.selects(service, pod["metadata"].get("labels"))]
        wanted = plan(service, pods, current)
        if wanted is None:
            return None
        try:
            await (self._client.create(ENDPOINTS, wanted) if current is None else self._client.update(ENDPOINTS, wanted))
        except AlreadyExists:
            return 0.5
        except ApiError as error:
            if is_namespace_terminating(error):
                return None
            if isinstance(error, Conflict):
                raise  # a race with our own last write, not worth an event
            verb, reason = ("create", "FailedToCreateEndpoint") if current is None else ("update", "FailedToUpdateEndpoint")
            self._recorder.event(wanted, "Warning", reason, f"Failed to {verb} endpoint {key}: {error}")
            raise
        return None

    async def _remove(self, current: Object | None) -> None:
        """Goes with its service, if it is one that this controller made."""
        if current is None or MANAGED_BY not in (current["metadata"].get("labels") or {}):
            return
        try:
            await self._client.delete(ENDPOINTS, current["metadata"]["name"], current["metadata"]["namespace"])
        except NotFound:
            return


def controller(env: Environment) -> Controller:
    reconciler = Reconciler(env)
    keys = member.services_of(env.informers.informer(SERVICES).lister)
    watches = (Watch(SERVICES), Watch(PODS, keys=keys, when=member.pod_matters, delay=env.options.endpoint_updates_batch_period),
               Watch(ENDPOINTS))
    return Controller("endpoint", reconciler.reconcile, watches, workers=env.options.concurrency("endpoint", 5))
