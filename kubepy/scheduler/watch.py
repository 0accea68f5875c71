"""What the informers report, told to the snapshot and the queue. Pods are parsed as they arrive; the informer's store keeps only the
parsed pod, so that 30,000 bound pods stay small."""
from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Any

from kubepy.api.resource import NAMESPACES, NODES, POD_DISRUPTION_BUDGETS, PODS
from kubepy.api.types import Object
from kubepy.client.informer import Informer, InformerFactory, drop_managed_fields
from kubepy.client.store import key_of
from kubepy.scheduler import metric
from kubepy.scheduler.framework import Event
from kubepy.scheduler.pod import Parser, Pod
from kubepy.scheduler.preemption import Budget, parse_budget
from kubepy.scheduler.queue import Queue
from kubepy.scheduler.related import Related
from kubepy.scheduler.snapshot import Node, Snapshot

IMAGES_KEPT = 20_000
LIVING = "status.phase!=Succeeded,status.phase!=Failed"


class Feed:
    """Keeps `snapshot` and `queue` current. `gone` is told of pods that are deleted before they are bound."""

    def __init__(self, snapshot: Snapshot, queue: Queue, parser: Parser | None = None,
                 gone: Callable[[Pod], Any] = lambda pod: None) -> None:
        self._snapshot, self._queue, self._gone = snapshot, queue, gone
        self._parser = parser or Parser()
        self._related = Related(snapshot, queue)
        self._budgets: dict[str, Budget] = {}
        self._nodes: Informer | None = None
        self._images: dict[tuple[Any, ...], Object] = {}

    def budgets(self) -> list[Budget]:
        return list(self._budgets.values())

    def node_object(self, name: str) -> Object | None:
        return self._nodes.lister.get(name) if self._nodes is not None else None

    def register(self, factory: InformerFactory, *, devices: str = "v1", whole_nodes: bool = False) -> None:
        """Devices are looked at in a version of resource.k8s.io ("": not, for now); `whole_nodes` keeps node objects as they are, for
        extenders that want to see them."""
        self._nodes = factory.informer(NODES, transform=drop_managed_fields if whole_nodes else self._slim_node, paged=True)
        self._nodes.add_handler(self._node_set, lambda _, new: self._node_set(new), self._node_gone)
        factory.informer(NAMESPACES, transform=_slim_namespace, optional=True).add_handler(
            self._namespace_set, lambda _, new: self._namespace_set(new), self._namespace_gone)
        factory.informer(POD_DISRUPTION_BUDGETS, optional=True).add_handler(
            self._budget_set, lambda _, new: self._budget_set(new), self._forget_budget)
        self._related.register(factory)
        if devices:
            self.register_devices(factory, devices)
        factory.informer(PODS, field_selector=LIVING, transform=self._parsed, paged=True).add_handler(
            lambda obj: self._seen(obj["pod"], "PodAdd"), lambda _, new: self._seen(new["pod"], "PodUpdate"),
            lambda obj: self.pod_gone(obj["pod"]))

    def register_devices(self, factory: InformerFactory, version: str) -> None:
        self._related.register_devices(factory, version)

    def _seen(self, pod: Pod, event: str) -> None:
        began = perf_counter()
        self.pod_set(pod)
        metric.EVENT_SECONDS.labels(f"Assigned{event}" if pod.node else event).observe(perf_counter() - began)

    def _slim_node(self, obj: Object) -> Object:
        """What the scheduler reads of a node: heartbeats and conditions are most of the bytes and none of the use; images, of which many
        nodes have the same, are kept once."""
        metadata, spec, status = obj["metadata"], obj.get("spec") or {}, obj.get("status") or {}
        images = [self._images.setdefault((*(image.get("names") or ()), image.get("sizeBytes") or 0), image)
                  for image in status.get("images") or ()]
        if len(self._images) > IMAGES_KEPT:
            self._images.clear()
        return {"metadata": {key: metadata[key] for key in ("name", "labels", "annotations", "resourceVersion") if key in metadata},
                "spec": {key: spec[key] for key in ("taints", "unschedulable") if key in spec},
                "status": {"allocatable": status.get("allocatable") or status.get("capacity") or {}, "images": images,
                           "declaredFeatures": status.get("declaredFeatures") or ()}}

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
        self._gone(pod)
        self._queue.delete(pod.key)
        self._snapshot.nominated.pop(pod.key, None)
        old = self._snapshot.forget_pod(pod.key)
        if old is not None:
            self._queue.happened(Event("AssignedPod", "delete", old, None))

    # --- nodes ---

    def _node_set(self, obj: Object) -> None:
        snapshot, queue = self._snapshot, self._queue
        node = snapshot.nodes.get(obj["metadata"]["name"])
        before = (node.labels, node.taints, node.unschedulable, node.allocatable, node.features) if node is not None else None
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
        if before[4] != after.features:
            queue.happened(Event("Node", "features", None, after))

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


def _slim_namespace(obj: Object) -> Object:
    metadata = obj["metadata"]
    return {"metadata": {key: metadata[key] for key in ("name", "labels", "resourceVersion") if key in metadata}}
