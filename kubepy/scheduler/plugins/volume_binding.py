"""VolumeBinding: pods go where their volumes are or can be, and claims that wait for their first consumer are bound to fit.

Bound claims limit the nodes by their volumes' node affinity. Delayed ones need, on each node, a matching free volume or a class that
provisions there. Once a node is chosen, the volumes are reserved, bound (claimRef) or asked for (the selected-node annotation), and
the pod is bound only when all of its claims are. Where a CSI driver keeps count of its storage (CSIStorageCapacity), a claim is only
provisioned where there is room for it."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from kubepy.api import scheduling
from kubepy.api.errors import ApiError, Conflict
from kubepy.api.resource import PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES
from kubepy.api.types import Object
from kubepy.scheduler.framework import Cycle, NotBound, Plugin, Reason, Refusal, Wake
from kubepy.scheduler.label import Mask
from kubepy.scheduler.plugins.node_affinity import matching
from kubepy.scheduler.snapshot import Node, Snapshot
from kubepy.scheduler.volume import SELECTED_NODE, Volumes, claim_keys, its_claim, topology_selector, volume_affinity

CONFLICT = "node(s) didn't match PersistentVolume's node affinity"
NOTHING = "node(s) didn't find available persistent volumes to bind"
SPACE = "node(s) did not have enough free storage"
GONE = "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)"
IMMEDIATE = "pod has unbound immediate PersistentVolumeClaims"
TIMEOUT = 600.0


@dataclass(slots=True)
class _Claims:
    """The pod's claims: those bound (with their volumes; None: it does not exist) and those to bind, largest last."""

    bound: list[tuple[Object, Object | None]] = field(default_factory=list)
    delayed: list[Object] = field(default_factory=list)


@dataclass(slots=True)
class _Choice:
    """For the chosen node: a volume for each claim, and the claims to provision for."""

    bindings: list[tuple[Object, Object]] = field(default_factory=list)
    provisions: list[Object] = field(default_factory=list)


class VolumeBinding(Plugin):
    name = "VolumeBinding"
    wakes = (Wake("PersistentVolumeClaim", frozenset({"add", "update"}), its_claim), Wake("PersistentVolume", frozenset({"add", "update"})),
             Wake("StorageClass", frozenset({"add", "update"})), Wake("Node", frozenset({"add", "label"})),
             Wake("CSIStorageCapacity", frozenset({"add", "update"})), Wake("CSIDriver", frozenset({"update"})))

    def __init__(self, args: Object | None = None) -> None:
        super().__init__(args)
        self._timeout = float(self.args.get("bindTimeoutSeconds") or TIMEOUT)

    # --- filter ---

    def pre_filter(self, cycle: Cycle) -> str | None:
        if not cycle.template.volumes:
            return None
        volumes, pod = cycle.snapshot.volumes, cycle.pod
        claims = _Claims()
        for key, ephemeral in claim_keys(pod.namespace, pod.name, cycle.template.volumes):
            claim, name = volumes.claims.get(key), key.partition("/")[2]
            if claim is None:
                if ephemeral:
                    return f'waiting for ephemeral volume controller to create the persistentvolumeclaim "{name}"'
                return f'persistentvolumeclaim "{name}" not found'
            if "deletionTimestamp" in claim["metadata"]:
                return f'persistentvolumeclaim "{name}" is being deleted'
            if (claim.get("status") or {}).get("phase") == "Lost":
                return f'persistentvolumeclaim "{name}" bound to non-existent persistentvolume "{claim["spec"].get("volumeName")}"'
            if volumes.bound(claim):
                claims.bound.append((claim, volumes.volumes.get(claim["spec"]["volumeName"])))
            elif volumes.delayed(claim) and not (claim.get("spec") or {}).get("volumeName"):
                claims.delayed.append(claim)
            else:
                return IMMEDIATE
        claims.delayed.sort(key=_size)
        cycle.state[self.name] = claims
        return None

    def concerns(self, cycle: Cycle) -> bool:
        return False

    def filter(self, cycle: Cycle) -> Sequence[Refusal]:
        claims: _Claims | None = cycle.state.get(self.name)
        if claims is None:
            return ()
        snapshot = cycle.snapshot
        every = np.ones(snapshot.capacity, np.bool_)
        here, exist = every.copy(), True
        for _, volume in claims.bound:
            if volume is None:
                exist = False
            elif (affinity := volume_affinity(volume)) is not None:
                here &= matching(snapshot, affinity)
        if not exist:
            return (Refusal(every, GONE, False),)
        refusals = [Refusal(~here, CONFLICT, False)] if not here.all() else []
        for mask, text in zip(self._unbindable(cycle, claims), (NOTHING, SPACE), strict=True):
            if mask.any():
                refusals.append(Refusal(mask, text, False))
        return refusals

    def _unbindable(self, cycle: Cycle, claims: _Claims) -> tuple[Mask, Mask]:
        """Nodes where some delayed claim neither finds a volume of its own nor can be provisioned, and those where only room is missing;
        on each node the first claim that fails counts."""
        snapshot = cycle.snapshot
        bad, full = np.zeros(snapshot.capacity, np.bool_), np.zeros(snapshot.capacity, np.bool_)
        taken: dict[str, Mask] = {}
        for claim in claims.delayed:
            missing = np.ones(snapshot.capacity, np.bool_)
            selected = (claim["metadata"].get("annotations") or {}).get(SELECTED_NODE)
            for volume in snapshot.volumes.available(claim) if not selected else ():
                name = volume["metadata"]["name"]
                affinity = volume_affinity(volume)
                usable = missing & (matching(snapshot, affinity) if affinity is not None else True)
                if name in taken:
                    usable &= ~taken[name]
                taken[name] = taken.get(name, np.zeros_like(usable)) | usable
                missing &= ~usable
                if not missing.any():
                    break
            found = snapshot.volumes.provisionable(claim)
            if found is not None:
                topology = topology_selector(found)
                there = matching(snapshot, topology) if topology is not None else np.ones_like(missing)
                if selected:
                    there = there & np.fromiter((name == selected for name in snapshot.names), np.bool_, snapshot.capacity)
                rooms = snapshot.volumes.room(claim, found)
                if rooms is not None:
                    tight = there & ~_roomy(snapshot, rooms)
                    full |= missing & tight & ~bad
                missing &= ~there
            bad |= missing & ~full
        return bad, full

    def filter_node(self, cycle: Cycle, node: Node) -> Sequence[Reason]:
        if (why := self.pre_filter(cycle)) is not None:
            return (Reason(why, False),)
        claims: _Claims | None = cycle.state.get(self.name)
        if claims is None:
            return ()
        if any(volume is None for _, volume in claims.bound):
            return (Reason(GONE, False),)
        reasons: list[Reason] = []
        for _, volume in claims.bound:
            affinity = volume_affinity(volume or {})
            if affinity is not None and not scheduling.matches_node_selector(affinity, node.labels, node.name):
                reasons = [Reason(CONFLICT, False)]
        choice = self._choose(cycle.snapshot.volumes, claims, node)
        if isinstance(choice, str):
            reasons.append(Reason(choice, False))
        return reasons

    def _choose(self, volumes: Volumes, claims: _Claims, node: Node) -> _Choice | str:
        choice = _Choice()
        taken: set[str] = set()
        for claim in claims.delayed:
            selected = (claim["metadata"].get("annotations") or {}).get(SELECTED_NODE)
            free = (volume for volume in volumes.available(claim) if volume["metadata"]["name"] not in taken
                    and _usable(volume_affinity(volume), node)) if not selected else iter(())
            if (volume := next(free, None)) is not None:
                taken.add(volume["metadata"]["name"])
                choice.bindings.append((claim, volume))
                continue
            found = volumes.provisionable(claim)
            if found is None or not _usable(topology_selector(found), node) or selected not in (None, node.name):
                return NOTHING
            rooms = volumes.room(claim, found)
            if rooms is not None and not any(scheduling.compile_selector(room)(node.labels) for room in rooms):
                return SPACE
            choice.provisions.append(claim)
        return choice

    # --- after the decision ---

    def reserve(self, cycle: Cycle, node: str) -> None:
        claims: _Claims | None = cycle.state.get(self.name)
        place = cycle.snapshot.nodes.get(node)
        if claims is None or place is None or not claims.delayed:
            return
        choice = self._choose(cycle.snapshot.volumes, claims, place)
        if isinstance(choice, str):
            raise NotBound("no volume is left for the pod's claims")
        for claim, volume in choice.bindings:
            cycle.snapshot.volumes.reserved[volume["metadata"]["name"]] = _key(claim)
        cycle.state[self.name + "/choice"] = choice

    def unreserve(self, cycle: Cycle, node: str) -> None:
        choice: _Choice | None = cycle.state.get(self.name + "/choice")
        for _, volume in choice.bindings if choice is not None else ():
            cycle.snapshot.volumes.reserved.pop(volume["metadata"]["name"], None)

    def waits(self, cycle: Cycle) -> bool:
        return self.name + "/choice" in cycle.state

    async def pre_bind(self, cycle: Cycle, node: str) -> None:
        choice: _Choice | None = cycle.state.get(self.name + "/choice")
        if choice is None:
            return
        assert self.handle is not None
        client, clock = self.handle.client, self.handle.clock
        try:
            for claim, volume in choice.bindings:
                await client.update(PERSISTENT_VOLUMES, _claimed(volume, claim))
            for claim in choice.provisions:
                metadata = claim["metadata"]
                await client.patch(PERSISTENT_VOLUME_CLAIMS, metadata["name"], {"metadata": {
                    "uid": metadata["uid"], "annotations": {SELECTED_NODE: node}}}, metadata["namespace"])
        except (ApiError, ConnectionError) as error:
            if not isinstance(error, Conflict):
                raise NotBound(f"binding volumes: {error}") from error
            raise NotBound(f"binding volumes: {error.message}") from error
        waiting = [claim for claim, _ in choice.bindings] + choice.provisions
        ends = clock.monotonic() + self._timeout
        volumes = cycle.snapshot.volumes
        while waiting:
            claim = waiting[-1]
            now = volumes.claims.get(_key(claim))
            if now is None or now["metadata"].get("uid") != claim["metadata"].get("uid"):
                raise NotBound(f'binding volumes: persistentvolumeclaim "{claim["metadata"]["name"]}" not found')
            if volumes.bound(now):
                waiting.pop()
                continue
            if claim in choice.provisions and _refused(claim, now, node):
                raise NotBound(f'binding volumes: provisioning failed for PVC "{claim["metadata"]["name"]}"')
            if clock.monotonic() > ends:
                raise NotBound("binding volumes: context deadline exceeded")
            await clock.sleep(0.1)
        self.unreserve(cycle, node)


def _roomy(snapshot: Snapshot, rooms: Sequence[Object]) -> Mask:
    """The nodes that any of these label selectors accepts."""
    found = np.zeros(snapshot.capacity, np.bool_)
    for room in rooms:
        expressions = [*({"key": key, "operator": "In", "values": [value]} for key, value in (room.get("matchLabels") or {}).items()),
                       *(room.get("matchExpressions") or ())]
        if not expressions:
            return snapshot.exists
        found |= matching(snapshot, {"nodeSelectorTerms": [{"matchExpressions": expressions}]})
    return found


def _refused(before: Object, now: Object, node: str) -> bool:
    """The provisioner has taken the annotation away again: it cannot provision on that node."""
    annotation = (now["metadata"].get("annotations") or {}).get(SELECTED_NODE)
    changed = now["metadata"].get("resourceVersion") != before["metadata"].get("resourceVersion")
    return changed and annotation != node


def _usable(selector: Object | None, node: Node) -> bool:
    return selector is None or scheduling.matches_node_selector(selector, node.labels, node.name)


def _claimed(volume: Object, claim: Object) -> Object:
    metadata = claim["metadata"]
    reference = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": metadata["namespace"], "name": metadata["name"],
                 "uid": metadata.get("uid", ""), "resourceVersion": metadata.get("resourceVersion", "")}
    annotations = {**(volume["metadata"].get("annotations") or {}), "pv.kubernetes.io/bound-by-controller": "yes"}
    return {**volume, "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {**volume["metadata"], "annotations": annotations},
            "spec": {**volume["spec"], "claimRef": reference}}


def _key(claim: Object) -> str:
    return f"{claim['metadata']['namespace']}/{claim['metadata']['name']}"


def _size(claim: Object) -> int:
    requests = ((claim.get("spec") or {}).get("resources") or {}).get("requests") or {}
    return scheduling.amount("storage", requests.get("storage", "0"))
