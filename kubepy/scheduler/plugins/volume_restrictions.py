"""VolumeRestrictions and VolumeZone: claims one pod at a time may use, and volumes that say by label which zone they are in."""
from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from kubepy.api.types import Object
from kubepy.scheduler.framework import Cycle, Event, Plugin, Reason, Refusal, Wake
from kubepy.scheduler.pod import Pod
from kubepy.scheduler.snapshot import Node
from kubepy.scheduler.volume import claim_keys, its_claim

ONE_POD = "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode"
ZONE = "node(s) had no available volume zone"
ZONE_KEYS = ("topology.kubernetes.io/zone", "topology.kubernetes.io/region", "failure-domain.beta.kubernetes.io/zone",
             "failure-domain.beta.kubernetes.io/region")


class VolumeRestrictions(Plugin):
    """ReadWriteOncePod claims; the in-tree disks upstream also looks at are gone from Kubernetes."""

    name = "VolumeRestrictions"

    def __init__(self, args: Object | None = None) -> None:
        super().__init__(args)
        self.wakes = (Wake("AssignedPod", frozenset({"delete"}), _has_claims),
                      Wake("PersistentVolumeClaim", frozenset({"add", "update"}), its_claim))

    def concerns(self, cycle: Cycle) -> bool:
        return bool(cycle.template.volumes)

    def filter(self, cycle: Cycle) -> Sequence[Refusal]:
        return (Refusal(cycle.snapshot.exists, ONE_POD),) if _taken(cycle) else ()

    def filter_node(self, cycle: Cycle, node: Node) -> Sequence[Reason]:
        return (Reason(ONE_POD),) if _taken(cycle) else ()


def _taken(cycle: Cycle) -> bool:
    if not cycle.template.volumes:
        return False
    snapshot, pod = cycle.snapshot, cycle.pod
    for key, _ in claim_keys(pod.namespace, pod.name, cycle.template.volumes):
        claim = snapshot.volumes.claims.get(key)
        if claim is not None and "ReadWriteOncePod" in ((claim.get("spec") or {}).get("accessModes") or ()) and snapshot.claims.get(key):
            return True
    return False


def _has_claims(pod: Pod, event: Event) -> bool:
    return bool(pod.template.volumes) and isinstance(event.old, Pod) and bool(event.old.template.volumes)


class VolumeZone(Plugin):
    name = "VolumeZone"
    wakes = (Wake("PersistentVolumeClaim", frozenset({"add", "update"}), its_claim), Wake("PersistentVolume", frozenset({"add", "update"})),
             Wake("Node", frozenset({"add", "label"})))

    def concerns(self, cycle: Cycle) -> bool:
        return False

    def filter(self, cycle: Cycle) -> Sequence[Refusal]:
        limits = list(_limits(cycle))
        if not limits:
            return ()
        snapshot = cycle.snapshot
        zoned = np.zeros(snapshot.capacity, np.bool_)
        for key in ZONE_KEYS:
            zoned |= snapshot.column(key).ids >= 0
        refused = np.zeros(snapshot.capacity, np.bool_)
        for key, values in limits:
            refused |= ~snapshot.column(key).mask(lambda value, values=values: value in values)  # type: ignore[misc]
        return (Refusal(refused & zoned, ZONE, False),)

    def filter_node(self, cycle: Cycle, node: Node) -> Sequence[Reason]:
        if not any(key in node.labels for key in ZONE_KEYS):
            return ()
        if all(node.labels.get(key) in values for key, values in _limits(cycle)):
            return ()
        return (Reason(ZONE, False),)


def _limits(cycle: Cycle) -> Iterator[tuple[str, frozenset[str]]]:
    """The zone labels of the pod's bound volumes; `a__b` means either."""
    volumes, pod = cycle.snapshot.volumes, cycle.pod
    for key, _ in claim_keys(pod.namespace, pod.name, cycle.template.volumes) if cycle.template.volumes else ():
        claim = volumes.claims.get(key) or {}
        volume = volumes.volumes.get((claim.get("spec") or {}).get("volumeName") or "") or {}
        for label, value in ((volume.get("metadata") or {}).get("labels") or {}).items():
            if label in ZONE_KEYS:
                yield label, frozenset(value.split("__"))
