"""Node health (`pkg/controller/nodelifecycle`): silent nodes become Unknown, conditions become taints, pods become unready.

NoSchedule taints follow a node's conditions at once; NoExecute taints are added at the eviction rate of the node's zone.
When no node at all is ready, nothing is evicted and NoExecute taints are taken away again (upstream's master disruption mode).
"""
from __future__ import annotations

from dataclasses import replace

from kubepy.api.errors import ApiError, Conflict, NotFound
from kubepy.api.pod import condition, node_name
from kubepy.api.resource import LEASES, NODES, PODS
from kubepy.api.types import Object
from kubepy.base.clock import format_time
from kubepy.base.log import get_logger
from kubepy.base.metrics import counter, exponential, gauge, histogram
from kubepy.client.controller import Controller, Watch
from kubepy.client.queue import WorkQueue
from kubepy.controllers.kit import condition as conditions
from kubepy.controllers.kit.environment import Environment
from kubepy.controllers.node import health, zone

ZONE_SIZE = gauge("node_collector_zone_size", "Gauge measuring number of registered Nodes per zones.", ("zone",))
ZONE_HEALTH = gauge("node_collector_zone_health", "Gauge measuring percentage of healthy nodes per zone.", ("zone",))
UNHEALTHY = gauge("node_collector_unhealthy_nodes_in_zone", "Gauge measuring number of not Ready Nodes per zones.", ("zone",))
EVICTIONS = counter("node_collector_evictions_total",
                    "Number of Node evictions that happened since current instance of NodeController started.", ("zone",))
LOOKED = histogram("node_collector_update_all_nodes_health_duration_seconds",
                   "Duration in seconds for NodeController to update the health of all nodes.", (), exponential(0.01, 4, 8))
log = get_logger("nodelifecycle")

LEASE_NAMESPACE = "kube-node-lease"


class Reconciler:
    def __init__(self, env: Environment) -> None:
        self._options, self._clock = env.options, env.clock
        self._client = env.client_for("node-controller")
        self._recorder = env.recorder("node-controller", "node-controller")
        self._nodes = env.informers.informer(NODES).lister
        self._leases = env.informers.informer(LEASES, LEASE_NAMESPACE).lister
        self._pods = env.informers.informer(PODS).lister
        self._pods.add_index("node", lambda pod: (node_name(pod),))
        self._heard: dict[str, health.Heard] = {}
        self._ready: dict[str, str] = {}
        self._buckets: dict[str, zone.Bucket] = {}
        self._rates: dict[str, float] = {}
        self._all_silent = False

    def observe(self, old: Object | None, new: Object | None) -> None:
        """A sign of life counts from when it arrived, not from when it was looked for."""
        if new is None:
            assert old is not None
            name = old["metadata"]["name"]
            self._heard.pop(name, None)
            self._ready.pop(name, None)
            self._recorder.event(_about(old), "Normal", "RemovingNode", f"Node {name} event: Removing Node {name} from Controller")
        elif old is None:
            name = new["metadata"]["name"]
            self._recorder.event(_about(new), "Normal", "RegisteredNode", f"Node {name} event: Registered Node {name} in Controller")

    async def reconcile(self, key: str) -> float | None:
        """Brings a node's taints up to date."""
        node = self._nodes.get(key)
        if node is None or node["metadata"].get("deletionTimestamp") is not None:
            return None
        now = self._clock.now()
        taints = health.plan_no_schedule(node, now)
        if taints is not None:
            await self._taint(node, taints)
            return None  # the change comes back and wakes us
        taints, evicts = health.plan_no_execute(node, now, self._all_silent)
        if taints is None:
            return None
        if evicts and not self._may_evict(zone.zone_of(node)):
            return self._options.node_monitor_period
        if evicts:
            EVICTIONS.labels(zone.zone_of(node)).inc()
            log.info("Node does not answer, its pods will be evicted", node=key, ready=health.readiness(node))
        await self._taint(node, taints)
        return None

    async def monitor(self, queue: WorkQueue[str]) -> None:
        """Looks at every node, for ever."""
        while True:
            began = self._clock.monotonic()
            await self._look(queue)
            LOOKED.observe(self._clock.monotonic() - began)
            await self._clock.sleep(self._options.node_monitor_period)

    async def _look(self, queue: WorkQueue[str]) -> None:
        self._measure_zones()
        for node in self._nodes.list():
            name = node["metadata"]["name"]
            now = self._clock.now()
            heard = self._heard[name] = health.listen(node, self._leases.get(name, LEASE_NAMESPACE), self._heard.get(name), now)
            options = self._options
            changed = health.silent_conditions(node, heard, now, options.node_monitor_grace_period, options.node_startup_grace_period)
            try:
                if changed is not None:
                    log.info("Node is silent", node=name, seconds=round(now - heard.at))
                    status = {**(node.get("status") or {}), "conditions": changed}
                    node = await self._client.update(NODES, {**node, "status": status}, subresource="status")
                await self._follow_readiness(node)
            except (Conflict, NotFound):
                continue  # it has just spoken, or gone: next time
            except (ApiError, ConnectionError) as error:
                log.warning("Cannot update a node", node=name, err=error)
            queue.add(name)

    async def _follow_readiness(self, node: Object) -> None:
        """When a node stops being ready its pods do too."""
        name, ready = node["metadata"]["name"], health.readiness(node)
        before = self._ready.get(name)
        if ready != "True" and before == "True":
            self._recorder.event(_about(node), "Normal", "NodeNotReady", f"Node {name} status is now: NodeNotReady")
        if ready and ready != "True" and before != ready:
            for pod in self._pods.by_index("node", name):
                await self._mark_unready(pod)
        self._ready[name] = ready

    async def _mark_unready(self, pod: Object) -> None:
        current = condition(pod, "Ready")
        if current is None or current["status"] != "True":
            return
        new = {**current, "status": "False", "lastTransitionTime": format_time(self._clock.now())}
        status = {"conditions": conditions.merge(pod["status"]["conditions"], new)}
        metadata = pod["metadata"]
        patch = {"metadata": {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]}, "status": status}
        try:
            await self._client.patch(PODS, metadata["name"], patch, metadata["namespace"], subresource="status")
        except NotFound:
            return
        self._recorder.event(pod, "Warning", "NodeNotReady", "Node is not ready")

    def _measure_zones(self) -> None:
        zones: dict[str, list[Object]] = {}
        for node in self._nodes.list():
            zones.setdefault(zone.zone_of(node), []).append(node)
        for name, nodes in zones.items():
            silent_nodes = sum(1 for node in nodes if health.readiness(node) != "True")
            ZONE_SIZE.labels(name).set(len(nodes))
            UNHEALTHY.labels(name).set(silent_nodes)
            ZONE_HEALTH.labels(name).set(100.0 * (len(nodes) - silent_nodes) / len(nodes))
        options = self._options
        states = {name: zone.state(nodes, options.unhealthy_zone_threshold) for name, nodes in zones.items()}
        silent = bool(states) and all(state == zone.FULL for state in states.values())
        if silent and not self._all_silent:
            log.info("No node is ready: entering master disruption mode, nothing is evicted")
        elif self._all_silent and not silent:
            log.info("A node is ready again: leaving master disruption mode")
            now = self._clock.now()  # the others get their whole grace period again
            self._heard = {name: replace(heard, at=now) for name, heard in self._heard.items()}
        self._all_silent = silent
        self._rates = zone.rates(states, {name: len(nodes) for name, nodes in zones.items()}, options.node_eviction_rate,
                                 options.secondary_node_eviction_rate, options.large_cluster_size_threshold)

    def _may_evict(self, name: str) -> bool:
        now = self._clock.monotonic()
        bucket = self._buckets.setdefault(name, zone.Bucket(1.0, now))
        return bucket.take(self._rates.get(name, 0.0), now)

    async def _taint(self, node: Object, taints: list[Object]) -> None:
        metadata = node["metadata"]
        patch = {"metadata": {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]}, "spec": {"taints": taints or None}}
        try:
            await self._client.patch(NODES, metadata["name"], patch)
        except NotFound:
            return


def _about(node: Object) -> Object:
    """Upstream's references to nodes carry no resourceVersion."""
    return {"kind": "Node", "apiVersion": "v1", "name": node["metadata"]["name"], "uid": node["metadata"]["uid"]}


def _matters(old: Object | None, new: Object | None) -> bool:
    """Heartbeats alone do not change taints."""
    if old is None or new is None:
        return True
    return _facts(old) != _facts(new)


def _facts(node: Object) -> tuple[object, ...]:
    spec = node.get("spec") or {}
    return (spec.get("taints"), spec.get("unschedulable"),
            [(item["type"], item["status"]) for item in (node.get("status") or {}).get("conditions") or ()])


def controller(env: Environment) -> Controller:
    reconciler = Reconciler(env)
    watches = (
        Watch(NODES, observe=reconciler.observe, when=_matters),
        Watch(LEASES, namespace=LEASE_NAMESPACE, keys=None),
        Watch(PODS, keys=None),
    )
    return Controller("node_lifecycle", reconciler.reconcile, watches, start=reconciler.monitor)
