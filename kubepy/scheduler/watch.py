"""What the informers report, told to the snapshot and the queue. Pods are parsed as they arrive; the informer's store keeps only the
parsed pod, so that 30,000 bound pods stay small."""
from __future__ import annotations

from kubepy.api.resource import (
    CSI_NODES,
    NAMESPACES,
    NODES,
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    POD_DISRUPTION_BUDGETS,
    PODS,
    STORAGE_CLASSES,
    Resource,
)
from kubepy.api.types import Object
from kubepy.client.informer import InformerFactory
from kubepy.client.store import key_of
from kubepy.scheduler.framework import Event
from kubepy.scheduler.pod import Parser, Pod
from kubepy.scheduler.preemption import Budget, parse_budget
from kubepy.scheduler.queue import Queue
from kubepy.scheduler.snapshot import Node, Snapshot

LIVING = "status.phase!=Succeeded,status.phase!=Failed"


class Feed:
    """Keeps `snapshot` and `queue` current."""

    def __init__(self, snapshot: Snapshot, queue: Queue, parser: Parser | None = None) -> None:
        self._snapshot, self._queue = snapshot, queue
        self._parser = parser or Parser()
        self._budgets: dict[str, Budget] = {}

    def budgets(self) -> list[Budget]:
        return list(self._budgets.values())

    def register(self, factory: InformerFactory) -> None:
        factory.informer(NODES, transform=_slim_node).add_handler(self._node_set, lambda _, new: self._node_set(new), self._node_gone)
        factory.informer(NAMESPACES, transform=_slim_namespace).add_handler(
            self._namespace_set, lambda _, new: self._namespace_set(new), self._namespace_gone)
        factory.informer(POD_DISRUPTION_BUDGETS).add_handler(self._budget_set, lambda _, new: self._budget_set(new),
                                                             self._forget_budget)
        volumes = self._snapshot.volumes
        self._keep(factory, PERSISTENT_VOLUME_CLAIMS, volumes.claims)
        self._keep(factory, PERSISTENT_VOLUMES, volumes.volumes)
        self._keep(factory, STORAGE_CLASSES, volumes.classes)
        factory.informer(CSI_NODES).add_handler(self._csi_node_set, lambda _, new: self._csi_node_set(new),
                                                lambda obj: volumes.set_csi_node({"metadata": obj["metadata"]}))
        factory.informer(PODS, field_selector=LIVING, transform=self._parsed).add_handler(
            lambda obj: self.pod_set(obj["pod"]), lambda _, new: self.pod_set(new["pod"]), lambda obj: self.pod_gone(obj["pod"]))

    def _csi_node_set(self, obj: Object) -> None:
        self._snapshot.volumes.set_csi_node(obj)
        self._queue.happened(Event("CSINode", "update", None, obj))

    def _keep(self, factory: InformerFactory, resource: Resource, where: dict[str, Object]) -> None:
        """Keeps storage objects as they are, and tells the queue."""

        def put(old: Object | None, new: Object) -> None:
            where[key_of(new)] = new
            self._queue.happened(Event(resource.kind, "add" if old is None else "update", old, new))

        def gone(obj: Object) -> None:
            where.pop(key_of(obj), None)
            self._snapshot.volumes.reserved.pop(obj["metadata"]["name"], None)

        factory.informer(resource).add_handler(lambda obj: put(None, obj), put, gone)

    def _parsed(self, obj: Object) -> Object:
        metadata = obj["metadata"]
        metadata.pop("managedFields", None)
        kept = {key: metadata.get(key) for key in ("namespace", "name", "resourceVersion")}
        return {"metadata": kept, "pod": self._parser.parse(obj)}

    # --- pods ---

    def pod_set(self, pod: Pod) -> None:
        snapshot, queue = self._snapshot, self._queue
        if pod.node:
            self._bound(pod)
            return
        if pod.terminated or pod.deleting:
            self.pod_gone(pod)
            return
        if pod.key in snapshot.assumed and snapshot.assumed[pod.key].pod.uid == pod.uid:
            return  # a binding is under way; what comes back will say more
        if pod.nominated:
            snapshot.nominated[pod.key] = (pod, pod.nominated)
        else:
            snapshot.nominated.pop(pod.key, None)
        if pod.scheduler in queue.profiles:
            queue.add(pod)

    def _bound(self, pod: Pod) -> None:
        snapshot, queue = self._snapshot, self._queue
        old = snapshot.placed.get(pod.key)
        if old is not None and old.uid != pod.uid:
            self.pod_gone(old)
            old = None
        snapshot.set_pod(pod)
        queue.done(pod.key)
        if pod.terminated:
            if old is not None:
                queue.happened(Event("AssignedPod", "delete", old, None))
        elif old is None:
            queue.happened(Event("AssignedPod", "add", None, pod))
        else:
            if old.labels != pod.labels or old.deleting != pod.deleting:
                queue.happened(Event("AssignedPod", "label", old, pod))
            if old.requests != pod.requests:
                queue.happened(Event("AssignedPod", "resize", old, pod))

    def pod_gone(self, pod: Pod) -> None:
        self._queue.delete(pod.key)
        self._snapshot.nominated.pop(pod.key, None)
        old = self._snapshot.forget_pod(pod.key)
        if old is not None:
            self._queue.happened(Event("AssignedPod", "delete", old, None))

    # --- nodes ---

    def _node_set(self, obj: Object) -> None:
        snapshot, queue = self._snapshot, self._queue
        node = snapshot.nodes.get(obj["metadata"]["name"])
        before = (node.labels, node.taints, node.unschedulable, node.allocatable) if node is not None else None
        snapshot.set_node(obj)
        after: Node = snapshot.nodes[obj["metadata"]["name"]]
        if before is None:
            queue.happened(Event("Node", "add", None, after))
            return
        if before[0] != after.labels:
            queue.happened(Event("Node", "label", None, after))
        if before[1] != after.taints or before[2] != after.unschedulable:
            queue.happened(Event("Node", "taint", None, after))
        if before[3] != after.allocatable:
            queue.happened(Event("Node", "allocatable", None, after))

    def _node_gone(self, obj: Object) -> None:
        self._snapshot.remove_node(obj["metadata"]["name"])
        self._queue.happened(Event("Node", "delete", obj, None))

    # --- disruption budgets ---

    def _budget_set(self, obj: Object) -> None:
        self._budgets[key_of(obj)] = parse_budget(obj)

    def _forget_budget(self, obj: Object) -> None:
        self._budgets.pop(key_of(obj), None)

    # --- namespaces ---

    def _namespace_set(self, obj: Object) -> None:
        self._snapshot.tallies.set_namespace(obj["metadata"]["name"], obj["metadata"].get("labels") or {})
        self._queue.happened(Event("Namespace", "label", None, obj))

    def _namespace_gone(self, obj: Object) -> None:
        self._snapshot.tallies.set_namespace(obj["metadata"]["name"], None)


def _slim_node(obj: Object) -> Object:
    """What the scheduler reads of a node: heartbeats and conditions are most of the bytes and none of the use."""
    metadata, status = obj["metadata"], obj.get("status") or {}
    kept = {key: metadata[key] for key in ("name", "labels", "annotations", "resourceVersion") if key in metadata}
    return {"metadata": kept, "spec": obj.get("spec") or {},
            "status": {key: status[key] for key in ("allocatable", "capacity", "images") if key in status}}


def _slim_namespace(obj: Object) -> Object:
    metadata = obj["metadata"]
    return {"metadata": {key: metadata[key] for key in ("name", "labels", "resourceVersion") if key in metadata}}
