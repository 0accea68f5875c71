"""The endpoints of cluster DNS where it is a daemon on every node (kubepy's own; upstream's DNS is pods, with a selector).

Each node whose DNS has ever answered has an EndpointSlice of its own, `kube-dns-NODE`, which is ready as long as it answers and goes
with the Node (which owns it). Its hint makes every proxy prefer its own node's DNS, as `trafficDistribution: PreferSameNode` does where
slices come from a selector.

Why it is this controller that says who is ready, and not the daemons: a lost node cannot take itself out, so somebody else has to
watch it in any case; and what lies on every node should not be able to write slices of kube-system, with which it could put itself in
the place of any Service there (the daemons only read). An answer over the way that questions take is also the one proof that counts:
the node's Ready condition says nothing about DNS and takes 50 seconds, a lease would be written by each node for ever. Asking costs the
API nothing as long as nothing changes. Each DNS is asked who it is (`base.nameserver`) every two seconds: another's answer or a
refusal (it is about to stop) takes it out at once, silence after three times. When none answers at all, silence says nothing: it is
rather this machine that is cut off, and proxies are better off with endpoints that may answer than with none.

A Service with a selector is left alone and loses these slices: an add-on (CoreDNS) has taken over.
"""
from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256

from kubepy.api.errors import AlreadyExists, NotFound
from kubepy.api.resource import ENDPOINT_SLICES, NODES, SERVICES
from kubepy.api.service import SERVICE_LABEL
from kubepy.api.types import Object
from kubepy.base.log import get_logger
from kubepy.client.controller import Controller, Watch
from kubepy.client.queue import WorkQueue
from kubepy.client.store import key_of, split_key
from kubepy.controllers.endpoint import ask, hint
from kubepy.controllers.endpoint.slice import MANAGED_BY
from kubepy.controllers.kit.environment import Environment

log = get_logger("node-dns")

NAME = "node-dns-controller.kubepy.io"
ACCOUNT = "node-dns-controller"
PERIOD, AT_FIRST = 2.0, 0.5
"""Seconds between rounds; the second as long as there is a node of which nothing can be said yet."""
MISSES = 3
"""Silences in a row after which a name server is taken for dead."""
PER_SECOND = 500
"""Nodes asked a second at most: a larger cluster's are asked less often."""


@dataclass(slots=True)
class Tally:
    """What was heard of each node's name server."""

    ready: dict[str, bool] = field(default_factory=dict)
    """Nodes that are not in it were not asked often enough to say."""
    _silences: dict[str, int] = field(default_factory=dict)

    def hear(self, asked: Iterable[str], said: Mapping[str, str]) -> list[str]:
        """Takes in one round: who was asked, and what those who answered call themselves. Returns the nodes that changed."""
        everyone, before = set(asked), dict(self.ready)
        alone = not any(name == node for node, name in said.items())
        for node in everyone:
            if node in said:
                self._silences.pop(node, None)
                self.ready[node] = said[node] == node
            elif not alone:
                self._silences[node] = self._silences.get(node, 0) + 1
                if self._silences[node] >= MISSES:
                    self.ready[node] = False
        for gone in (self.ready.keys() | self._silences.keys()) - everyone:
            self.ready.pop(gone, None)
            self._silences.pop(gone, None)
        return sorted(node for node in everyone if self.ready.get(node) != before.get(node))


def is_served(service: Object | None) -> bool:
    """Whether the Service is ours to find endpoints for."""
    if service is None:
        return False
    spec = service.get("spec") or {}
    return not spec.get("selector") and spec.get("type") != "ExternalName" and service["metadata"].get("deletionTimestamp") is None


def address_of(service: Object, node: Object) -> str:
    """The node's internal address of the Service's family; "" where it has none."""
    wanted = ":" in ((service.get("spec") or {}).get("clusterIP") or "")
    return next((item["address"] for item in (node.get("status") or {}).get("addresses") or ()
                 if item["type"] == "InternalIP" and (":" in item["address"]) == wanted), "")


def target_port(service: Object) -> int:
    """Where the daemons listen; 0 where the Service does not say it in numbers."""
    found = next((port.get("targetPort") for port in (service.get("spec") or {}).get("ports") or ()), 0)
    return found if isinstance(found, int) else 0


def slice_name(service: str, node: str) -> str:
    """A node's name may be as long as a slice's."""
    plain = f"{service}-{node}"
    return plain if len(plain) <= 253 else f"{service}-{sha256(node.encode()).hexdigest()[:40]}"


def plan(service: Object | None, node: Object | None, ready: bool | None, current: Object | None) -> Object | None:
    """The node's slice as it should be, None where there should be none. `ready` is None as long as nobody can say: what a predecessor
    found out then holds on."""
    if service is None or node is None or not is_served(service) or node["metadata"].get("deletionTimestamp") is not None:
        return None
    address, name = address_of(service, node), node["metadata"]["name"]
    if not address or not (ready or current):
        return None  # no node with a DNS of ours, or not seen as one yet
    if ready is None and current is not None:
        ready = bool(current["endpoints"][0]["conditions"]["ready"])
    endpoint: Object = {"addresses": [address], "nodeName": name,
                        "conditions": {"ready": bool(ready), "serving": bool(ready), "terminating": False}}
    if zone := (node["metadata"].get("labels") or {}).get(hint.ZONE):
        endpoint["zone"] = zone
    hint.by_distribution([endpoint], "PreferSameNode")
    metadata = service["metadata"]
    ports = [{"name": port.get("name") or "", "port": port["targetPort"], "protocol": port.get("protocol") or "TCP"}
             for port in service["spec"].get("ports") or () if isinstance(port.get("targetPort"), int)]
    return {
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv6" if ":" in address else "IPv4",
        "metadata": {"name": slice_name(metadata["name"], name), "namespace": metadata["namespace"],
                     "labels": {SERVICE_LABEL: metadata["name"], MANAGED_BY: NAME},
                     "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": name, "uid": node["metadata"]["uid"]}]},
        "endpoints": [endpoint], "ports": ports}


def differs(wanted: Object, current: Object) -> bool:
    same = ("addressType", "endpoints", "ports")
    return any(wanted[name] != current.get(name) for name in same) or any(
        wanted["metadata"][name] != current["metadata"].get(name) for name in ("labels", "ownerReferences"))


class Reconciler:
    def __init__(self, env: Environment) -> None:
        self._namespace, self._service_name = split_key(env.options.node_dns_service)
        self._client, self._clock = env.client_for(ACCOUNT), env.clock
        self._nodes = env.informers.informer(NODES).lister
        self._services = env.informers.informer(SERVICES).lister
        self._slices = env.informers.informer(ENDPOINT_SLICES).lister
        self.tally = Tally()

    @property
    def _service(self) -> Object | None:
        return self._services.get(self._service_name, self._namespace)

    async def reconcile(self, key: str) -> float | None:
        """Keys are the nodes' names."""
        current = self._slices.get(slice_name(self._service_name, key), self._namespace)
        if current is not None and current["metadata"].get("labels", {}).get(MANAGED_BY) != NAME:
            log.warning("A slice of somebody else's has the name of a node's", slice=key_of(current))
            return None
        wanted = plan(self._service, self._nodes.get(key), self.tally.ready.get(key), current)
        try:
            if current is None and wanted is not None:
                await self._client.create(ENDPOINT_SLICES, wanted)
            elif current is not None and (wanted is None or wanted["addressType"] != current["addressType"]):
                await self._client.delete(ENDPOINT_SLICES, current["metadata"]["name"], self._namespace)
            elif current is not None and wanted is not None and differs(wanted, current):
                metadata = {**wanted["metadata"], "resourceVersion": current["metadata"]["resourceVersion"]}
                await self._client.update(ENDPOINT_SLICES, {**wanted, "metadata": metadata})
            else:
                return None
        except (AlreadyExists, NotFound):
            return 0.2  # the cache is behind
        said = "no DNS" if wanted is None else "ready" if wanted["endpoints"][0]["conditions"]["ready"] else "not ready"
        log.info("Changed the endpoint of a node's DNS", node=key, now=said)
        return None

    async def listen(self, queue: WorkQueue[str]) -> None:
        while True:
            service, began = self._service, self._clock.monotonic()
            targets: dict[str, tuple[str, int]] = {}
            if service is not None and is_served(service) and (port := target_port(service)):
                targets = {node["metadata"]["name"]: (address, port) for node in self._nodes.list()
                           if (address := address_of(service, node))}
            said = await ask.ask(targets) if targets else {}
            for node in self.tally.hear(targets, said):
                queue.add(node)
            period = PERIOD if self.tally.ready.keys() >= targets.keys() else AT_FIRST
            await self._clock.sleep(max(0.1, period - (self._clock.monotonic() - began), len(targets) / PER_SECOND))

    def everyone(self, obj: Object) -> tuple[str, ...]:
        """A change of the Service concerns all nodes."""
        return tuple(node["metadata"]["name"] for node in self._nodes.list()) if key_of(obj) == f"{self._namespace}/{self._service_name}" \
            else ()


def controller(env: Environment) -> Controller | None:
    if not env.options.node_dns_service:
        return None
    reconciler = Reconciler(env)

    def whose(obj: Object) -> tuple[str, ...]:
        if (obj["metadata"].get("labels") or {}).get(MANAGED_BY) != NAME:
            return ()
        return tuple(owner["name"] for owner in obj["metadata"].get("ownerReferences") or ())

    def matters(old: Object | None, new: Object | None) -> bool:
        """Heartbeats do not."""
        return old is None or new is None or any(
            old.get(part, {}).get(name) != new.get(part, {}).get(name)
            for part, name in (("status", "addresses"), ("metadata", "labels"), ("metadata", "deletionTimestamp")))

    return Controller("node-dns", reconciler.reconcile, (
        Watch(NODES, when=matters), Watch(SERVICES, keys=reconciler.everyone), Watch(ENDPOINT_SLICES, keys=whose)),
        start=reconciler.listen)
