"""Nodes as their provider knows them (`cloud-provider/controllers/{node,nodelifecycle}`).

`initialize`: a node whose kubelet waits for its provider (the taint `uninitialized`) gets its provider's ID, addresses and labels,
and addresses are kept true afterwards. `lifecycle`: a node that is not ready is removed when its machine is gone, and tainted while
it is shut down.
"""
from __future__ import annotations

from kubepy.api.errors import NotFound
from kubepy.api.resource import NODES
from kubepy.api.types import Object
from kubepy.base.clock import format_time
from kubepy.client.controller import Controller, Watch
from kubepy.client.queue import WorkQueue
from kubepy.controllers.cloud import builtin
from kubepy.controllers.cloud.provider import Machine, Machines, ProviderError
from kubepy.controllers.kit import condition
from kubepy.controllers.kit.environment import Environment

UNINITIALIZED = "node.cloudprovider.kubernetes.io/uninitialized"
SHUTDOWN = {"key": "node.cloudprovider.kubernetes.io/shutdown", "effect": "NoSchedule"}
PROVIDED_ADDRESS = "alpha.kubernetes.io/provided-node-ip"
UPDATE_PERIOD = 300.0
RETRY = 15.0


def taints_of(node: Object) -> list[Object]:
    return (node.get("spec") or {}).get("taints") or []


def waits(node: Object) -> bool:
    return any(item["key"] == UNINITIALIZED for item in taints_of(node))


def labels(machine: Machine) -> dict[str, str]:
    """The well-known ones, the deprecated names among them, and the provider's own."""
    known = {"node.kubernetes.io/instance-type": machine.type, "beta.kubernetes.io/instance-type": machine.type,
             "topology.kubernetes.io/zone": machine.zone, "failure-domain.beta.kubernetes.io/zone": machine.zone,
             "topology.kubernetes.io/region": machine.region, "failure-domain.beta.kubernetes.io/region": machine.region}
    return {**machine.labels, **{name: value for name, value in known.items() if value}}


def initialized(node: Object, machine: Machine) -> Object:
    """A patch: what the node gets, and away with the taint."""
    spec: Object = {"taints": [item for item in taints_of(node) if item["key"] != UNINITIALIZED] or None}
    if machine.provider_id and not (node.get("spec") or {}).get("providerID"):
        spec["providerID"] = machine.provider_id
    return {"metadata": {"resourceVersion": node["metadata"]["resourceVersion"], "labels": labels(machine)}, "spec": spec}


def addresses(node: Object, machine: Machine) -> list[Object] | None:
    """New addresses; None: as they are. An address that the kubelet was told to use is put first. Raises ProviderError."""
    wanted = list(machine.addresses)
    asked = (node["metadata"].get("annotations") or {}).get(PROVIDED_ADDRESS)
    if asked:
        chosen = [item for item in wanted if item["address"] == asked]
        if not chosen:
            raise ProviderError(f"node {node['metadata']['name']} was given address {asked}, which its machine does not have")
        wanted = [*chosen, *(item for item in wanted if item not in chosen)]
    if not any(item["type"] != "Hostname" for item in wanted):
        return None  # the provider knows none: the kubelet's stay
    return wanted if wanted != ((node.get("status") or {}).get("addresses") or []) else None


class Initializer:
    def __init__(self, env: Environment, machines: Machines) -> None:
        self._machines = machines
        self._client = env.client_for("node-controller")
        self._recorder = env.recorder("cloud-node-controller", "node-controller")
        self._nodes = env.informers.informer(NODES).lister

    async def reconcile(self, name: str) -> float | None:
        node = self._nodes.get(name)
        if node is None:
            return None
        waiting = waits(node)
        try:
            machine = await self._machines.find(node)
            if machine is None:
                return RETRY if waiting else None
            new = addresses(node, machine)
        except ProviderError as error:
            self._recorder.event(node, "Warning", "FailedToInitialize", f"Cannot get the node's machine: {error}")
            return RETRY
        if new is not None:
            patch = [{"op": "add", "path": "/status/addresses", "value": new}]
            node = await self._client.patch(NODES, name, patch, type="json", subresource="status")
        if waiting:
            await self._client.patch(NODES, name, initialized(node, machine))
            self._recorder.event(node, "Normal", "Synced", "Node synced successfully")
        return UPDATE_PERIOD


class Lifecycle:
    def __init__(self, env: Environment, machines: Machines) -> None:
        self._machines, self._clock, self._period = machines, env.clock, env.options.node_monitor_period
        self._client = env.client_for("node-controller")
        self._recorder = env.recorder("cloud-node-lifecycle-controller", "node-controller")
        self._nodes = env.informers.informer(NODES).lister

    async def watch(self, queue: WorkQueue[str]) -> None:
        while True:
            for node in self._nodes.list():
                queue.add(node["metadata"]["name"])
            await self._clock.sleep(self._period)

    async def reconcile(self, name: str) -> float | None:
        node = self._nodes.get(name)
        if node is None or waits(node):
            return None
        ready = condition.find((node.get("status") or {}).get("conditions") or (), "Ready")
        if ready is not None and ready["status"] == "True":
            await self._taint(node, shut_down=False)
            return None
        try:
            machine = await self._machines.find(node)
        except ProviderError:
            return None  # nothing is done on a guess
        if machine is None:
            self._recorder.event({"kind": "Node", "name": name, "uid": node["metadata"]["uid"]}, "Normal", "DeletingNode",
                                 f"Deleting node {name} because it does not exist in the cloud provider")
            try:
                await self._client.delete(NODES, name, uid=node["metadata"]["uid"])
            except NotFound:
                return None
        else:
            await self._taint(node, shut_down=not machine.running)
        return None

    async def _taint(self, node: Object, *, shut_down: bool) -> None:
        kept = [item for item in taints_of(node) if item["key"] != SHUTDOWN["key"]]
        if (len(kept) != len(taints_of(node))) is shut_down:
            return
        new = [*kept, {**SHUTDOWN, "timeAdded": format_time(self._clock.now())}] if shut_down else kept
        patch = {"metadata": {"resourceVersion": node["metadata"]["resourceVersion"]}, "spec": {"taints": new or None}}
        await self._client.patch(NODES, node["metadata"]["name"], patch)


def initialize(env: Environment) -> Controller | None:
    machines = builtin.provider(env.options).machines
    return Controller("cloud_node", Initializer(env, machines).reconcile, (
        Watch(NODES, when=lambda old, new: new is not None and (old is None or waits(new))),),
        workers=env.options.concurrency("node", 1)) if machines is not None else None


def lifecycle(env: Environment) -> Controller | None:
    machines = builtin.provider(env.options).machines
    if machines is None:
        return None
    reconciler = Lifecycle(env, machines)
    return Controller("cloud_node_lifecycle", reconciler.reconcile, (Watch(NODES, keys=None),), start=reconciler.watch)


