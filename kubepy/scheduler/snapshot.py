"""The cluster in columns: one slot per node, NumPy arrays over the slots, changed in place as nodes and pods change.

It is at once upstream's cache (with assumed pods) and its snapshot: scheduling a pod runs without awaiting anything, so nothing
changes under it. Slots of removed nodes are reused; `exists` says which are taken. A pod bound to a node that is not known (yet)
is remembered and counted when the node appears.
"""
from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kubepy.api import scheduling
from kubepy.api.scheduling import Labels
from kubepy.api.types import Object
from kubepy.scheduler.device.state import Devices
from kubepy.scheduler.label import LabelColumn, LabelTable, Mask
from kubepy.scheduler.owner import Owners
from kubepy.scheduler.pod import Pod, Template
from kubepy.scheduler.tally import Tallies
from kubepy.scheduler.volume import Volumes, claim_keys

Counts = NDArray[np.int64]
Taints = tuple[tuple[str, str, str], ...]
CHANGES_KEPT = 1024
TEMPLATES_KEPT = 256
"""For how many templates verdicts are kept: each is a few arrays over all nodes."""
CPU, MEMORY, STORAGE, PODS = range(4)
_VERSIONS = itertools.count(1)  # one for all snapshots, since templates are shared between them
BASIC = ("cpu", "memory", "ephemeral-storage", "pods")


@dataclass(slots=True, eq=False)
class Node:
    """A node and the pods on it."""

    slot: int
    name: str
    labels: Labels
    taints: tuple[Object, ...]
    unschedulable: bool
    allocatable: dict[str, int]
    images: dict[str, int] = field(default_factory=dict)
    """Image names with their sizes in bytes."""
    pods: dict[str, Pod] = field(default_factory=dict)
    """By key."""
    annotations: Labels = field(default_factory=dict)
    features: frozenset[str] = frozenset()
    """That it declares."""


@dataclass(slots=True)
class Assumed:
    """A pod counted on a node before the API server has shown it there."""

    pod: Pod
    expires: float | None = None
    """Monotonic seconds after which it no longer counts; None while its binding is under way."""


class Snapshot:
    """`allocatable[row, slot]` and `used[row, slot]` with `rows[resource] = row`; `nonzero[0|1, slot]` for scores."""

    def __init__(self, capacity: int = 64, *, hard_pod_affinity_weight: int = 1) -> None:
        self.capacity = capacity
        self.names: list[str] = [""] * capacity
        self.nodes: dict[str, Node] = {}
        self.slots: list[Node | None] = [None] * capacity
        self._free = list(range(capacity - 1, -1, -1))
        self.exists: Mask = np.zeros(capacity, np.bool_)
        self.rows: dict[str, int] = {name: row for row, name in enumerate(BASIC)}
        self.allocatable: Counts = np.zeros((len(BASIC), capacity), np.int64)
        self.used: Counts = np.zeros((len(BASIC), capacity), np.int64)
        self.nonzero: Counts = np.zeros((2, capacity), np.int64)
        self.unschedulable: Mask = np.zeros(capacity, np.bool_)
        self.taint_ids: NDArray[np.int32] = np.zeros(capacity, np.int32)
        self.taint_sets: list[tuple[Object, ...]] = [()]
        self._taint_index: dict[Taints, int] = {(): 0}
        self.labels = LabelTable()
        self.tallies = Tallies(capacity, hard_pod_affinity_weight)
        self.images: dict[str, dict[int, int]] = {}
        """Image name -> slot -> size."""
        self.ports: dict[tuple[str, int], dict[int, list[str]]] = {}
        """(protocol, port) -> slot -> host addresses taken."""
        self.claims: dict[str, int] = {}
        """Claim key -> how many pods on nodes use it."""
        self.volumes = Volumes()
        self.devices = Devices()
        self.owners = Owners()
        self.version = next(_VERSIONS)
        """Rises whenever a node comes, goes, or changes its labels, taints or cordon: what kept verdicts depend on."""
        self.changes = 0
        """How often the pods on nodes have changed; `changed_since` says where."""
        self._changed: list[int] = []
        self._keeping: OrderedDict[int, Template] = OrderedDict()
        self.assumed: dict[str, Assumed] = {}
        self.placed: dict[str, Pod] = {}
        """Every pod counted on a node or waiting for its node, by key."""
        self._homeless: dict[str, dict[str, Pod]] = {}
        self.nominated: dict[str, tuple[Pod, str]] = {}
        """Pending pods with the node they were nominated to, by key."""

    def __len__(self) -> int:
        return len(self.nodes)

    # --- nodes ---

    def set_node(self, obj: Object) -> None:
        """Adds or updates a node."""
        metadata, spec, status = obj["metadata"], obj.get("spec") or {}, obj.get("status") or {}
        name, labels = metadata["name"], metadata.get("labels") or {}
        taints = tuple(spec.get("taints") or ())
        unschedulable = bool(spec.get("unschedulable"))
        allocatable = scheduling.amounts(status.get("allocatable") or status.get("capacity"))
        node = self.nodes.get(name)
        if node is None:
            slot = self._take_slot()
            node = self.nodes[name] = self.slots[slot] = Node(slot, name, labels, taints, unschedulable, allocatable)
            self.names[slot] = name
            self.exists[slot] = True
            self._describe(node)
            self._size(node)
            for pod in self._homeless.pop(name, {}).values():
                self._count(pod, node)
        else:
            if (node.labels, node.taints, node.unschedulable) != (labels, taints, unschedulable):
                node.labels, node.taints, node.unschedulable = labels, taints, unschedulable
                self._describe(node)
            if node.allocatable != allocatable:
                node.allocatable = allocatable
                self._size(node)
        node.annotations = metadata.get("annotations") or {}
        node.features = frozenset(status.get("declaredFeatures") or ())
        self._set_images(node, status.get("images") or ())

    def remove_node(self, name: str) -> None:
        """Its pods stay known, and count again if the node comes back."""
        node = self.nodes.pop(name, None)
        if node is None:
            return
        pods = dict(node.pods)
        for pod in pods.values():
            self._discount(pod, node)
        if pods:
            self._homeless[name] = pods
        self._set_images(node, ())
        slot = node.slot
        self.labels.set_node(slot, {})
        self.taint_ids[slot] = 0
        self.allocatable[:, slot] = 0
        self.used[:, slot] = 0
        self.nonzero[:, slot] = 0
        self.unschedulable[slot] = self.exists[slot] = False
        self.slots[slot], self.names[slot] = None, ""
        self._free.append(slot)
        self.version = next(_VERSIONS)

    def _take_slot(self) -> int:
        if not self._free:
            old, new = self.capacity, self.capacity * 2
            self.capacity = new
            for field_name in ("exists", "unschedulable", "taint_ids", "allocatable", "used", "nonzero"):
                array = getattr(self, field_name)
                grown = np.zeros((*array.shape[:-1], new), array.dtype)
                grown[..., :old] = array
                setattr(self, field_name, grown)
            self.names += [""] * old
            self.slots += [None] * old
            self.labels.grow(new)
            self.tallies.grow(new)
            self._free = list(range(new - 1, old - 1, -1))
        return self._free.pop()

    def _describe(self, node: Node) -> None:
        self.version = next(_VERSIONS)
        slot = node.slot
        self.labels.set_node(slot, node.labels)
        self.unschedulable[slot] = node.unschedulable
        key = tuple((t.get("key", ""), t.get("value") or "", t.get("effect", "")) for t in node.taints)
        number = self._taint_index.get(key)
        if number is None:
            number = self._taint_index[key] = len(self.taint_sets)
            self.taint_sets.append(node.taints)
        self.taint_ids[slot] = number

    def keep(self, template: Template, name: str, value: tuple[int, Any]) -> None:
        """Keeps a plugin's verdict with the template; those of the templates not kept for longest are dropped."""
        if not template.verdicts or id(template) not in self._keeping:
            self._keeping[id(template)] = template
            if len(self._keeping) > TEMPLATES_KEPT:
                self._keeping.popitem(last=False)[1].verdicts.clear()
        self._keeping.move_to_end(id(template))
        template.verdicts[name] = value

    def changed_since(self, changes: int) -> list[int] | None:
        """The slots whose pods have changed since `changes` was read; None when that was too long ago to say."""
        back = self.changes - changes
        if back > len(self._changed):
            return None
        return list(set(self._changed[len(self._changed) - back:])) if back else []

    def _size(self, node: Node) -> None:
        self.version = next(_VERSIONS)
        self.allocatable[:, node.slot] = 0
        for resource, value in node.allocatable.items():
            row = self.row(resource)  # may replace the array
            self.allocatable[row, node.slot] = value

    def row(self, resource: str) -> int:
        """The row of a resource, made when it is first met."""
        row = self.rows.get(resource)
        if row is None:
            row = self.rows[resource] = len(self.rows)
            more = np.zeros((1, self.capacity), np.int64)
            self.allocatable = np.concatenate((self.allocatable, more))
            self.used = np.concatenate((self.used, more))
        return row

    def _set_images(self, node: Node, images: Iterable[Object]) -> None:
        found = {name: int(image.get("sizeBytes") or 0) for image in images for name in image.get("names") or ()}
        if found == node.images:
            return
        for name in node.images.keys() - found.keys():
            where = self.images[name]
            where.pop(node.slot, None)
            if not where:
                del self.images[name]
        for name, size in found.items():
            self.images.setdefault(name, {})[node.slot] = size
        node.images = found

    def column(self, key: str) -> LabelColumn:
        """The column of a label key."""
        return self.labels.column(key, self.capacity, ((node.slot, node.labels) for node in self.nodes.values()))

    # --- pods ---

    def lift(self, pod: Pod) -> None:
        """Stops counting a pod on its node for the moment (what if it were not there); `put_back` follows before anything else."""
        self._discount(pod, self.nodes[pod.node])

    def put_back(self, pod: Pod) -> None:
        self._count(pod, self.nodes[pod.node])

    def set_pod(self, pod: Pod) -> None:
        """Takes note of a pod that the API shows bound: it replaces what was assumed or known of it; a terminated one is dropped."""
        self.assumed.pop(pod.key, None)
        self.forget_pod(pod.key)
        self.nominated.pop(pod.key, None)
        if not pod.terminated:
            self._place(pod)

    def forget_pod(self, key: str) -> Pod | None:
        """Stops counting a pod; returns it if it was known."""
        self.assumed.pop(key, None)
        pod = self.placed.pop(key, None)
        if pod is None:
            return None
        node = self.nodes.get(pod.node)
        if node is not None and key in node.pods:
            self._discount(pod, node)
        elif (waiting := self._homeless.get(pod.node)) is not None:
            waiting.pop(key, None)
            if not waiting:
                del self._homeless[pod.node]
        return pod

    def assume(self, pod: Pod, node: str) -> None:
        """Counts a pending pod on the node it is about to be bound to."""
        pod.node = node
        self._place(pod)
        self.assumed[pod.key] = Assumed(pod)
        self.nominated.pop(pod.key, None)

    def bound(self, key: str, expires: float) -> None:
        """The binding has been accepted: if the API does not show the pod on its node by then, stop counting it."""
        if (assumed := self.assumed.get(key)) is not None:
            assumed.expires = expires

    def unassume(self, pod: Pod) -> None:
        """The binding failed: the pod is pending again."""
        if pod.key in self.assumed:
            self.forget_pod(pod.key)
        pod.node = ""

    def expire(self, now: float) -> list[Pod]:
        """Drops the assumed pods that never showed up."""
        late = [a.pod for a in self.assumed.values() if a.expires is not None and a.expires <= now]
        for pod in late:
            self.forget_pod(pod.key)
        return late

    def _place(self, pod: Pod) -> None:
        self.placed[pod.key] = pod
        node = self.nodes.get(pod.node)
        if node is None:
            self._homeless.setdefault(pod.node, {})[pod.key] = pod
        else:
            self._count(pod, node)

    def _count(self, pod: Pod, node: Node) -> None:
        node.pods[pod.key] = pod
        self._tally(pod, node.slot, 1)
        self.tallies.add(pod, node.slot)
        for address, protocol, port in pod.template.ports:
            self.ports.setdefault((protocol, port), {}).setdefault(node.slot, []).append(address)
        for key, _ in claim_keys(pod.namespace, pod.name, pod.template.volumes) if pod.template.volumes else ():
            self.claims[key] = self.claims.get(key, 0) + 1

    def _discount(self, pod: Pod, node: Node) -> None:
        del node.pods[pod.key]
        self._tally(pod, node.slot, -1)
        self.tallies.remove(pod, node.slot)
        for address, protocol, port in pod.template.ports:
            where = self.ports[protocol, port]
            where[node.slot].remove(address)
            if not where[node.slot]:
                del where[node.slot]
                if not where:
                    del self.ports[protocol, port]

        for key, _ in claim_keys(pod.namespace, pod.name, pod.template.volumes) if pod.template.volumes else ():
            left = self.claims[key] - 1
            if left:
                self.claims[key] = left
            else:
                del self.claims[key]

    def _tally(self, pod: Pod, slot: int, sign: int) -> None:
        self.changes += 1
        self._changed.append(slot)
        if len(self._changed) > 2 * CHANGES_KEPT:
            del self._changed[:CHANGES_KEPT]
        for resource, value in pod.requests.items():
            row = self.rows.get(resource)
            if row is None:
                row = self.row(resource)
            self.used[row, slot] += sign * value
        self.used[PODS, slot] += sign
        self.nonzero[0, slot] += sign * pod.nonzero[0]
        self.nonzero[1, slot] += sign * pod.nonzero[1]
