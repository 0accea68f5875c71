"""DynamicResources: pods that claim devices go where the devices are. Structured parameters of resource.k8s.io: the scheduler chooses
devices itself, from what drivers publish in ResourceSlices (see `scheduler.device`).

Claims that are allocated already restrict the pod to their nodes. The others are allocated on each node in question; verdicts are kept
by claim spec and node until something that the node can see changes. The chosen node's devices are set aside at once (Reserve) and
written to the claims, with the pod as their consumer, before the pod is bound (PreBind; see `claims`). A claim that keeps its pod from
being placed and that nobody uses is given back (PostFilter).
Extended resources that a DeviceClass stands for become a claim that is made when the pod's node is chosen (see `device.extended`).
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import orjson

from kubepy.api import scheduling
from kubepy.api.errors import ApiError
from kubepy.api.types import Object
from kubepy.scheduler.device import claims as writing
from kubepy.scheduler.device import extended
from kubepy.scheduler.device.allocator import Allocation, TooLong, Wanted, allocate, prepare
from kubepy.scheduler.device.pool import AllocationError
from kubepy.scheduler.device.state import Devices
from kubepy.scheduler.framework import (
    Cycle,
    Event,
    Handle,
    NotBound,
    Plugin,
    Reason,
    Refusal,
    Rejected,
    Rescue,
    Scores,
    Unfit,
    Wake,
    normalised,
)
from kubepy.scheduler.label import Mask
from kubepy.scheduler.plugins.node_affinity import matching
from kubepy.scheduler.pod import Pod
from kubepy.scheduler.snapshot import Node

CANNOT = "cannot allocate all claims"
ELSEWHERE = "resourceclaim not available on the node"
IN_USE = "resourceclaim in use"
MOST_ALTERNATIVES = 8
VERDICTS_KEPT = 64


@dataclass(slots=True)
class _Claims:
    """The pod's claims: keys with objects of those allocated already, and of those that are not, made ready."""

    allocated: list[tuple[str, Object]] = field(default_factory=list)
    pending: list[tuple[str, Object]] = field(default_factory=list)
    wanted: list[Wanted] = field(default_factory=list)
    signature: bytes = b""
    chosen: Allocation | None = None
    bound: list[Object] = field(default_factory=list)
    """As they were written for the pod."""
    extended: frozenset[str] = frozenset()
    """Extended resources that classes stand for."""
    extras: dict[frozenset[str], tuple[Object, list[Object], Wanted]] = field(default_factory=dict)
    """What a node that lacks some of them needs besides: the claim, which request is for which container, the claim made ready."""
    extra: tuple[Object, list[Object], Object] | None = None
    """(claim, mappings, allocation) of the chosen node."""
    made: Object | None = None
    """The claim, once it was created."""


class DynamicResources(Plugin):
    name = "DynamicResources"

    def __init__(self, args: Object | None = None) -> None:
        super().__init__(args)
        self.wakes = (
            Wake("ResourceClaim", frozenset({"add", "update", "delete"}), _claim_matters),
            Wake("ResourceSlice", frozenset({"add", "update"})), Wake("DeviceClass", frozenset({"add", "update"})),
            Wake("DeviceTaintRule", frozenset({"update", "delete"})),
            Wake("Node", frozenset({"add", "label", "taint"})), Wake("Pod", frozenset({"claims"})))
        self._verdicts: dict[bytes, dict[str, tuple[tuple[int, int, int], tuple[int, ...] | str | None]]] = {}
        """Specs of claims -> node -> (epoch, ranks of the alternatives taken; a text says why not, None: not possible)."""
        self._binding_seconds = float(self.args.get("bindingTimeoutSeconds") or 600)

    def _devices(self) -> Devices | None:
        return self.handle.snapshot.devices if self.handle is not None else None

    # --- the queue ---

    def pre_enqueue(self, pod: Pod) -> str | None:
        devices = self._devices()
        if not pod.template.resource_claims or devices is None or not devices.enabled:
            return None
        found = claims_of(pod, devices)
        return found if isinstance(found, str) else None

    # --- filter ---

    def pre_filter(self, cycle: Cycle) -> str | None:
        pod, devices = cycle.pod, cycle.snapshot.devices
        offered = devices.delegated(pod.requests) if devices.enabled else frozenset()
        if not pod.template.resource_claims and not offered:
            return None
        state = cycle.state[self.name] = _Claims(extended=offered)
        if not devices.enabled:
            return "the server has no ResourceClaims"
        found = claims_of(pod, devices)
        if isinstance(found, str):
            return found
        if offered and (before := _made_before(pod, devices)) is not None:
            found.append(before)
            state.extended = frozenset()
        for key, claim in found:
            status = claim.get("status") or {}
            if status.get("allocation") is not None:
                if not writing.reserved_for(claim, pod) and len(status.get("reservedFor") or ()) >= writing.MAX_RESERVED:
                    return IN_USE
                state.allocated.append((key, claim))
                continue
            if claim["metadata"]["uid"] in devices.in_flight:
                return f"resource claim {key} is in the process of being allocated"
            wanted = prepare(claim, devices.classes)
            if isinstance(wanted, str):
                return wanted
            state.pending.append((key, claim))
            state.wanted.append(wanted)
        state.signature = orjson.dumps([claim.get("spec") for _, claim in state.pending], option=orjson.OPT_SORT_KEYS)
        return None

    def concerns(self, cycle: Cycle) -> bool:
        return False

    def filter(self, cycle: Cycle) -> Sequence[Refusal]:
        state: _Claims | None = cycle.state.get(self.name)
        if state is None:
            return ()
        snapshot = cycle.snapshot
        here = np.ones(snapshot.capacity, np.bool_)
        for _, claim in state.allocated:
            where = claim["status"]["allocation"].get("nodeSelector")
            if where is not None:
                here &= matching(snapshot, where)
        refusals = [Refusal(~here, ELSEWHERE, False)] if not here.all() else []
        if not state.wanted and not state.extended:
            return refusals
        asked = here & (snapshot.exists if cycle.alive is None else cycle.alive)
        failed: dict[str, Mask] = {}
        for slot in np.flatnonzero(asked):
            node = snapshot.slots[int(slot)]
            if node is not None and not isinstance(verdict := self._verdict(state, cycle, node), tuple):
                failed.setdefault(verdict or CANNOT, np.zeros(snapshot.capacity, np.bool_))[slot] = True
        return [*refusals, *(Refusal(mask, text, False) for text, mask in failed.items())]

    def _needs(self, state: _Claims, cycle: Cycle, node: Node) -> list[Wanted]:
        """The claims that have to be allocated on a node, the one for extended resources it does not offer last."""
        extra = self._extra(state, cycle, node)
        return [*state.wanted, extra[2]] if extra is not None else state.wanted

    def _extra(self, state: _Claims, cycle: Cycle, node: Node) -> tuple[Object, list[Object], Wanted] | None:
        lacking = frozenset(resource for resource in state.extended if not node.allocatable.get(resource))
        if not lacking:
            return None
        found = state.extras.get(lacking)
        if found is None:
            claim, mappings = extended.claim_for(cycle.pod, lacking, cycle.snapshot.devices)
            wanted = prepare(claim, cycle.snapshot.devices.classes)
            assert not isinstance(wanted, str)
            found = state.extras[lacking] = (claim, mappings, wanted)
        return found

    def _verdict(self, state: _Claims, cycle: Cycle, node: Node) -> tuple[int, ...] | str | None:
        snapshot, signature = cycle.snapshot, state.signature
        if (extra := self._extra(state, cycle, node)) is not None:
            signature += orjson.dumps(extra[0]["spec"], option=orjson.OPT_SORT_KEYS)
        known = self._verdicts.get(signature)
        if known is None:
            if len(self._verdicts) >= VERDICTS_KEPT:
                self._verdicts.pop(next(iter(self._verdicts)))
            known = self._verdicts[signature] = {}
        epoch = (*snapshot.devices.epoch(node.name), snapshot.version)  # labels matter where slices select nodes by them
        found = known.get(node.name)
        if found is not None and found[0] == epoch:
            return found[1]
        verdict = self._judge(state, cycle, node)
        known[node.name] = (epoch, verdict)
        return verdict

    def _judge(self, state: _Claims, cycle: Cycle, node: Node) -> tuple[int, ...] | str | None:
        needs = self._needs(state, cycle, node)
        if not needs:
            return ()
        try:
            found = allocate(needs, node, cycle.snapshot.devices)
        except TooLong as error:
            return str(error)
        except AllocationError as error:
            raise NotBound(f'running "{self.name}" filter plugin: {error}') from error
        return tuple(found.ranks) if found is not None else None

    def filter_node(self, cycle: Cycle, node: Node) -> Sequence[Reason]:
        if (why := self.pre_filter(cycle)) is not None:
            return (Reason(why, False),)
        state: _Claims | None = cycle.state.get(self.name)
        if state is None:
            return ()
        for _, claim in state.allocated:
            where = claim["status"]["allocation"].get("nodeSelector")
            if where is not None and not scheduling.matches_node_selector(where, node.labels, node.name):
                return (Reason(ELSEWHERE, False),)
        verdict = self._judge(state, cycle, node)
        return () if isinstance(verdict, tuple) else (Reason(verdict or CANNOT, False),)

    async def post_filter(self, cycle: Cycle, unfit: Unfit) -> Rescue | None:
        """Gives one allocated claim back that nobody else uses: elsewhere there may be devices for it."""
        if not cycle.pod.template.resource_claims:
            if unfit.pre_filter:  # no state was made for it: upstream ends there
                return Rescue("not found", final=True)
            return Rescue("no new claims to deallocate")
        state: _Claims | None = cycle.state.get(self.name)
        if state is None or self.handle is None:
            return Rescue("not found", final=True)
        devices = cycle.snapshot.devices
        for key, claim in state.allocated:
            where = claim["status"]["allocation"].get("nodeSelector")
            if where is None or (matching(cycle.snapshot, where) & cycle.snapshot.exists).all():
                continue
            users = claim["status"].get("reservedFor") or ()
            if not users or (len(users) == 1 and writing.reserved_for(claim, cycle.pod)):
                try:
                    devices.assume(key, await writing.deallocate(self.handle.client, devices.version, claim))
                except (ApiError, ConnectionError) as error:
                    return Rescue(f"deallocating claim: {error}", final=True)
                return Rescue("deallocation of ResourceClaim completed")
        return Rescue("still not schedulable")

    # --- score ---

    def score(self, cycle: Cycle, feasible: Mask) -> Scores | None:
        """Nodes where higher ranking alternatives are to be had."""
        state: _Claims | None = cycle.state.get(self.name)
        if state is None or not _has_choice(state):
            return None
        scores = np.zeros(cycle.snapshot.capacity)
        for slot in np.flatnonzero(feasible):
            node = cycle.snapshot.slots[int(slot)]
            scores[slot] = _rank_score(self._verdict(state, cycle, node), state) if node is not None else 0
        return normalised(scores, feasible)

    def score_node(self, cycle: Cycle, node: Node, feasible: Sequence[Node]) -> float | None:
        if self.pre_filter(cycle) is not None:
            return None
        state: _Claims | None = cycle.state.get(self.name)
        if state is None or not _has_choice(state):
            return None
        raw = {other.name: _rank_score(self._judge(state, cycle, other), state) for other in feasible}
        top = max(raw.values())
        return raw[node.name] * 100 // top if top else 0

    # --- after the decision ---

    def reserve(self, cycle: Cycle, node: str) -> None:
        state: _Claims | None = cycle.state.get(self.name)
        place = cycle.snapshot.nodes.get(node)
        if state is None or not (state.wanted or state.extended):
            return
        needs = self._needs(state, cycle, place) if place is not None else state.wanted
        if place is not None and not needs:
            return
        try:
            state.chosen = allocate(needs, place, cycle.snapshot.devices) if place is not None else None
        except AllocationError as error:
            raise NotBound(str(error)) from error
        if state.chosen is None:
            raise Rejected(CANNOT)
        for (_, claim), allocation in zip(state.pending, state.chosen.results, strict=False):
            cycle.snapshot.devices.start(claim, allocation)
        if place is not None and (extra := self._extra(state, cycle, place)) is not None:
            state.extra = (extra[0], extra[1], state.chosen.results[-1])
            cycle.snapshot.devices.start(extra[0], state.chosen.results[-1])

    def unreserve(self, cycle: Cycle, node: str) -> None:
        state: _Claims | None = cycle.state.get(self.name)
        if state is None or self.handle is None:
            return
        devices = cycle.snapshot.devices
        for key, claim in state.pending if state.chosen is not None else ():
            devices.stop(key, claim["metadata"]["uid"])
        if state.extra is not None:
            devices.stop("", state.extra[0]["metadata"]["uid"])
            state.extra = None
        if state.made is not None:
            self.handle.tasks.start(extended.unmake(self.handle.client, devices.version, state.made), "claims")
            state.made = None
        for claim in state.bound:
            self.handle.tasks.start(writing.give_back(self.handle.client, devices, claim, cycle.pod), "claims")
        state.bound = []

    def waits(self, cycle: Cycle) -> bool:
        return self.name in cycle.state

    async def pre_bind(self, cycle: Cycle, node: str) -> None:
        state: _Claims | None = cycle.state.get(self.name)
        if state is None or self.handle is None:
            return
        devices = cycle.snapshot.devices
        for key, claim in state.allocated:
            if not writing.reserved_for(claim, cycle.pod):
                written = await writing.reserve(self.handle.client, devices.version, claim, cycle.pod, None, self.handle.clock)
                devices.assume(key, written)
                state.bound.append(written)
        for (key, claim), allocation in zip(state.pending, state.chosen.results if state.chosen is not None else (), strict=False):
            written = await writing.reserve(self.handle.client, devices.version, claim, cycle.pod, allocation, self.handle.clock)
            devices.assume(key, written)
            devices.stop(key, claim["metadata"]["uid"])
            state.bound.append(written)
        keys = [key for key, _ in (*state.allocated, *state.pending)]
        if state.extra is not None:
            keys.append(await self._make(self.handle, cycle, state, *state.extra))
        for key in keys:
            await writing.wait_ready(self.handle.client, devices, key, self.handle.clock, self._binding_seconds)

    async def _make(self, handle: Handle, cycle: Cycle, state: _Claims, claim: Object, mappings: list[Object], allocation: Object) -> str:
        """Makes the claim for the pod's extended resources, with the devices chosen for it; its key."""
        devices = cycle.snapshot.devices
        state.made = made = await extended.make(handle.client, devices.version, claim)
        key = f"{cycle.pod.namespace}/{made['metadata']['name']}"
        state.made = written = await writing.reserve(handle.client, devices.version, made, cycle.pod, allocation, handle.clock)
        devices.assume(key, written)
        devices.stop("", claim["metadata"]["uid"])
        await extended.note(handle.client, cycle.pod, made["metadata"]["name"], mappings)
        return key


def _made_before(pod: Pod, devices: Devices) -> tuple[str, Object] | None:
    """The claim that was made for the pod's extended resources when it was to be bound before."""
    name = (((pod.raw or {}).get("status") or {}).get("extendedResourceClaimStatus") or {}).get("resourceClaimName")
    found = devices.claim(f"{pod.namespace}/{name}") if name else None
    return (f"{pod.namespace}/{name}", found) if found is not None and found["metadata"].get("deletionTimestamp") is None else None


def claims_of(pod: Pod, devices: Devices) -> list[tuple[str, Object]] | str:
    """The pod's claims by key, or why they are not all there."""
    statuses = {entry["name"]: entry for entry in ((pod.raw or {}).get("status") or {}).get("resourceClaimStatuses") or ()}
    found: list[tuple[str, Object]] = []
    for entry in pod.template.resource_claims:
        name = entry.get("resourceClaimName")
        if not name:
            made = statuses.get(entry["name"])
            if made is None:
                return f'pod "{pod.key}": ResourceClaim not created yet'
            name = made.get("resourceClaimName")
            if not name:
                continue  # made without one: nothing to wait for
        claim = devices.claim(f"{pod.namespace}/{name}")
        if claim is None:
            return f'resourceclaim.resource.k8s.io "{name}" not found'
        if claim["metadata"].get("deletionTimestamp") is not None:
            return f'resourceclaim "{name}" is being deleted'
        owner = next((o for o in claim["metadata"].get("ownerReferences") or () if o.get("controller")), None)
        if not entry.get("resourceClaimName") and (owner is None or owner.get("uid") != pod.uid):
            return f"ResourceClaim {pod.namespace}/{name} was not created for pod {pod.key} (pod is not owner)"
        found.append((f"{pod.namespace}/{name}", claim))
    return found


def _has_choice(state: _Claims) -> bool:
    return any(len(request) > 1 for wanted in state.wanted for request in wanted.requests)


def _rank_score(verdict: tuple[int, ...] | str | None, state: _Claims) -> int:
    if not isinstance(verdict, tuple):
        return 0
    choices = [len(request) > 1 for wanted in state.wanted for request in wanted.requests]
    return sum(MOST_ALTERNATIVES - rank for rank, choice in zip(verdict, choices, strict=False) if choice)


def _claim_matters(pod: Pod, event: Event) -> bool:
    """One of the pod's own claims changed, or a claim gave its devices back."""
    new, old = event.new, event.old
    subject = new or old
    if subject is not None and subject["metadata"].get("namespace") == pod.namespace:
        names = {entry.get("resourceClaimName") for entry in pod.template.resource_claims}
        names |= {entry.get("resourceClaimName") for entry in ((pod.raw or {}).get("status") or {}).get("resourceClaimStatuses") or ()}
        if subject["metadata"]["name"] in names:
            return True
    had = old is not None and (old.get("status") or {}).get("allocation") is not None
    return had and (new is None or (new.get("status") or {}).get("allocation") is None)
