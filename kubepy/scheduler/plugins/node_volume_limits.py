"""NodeVolumeLimits: a CSI driver can attach only so many volumes to a node (CSINode `allocatable.count`); volumes that several pods share
count once, and a volume that is on the node already costs nothing."""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kubepy.scheduler.framework import Cycle, Plugin, Reason, Refusal, Wake
from kubepy.scheduler.pod import Pod
from kubepy.scheduler.snapshot import Node, Snapshot
from kubepy.scheduler.volume import claim_keys, its_claim

REASON = "node(s) exceed max volume count"


class NodeVolumeLimits(Plugin):
    name = "NodeVolumeLimits"
    wakes = (Wake("CSINode", frozenset({"add", "update"})), Wake("AssignedPod", frozenset({"delete"})),
             Wake("PersistentVolumeClaim", frozenset({"add", "update"}), its_claim), Wake("Node", frozenset({"add"})))

    def concerns(self, cycle: Cycle) -> bool:
        return bool(cycle.template.volumes)

    def filter(self, cycle: Cycle) -> Sequence[Refusal]:
        limits = cycle.snapshot.volumes.limits
        if not limits or not cycle.template.volumes:
            return ()
        wanted = _attached(cycle.snapshot, cycle.pod)
        if not wanted:
            return ()
        refused = np.zeros(cycle.snapshot.capacity, np.bool_)
        for name in limits:
            node = cycle.snapshot.nodes.get(name)
            if node is not None and _exceeds(cycle.snapshot, node, wanted):
                refused[node.slot] = True
        return (Refusal(refused, REASON),)

    def filter_node(self, cycle: Cycle, node: Node) -> Sequence[Reason]:
        wanted = _attached(cycle.snapshot, cycle.pod)
        return (Reason(REASON),) if wanted and _exceeds(cycle.snapshot, node, wanted) else ()


def _exceeds(snapshot: Snapshot, node: Node, wanted: set[tuple[str, str]]) -> bool:
    limits = snapshot.volumes.limits.get(node.name, {})
    if not any(driver in limits for driver, _ in wanted):
        return False
    held: set[tuple[str, str]] = set()
    for pod in node.pods.values():
        if pod.template.volumes:
            held |= _attached(snapshot, pod)
    fresh = wanted - held
    for driver, limit in limits.items():
        more = sum(1 for other, _ in fresh if other == driver)
        if more and more + sum(1 for other, _ in held if other == driver) > limit:
            return True
    return False


def _attached(snapshot: Snapshot, pod: Pod) -> set[tuple[str, str]]:
    """(driver, volume) of the pod's CSI volumes; one that is not bound yet is known by its claim."""
    volumes = snapshot.volumes
    found: set[tuple[str, str]] = set()
    for key, _ in claim_keys(pod.namespace, pod.name, pod.template.volumes):
        claim = volumes.claims.get(key)
        if claim is None:
            continue
        bound = (claim.get("spec") or {}).get("volumeName")
        if bound and (volume := volumes.volumes.get(bound)) is not None:
            if csi := (volume.get("spec") or {}).get("csi"):
                found.add((csi.get("driver") or "", csi.get("volumeHandle") or bound))
        elif (made := volumes.provisionable(claim)) is not None:
            found.add((made.get("provisioner") or "", key))
    return found
