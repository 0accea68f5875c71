"""EndpointSlices of each Service with a selector (`pkg/controller/endpointslice`), for each of its address families.

Hints follow `spec.trafficDistribution` (PreferSameZone and its old name PreferClose, PreferSameNode). Known difference:
the allocation by zone size of the `topology-mode: Auto` annotation is not done; such services get no hints.
"""
from __future__ import annotations

from collections.abc import Sequence

from kubepy.api.errors import ApiError, Conflict, NotFound
from kubepy.api.pod import is_ready
from kubepy.api.resource import ENDPOINT_SLICES, NODES, PODS, SERVICES
from kubepy.api.types import Object
from kubepy.client.controller import Controller, Watch
from kubepy.client.store import split_key
from kubepy.controllers.endpoint import member
from kubepy.controllers.endpoint.pending import PendingWrites
from kubepy.controllers.endpoint.slice import MANAGED_BY, SERVICE_LABEL, Group, plan
from kubepy.controllers.kit.environment import Environment
from kubepy.controllers.kit.pod_control import is_namespace_terminating

NAME = "endpointslice-controller.k8s.io"
ZONE = "topology.kubernetes.io/zone"
_RESERVED = (MANAGED_BY, SERVICE_LABEL, member.HEADLESS_LABEL)


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
    for group in found.values():
        _hint(group, spec.get("trafficDistribution"))
    return list(found.values())


def template(service: Object, pods: Sequence[Object]) -> Object:
    """A slice of the service, but for family, ports and endpoints."""
    metadata = service["metadata"]
    labels = {key: value for key, value in (metadata.get("labels") or {}).items() if key not in _RESERVED}
    labels |= {MANAGED_BY: NAME, SERVICE_LABEL: metadata["name"]}
    if member.is_headless(service):
        labels[member.HEADLESS_LABEL] = ""
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
    if zone := ((node or {}).get("metadata", {}).get("labels") or {}).get(ZONE):
        endpoint["zone"] = zone
    if name := member.hostname(service, pod):
        endpoint["hostname"] = name
    return endpoint


def _hint(group: Group, distribution: str | None) -> None:
    if distribution not in ("PreferClose", "PreferSameZone", "PreferSameNode"):
        return
    for endpoint in group.endpoints:
        hints: Object = {}
        if endpoint.get("zone"):
            hints["forZones"] = [{"name": endpoint["zone"]}]
        if distribution == "PreferSameNode" and endpoint.get("nodeName"):
            hints["forNodes"] = [{"name": endpoint["nodeName"]}]
        if hints and endpoint["conditions"]["ready"]:
            endpoint["hints"] = hints


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
        self._slices.add_index("service", slice_service)
        self._pending = PendingWrites(self._slices, env.clock)

    async def reconcile(self, key: str) -> float | None:
        namespace, name = split_key(key)
        service = self._services.get(name, namespace)
        if service is None or not service["spec"].get("selector") or service["spec"].get("type") == "ExternalName":
            self._pending.forget(key)  # slices of a service that has gone are the garbage collector's
            return None
        if not self._pending.seen(key):
            return 0.2
        existing = [item for item in self._slices.by_index("service", key)
                    if item["metadata"]["labels"].get(MANAGED_BY) == NAME and item["metadata"].get("deletionTimestamp") is None]
        pods = [pod for pod in self._pods.list(namespace) if member.selects(service, pod["metadata"].get("labels"))]
        names = {pod["spec"].get("nodeName") or "" for pod in pods}
        nodes = {node: self._nodes.get(node) for node in names}
        todo = plan(groups(service, pods, nodes), existing, template(service, pods), families(service), self._limit)
        try:
            for item in todo.create:
                self._pending.wrote(key, await self._client.create(ENDPOINT_SLICES, item))
            for item in todo.update:
                self._pending.wrote(key, await self._client.update(ENDPOINT_SLICES, item))
            for item in todo.delete:
                await self._delete(key, item)
        except ApiError as error:
            if is_namespace_terminating(error):
                return None
            if isinstance(error, Conflict):
                raise
            self._recorder.event(service, "Warning", "FailedToUpdateEndpointSlices",
                                 f"Error updating Endpoint Slices for Service {key}: {error}")
            raise
        return 5.0 if any(node and nodes[node] is None for node in names) else None

    async def _delete(self, key: str, item: Object) -> None:
        try:
            await self._client.delete(ENDPOINT_SLICES, item["metadata"]["name"], item["metadata"]["namespace"])
        except NotFound:
            return
        self._pending.deleted(key, item)


def slice_service(item: Object) -> tuple[str, ...]:
    name = (item["metadata"].get("labels") or {}).get(SERVICE_LABEL)
    return (f"{item['metadata']['namespace']}/{name}",) if name else ()


def controller(env: Environment) -> Controller:
    reconciler = Reconciler(env)
    services = env.informers.informer(SERVICES).lister
    pods = env.informers.informer(PODS).lister
    of_pod = member.services_of(services)
    pods.add_index("node", lambda pod: (pod["spec"].get("nodeName") or "",))

    def of_node(node: Object) -> Sequence[str]:
        return list({key for pod in pods.by_index("node", node["metadata"]["name"]) for key in of_pod(pod)})

    def zone(node: Object | None) -> str | None:
        return ((node or {}).get("metadata", {}).get("labels") or {}).get(ZONE)

    watches = (
        Watch(SERVICES),
        Watch(PODS, keys=of_pod, when=member.pod_matters, delay=env.options.endpointslice_updates_batch_period),
        Watch(ENDPOINT_SLICES, keys=slice_service,
              when=lambda old, new: ((new or old or {})["metadata"].get("labels") or {}).get(MANAGED_BY) == NAME),
        Watch(NODES, keys=of_node, when=lambda old, new: (old is None) != (new is None) or zone(old) != zone(new)),
    )
    return Controller("endpoint_slice", reconciler.reconcile, watches, workers=env.options.concurrency("service-endpoint", 5))


