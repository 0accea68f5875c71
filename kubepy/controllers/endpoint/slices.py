"""EndpointSlices of each Service with a selector (`pkg/controller/endpointslice`), for each of its address families.

Which zones and nodes they are meant for is in `hint.py`.
"""
from __future__ import annotations

from collections.abc import Sequence

from kubepy.api.errors import ApiError, Conflict, NotFound
from kubepy.api.pod import is_ready
from kubepy.api.resource import ENDPOINT_SLICES, NODES, PODS, SERVICES
from kubepy.api.service import HEADLESS_LABEL, SERVICE_LABEL, SLICES, service_keys
from kubepy.api.types import Object
from kubepy.client.controller import Controller, Watch
from kubepy.client.store import key_of, split_key
from kubepy.controllers.endpoint import hint, member, metric
from kubepy.controllers.endpoint.pending import PendingWrites
from kubepy.controllers.endpoint.slice import MANAGED_BY, Group, plan
from kubepy.controllers.kit.environment import Environment
from kubepy.controllers.kit.pod_control import is_namespace_terminating

NAME = "endpointslice-controller.k8s.io"
_RESERVED = (MANAGED_BY, SERVICE_LABEL, HEADLESS_LABEL)


def families(service: Object) -> list[str]:
    spec = service["spec"]
    found = spec.get("ipFamilies")
    if found:
        return list(found)
    return ["IPv6" if ":" in (spec.get("clusterIP") or "") else "IPv4"]


def groups(service: Object, pods: Sequence[Object], nodes: dict[str, Object | None]) -> list[Group]:
    """The endpoints of the service by family and ports; pods on nodes that are not known are left out."""
    spec = service["spec"]
    found: dict[tuple[str, tuple[tuple[str, int, str, str], ...]], Group] = {}
    for pod in pods:
        if not member.belongs(pod, terminating=True):
            continue
        node = nodes.get(pod["spec"].get("nodeName") or "")
        if node is None and not spec.get("publishNotReadyAddresses"):
            continue
        ports = []
        for port in spec.get("ports") or ():
            number = member.find_port(pod, port)
            if number is not None:
                ports.append((port.get("name") or "", number, port.get("protocol") or "TCP", port.get("appProtocol") or ""))
        if spec.get("ports") and not ports:
            continue
        for family in families(service):
            address = member.address_of(pod, family == "IPv6")
            if address is None:
                continue
            group = found.setdefault((family, tuple(ports)), Group(family, [_port(*port) for port in ports]))
            group.endpoints.append(_endpoint(service, pod, node, address))
    return list(found.values())


def template(service: Object, pods: Sequence[Object]) -> Object:
    """A slice of the service, but for family, ports and endpoints."""
    metadata = service["metadata"]
    labels = {key: value for key, value in (metadata.get("labels") or {}).items() if key not in _RESERVED}
    labels |= {MANAGED_BY: NAME, SERVICE_LABEL: metadata["name"]}
    if member.is_headless(service):
        labels[HEADLESS_LABEL] = ""
    return {
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"generateName": f"{metadata['name']}-", "namespace": metadata["namespace"], "labels": labels,
                     "annotations": {member.TRIGGER_TIME: member.trigger_time(service, pods)},
                     "ownerReferences": [{"apiVersion": "v1", "kind": "Service", "name": metadata["name"], "uid": metadata["uid"],
                                          "controller": True, "blockOwnerDeletion": True}]}}


def _endpoint(service: Object, pod: Object, node: Object | None, address: str) -> Object:
    serving, terminating = is_ready(pod), pod["metadata"].get("deletionTimestamp") is not None
    ready = bool(service["spec"].get("publishNotReadyAddresses")) or (serving and not terminating)
    endpoint: Object = {"addresses": [address], "conditions": {"ready": ready, "serving": serving, "terminating": terminating},
                        "targetRef": member.target(pod)}
    if pod["spec"].get("nodeName"):
        endpoint["nodeName"] = pod["spec"]["nodeName"]
    if zone := ((node or {}).get("metadata", {}).get("labels") or {}).get(hint.ZONE):
        endpoint["zone"] = zone
    if name := member.hostname(service, pod):
        endpoint["hostname"] = name
    return endpoint


def _port(name: str, number: int, protocol: str, app_protocol: str) -> Object:
    return {"name": name, "port": number, "protocol": protocol, **({"appProtocol": app_protocol} if app_protocol else {})}


class Reconciler:
    def __init__(self, env: Environment) -> None:
        self._client = env.client_for("endpointslice-controller")
        self._recorder = env.recorder("endpoint-slice-controller", "endpointslice-controller")
        self._limit = env.options.max_endpoints_per_slice
        self._services = env.informers.informer(SERVICES).lister
        self._pods = env.informers.informer(PODS).lister
        self._nodes = env.informers.informer(NODES).lister
        self._slices = env.informers.informer(ENDPOINT_SLICES).lister
        self._slices.add_index(SLICES, service_keys)
        self._pending = PendingWrites(self._slices, env.clock)
        self._counts: dict[str, tuple[int, int]] = {}  # endpoints and slices of each service
        self._hinted: set[tuple[str, str]] = set()  # services, by key and family, whose zones have got their share

    async def reconcile(self, key: str) -> float | None:
        namespace, name = split_key(key)
        service = self._services.get(name, namespace)
        if service is None or not service["spec"].get("selector") or service["spec"].get("type") == "ExternalName":
            endpoints, slices = self._counts.pop(key, (0, 0))
            metric.DESIRED.dec(endpoints)
            metric.SLICES.dec(slices)
            self._hinted = {pair for pair in self._hinted if pair[0] != key}
            self._pending.forget(key)  # slices of a service that has gone are the garbage collector's
            return None
        if not self._pending.seen(key):
            return 0.2
        existing = [item for item in self._slices.by_index(SLICES, key)
                    if item["metadata"]["labels"].get(MANAGED_BY) == NAME and item["metadata"].get("deletionTimestamp") is None]
        pods = [pod for pod in self._pods.list(namespace) if member.selects(service, pod["metadata"].get("labels"))]
        names = {pod["spec"].get("nodeName") or "" for pod in pods}
        nodes = {node: self._nodes.get(node) for node in names}
        wanted = groups(service, pods, nodes)
        self._hint(key, service, wanted)
        have, want = sum(len(item.get("endpoints") or ()) for item in existing), sum(len(group.endpoints) for group in wanted)
        metric.DESIRED.inc(want - self._counts.get(key, (0, 0))[0])
        metric.SLICES.inc(len(existing) - self._counts.get(key, (0, 0))[1])
        self._counts[key] = want, len(existing)
        metric.ADDED.observe(max(want - have, 0))
        metric.REMOVED.observe(max(have - want, 0))
        todo = plan(wanted, existing, template(service, pods), families(service), self._limit)
        try:
            for item in todo.create:
                self._pending.wrote(key, await self._client.create(ENDPOINT_SLICES, item))
            for item in todo.update:
                self._pending.wrote(key, await self._client.update(ENDPOINT_SLICES, item))
            for item in todo.delete:
                await self._delete(key, item)
            for operation, items in (("create", todo.create), ("update", todo.update), ("delete", todo.delete)):
                metric.CHANGES.labels(operation).inc(len(items))
            metric.SYNCS.labels("success").inc()
        except ApiError as error:
            metric.SYNCS.labels("stale" if isinstance(error, Conflict) else "error").inc()
            if is_namespace_terminating(error):
                return None
            if isinstance(error, Conflict):
                raise
            self._recorder.event(service, "Warning", "FailedToUpdateEndpointSlices",
                                 f"Error updating Endpoint Slices for Service {key}: {error}")
            raise
        return 5.0 if any(node and nodes[node] is None for node in names) else None

    def _hint(self, key: str, service: Object, wanted: Sequence[Group]) -> None:
        if not hint.is_auto(service):
            for group in wanted:
                hint.by_distribution(group.endpoints, service["spec"].get("trafficDistribution"))
            return
        for family in families(service):
            endpoints = [item for group in wanted if group.family == family for item in group.endpoints]
            try:
                hint.by_share(endpoints, hint.shares(self._nodes.list()))
            except hint.Impossible as why:
                if (key, family) in self._hinted:
                    self._hinted.discard((key, family))
                    self._recorder.event(service, "Warning", "TopologyAwareHintsDisabled", f"{why}, addressType: {family}")
            else:
                if (key, family) not in self._hinted:
                    self._hinted.add((key, family))
                    self._recorder.event(service, "Normal", "TopologyAwareHintsEnabled",
                                         f"Topology Aware Hints has been enabled, addressType: {family}")

    async def _delete(self, key: str, item: Object) -> None:
        try:
            await self._client.delete(ENDPOINT_SLICES, item["metadata"]["name"], item["metadata"]["namespace"])
        except NotFound:
            return
        self._pending.deleted(key, item)


def _zone(node: Object) -> str | None:
    return (node["metadata"].get("labels") or {}).get(hint.ZONE)


def controller(env: Environment) -> Controller:
    reconciler = Reconciler(env)
    services = env.informers.informer(SERVICES).lister
    pods = env.informers.informer(PODS).lister
    of_pod = member.services_of(services)
    pods.add_index("node", lambda pod: (pod["spec"].get("nodeName") or "",))

    def of_node(node: Object) -> Sequence[str]:
        automatic = {key_of(item) for item in services.list() if hint.is_auto(item)}  # every node changes the zones' shares
        return list(automatic | {key for pod in pods.by_index("node", node["metadata"]["name"]) for key in of_pod(pod)})

    def matters(old: Object | None, new: Object | None) -> bool:
        if old is None or new is None:
            return True
        return _zone(old) != _zone(new) or hint.facts(old) != hint.facts(new)

    watches = (
        Watch(SERVICES),
        Watch(PODS, keys=of_pod, when=member.pod_matters, delay=env.options.endpointslice_updates_batch_period),
        Watch(ENDPOINT_SLICES, keys=service_keys,
              when=lambda old, new: ((new or old or {})["metadata"].get("labels") or {}).get(MANAGED_BY) == NAME),
        Watch(NODES, keys=of_node, when=matters),
    )
    return Controller("endpoint_slice", reconciler.reconcile, watches, workers=env.options.concurrency("service-endpoint", 5))


