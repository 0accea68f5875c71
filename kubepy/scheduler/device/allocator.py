"""Chooses devices on one node for the claims of a pod (`k8s.io/dynamic-resource-allocation/structured`): pure, depth first.

Requests are served in the order in which they stand, devices in the order in which drivers list them, alternatives (`firstAvailable`) in
the order of the user's preference; the first choice that satisfies every request and constraint of every claim is taken. Whoever needs
more than `STEPS` trials gets `TooLong`, as upstream has a timeout.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from kubepy.api.types import Object
from kubepy.scheduler.device import result
from kubepy.scheduler.device.capacity import consumption
from kubepy.scheduler.device.constraint import Constraint, make_constraints
from kubepy.scheduler.device.pool import AllocationError, Device, DeviceId, Node, Pool, quantity
from kubepy.scheduler.device.state import Consumed, Devices

STEPS = 100_000
MAX_RESULTS = 32
"""Devices a claim can be given."""


class TooLong(AllocationError):
    """The search was given up."""


@dataclass(slots=True)
class Alternative:
    """One way to serve a request: `path` is its name, with the subrequest's behind a slash."""

    path: str
    selectors: tuple[str, ...]
    count: int | None
    """None: all that match."""
    admin: bool
    tolerations: tuple[Object, ...]
    capacity: Mapping[str, int]
    configs: Sequence[Object]
    """The class's."""


@dataclass(slots=True)
class Wanted:
    """A claim made ready: for each request its alternatives, best first."""

    claim: Object
    requests: list[list[Alternative]]
    constraints: Sequence[Object]


@dataclass(slots=True)
class Chosen:
    """A device for a request of a claim."""

    claim: int
    alternative: Alternative
    device: Device
    consumed: Consumed | None


@dataclass(slots=True)
class Allocation:
    """`results`: one allocation per claim, in their order. `rank`: how far down the lists of alternatives it had to go."""

    results: list[Object]
    ranks: list[int]


def prepare(claim: Object, classes: Mapping[str, Object]) -> Wanted | str:
    """Looks up classes and expressions; a text says what is missing."""
    spec = (claim.get("spec") or {}).get("devices") or {}
    requests: list[list[Alternative]] = []
    for request in spec.get("requests") or ():
        found: list[Alternative] = []
        single = request.get("exactly")
        entries = [(request["name"], single)] if single else [
            (f"{request['name']}/{sub['name']}", sub) for sub in request.get("firstAvailable") or ()]
        for path, entry in entries:
            known = classes.get(entry.get("deviceClassName") or "")
            if known is None:
                return f"request {path}: device class {entry.get('deviceClassName')} does not exist"
            class_spec = known.get("spec") or {}
            expressions = tuple(s["cel"]["expression"] for s in (*(class_spec.get("selectors") or ()), *(entry.get("selectors") or ()))
                                if s.get("cel"))
            everything = entry.get("allocationMode") == "All"
            found.append(Alternative(
                path, expressions, None if everything else int(entry.get("count") or 1), bool(entry.get("adminAccess")),
                tuple(entry.get("tolerations") or ()),
                {name: quantity(value) for name, value in ((entry.get("capacity") or {}).get("requests") or {}).items()},
                tuple(class_spec.get("config") or ())))
        requests.append(found)
    return Wanted(claim, requests, tuple(spec.get("constraints") or ()))


@dataclass(slots=True)
class _Search:
    node: Node
    devices: Devices
    claims: Sequence[Wanted]
    pools: list[Pool] = field(default_factory=list)
    visible: dict[tuple[str, str], list[Device]] = field(default_factory=dict)
    constraints: list[list[Constraint]] = field(default_factory=list)
    chosen: list[Chosen] = field(default_factory=list)
    taken: dict[DeviceId, list[Consumed]] = field(default_factory=dict)
    """What this search has taken so far."""
    ranks: list[int] = field(default_factory=list)
    steps: int = 0

    def run(self) -> Allocation | None:
        self.pools = self.devices.pools_for(self.node.name)
        self.visible = {(pool.driver, pool.name): pool.devices_on(self.node) for pool in self.pools}
        self.constraints = [make_constraints(wanted.constraints) for wanted in self.claims]
        places = [(claim, request) for claim, wanted in enumerate(self.claims) for request in range(len(wanted.requests))]
        if not self._request(places, 0):
            return None
        results = [result.allocation(wanted.claim, [one for one in self.chosen if one.claim == index], self.node.name)
                   for index, wanted in enumerate(self.claims)]
        return Allocation(results, list(self.ranks))

    def _request(self, places: Sequence[tuple[int, int]], index: int) -> bool:
        """Serves the requests from `index` on."""
        if index == len(places):
            return True
        claim, request = places[index]
        for rank, alternative in enumerate(self.claims[claim].requests[request]):
            if sum(one.claim == claim for one in self.chosen) + (alternative.count or 1) > MAX_RESULTS:
                continue
            self.ranks.append(rank)
            if alternative.count is None:
                if self._all(places, index, claim, alternative):
                    return True
            elif self._some(places, index, claim, alternative, alternative.count, None):
                return True
            self.ranks.pop()
        return False

    def _all(self, places: Sequence[tuple[int, int]], index: int, claim: int, alternative: Alternative) -> bool:
        """Every device that matches, or none."""
        wanted: list[Device] = []
        for pool in self.pools:
            if not pool.complete:
                raise AllocationError(f"request {alternative.path}: asks for all devices, but resource pool {pool.driver}/{pool.name} is "
                                      "currently being updated")
            self._valid(pool)
            wanted += [device for device in self.visible[pool.driver, pool.name] if self._matches(device, alternative)]
        if not wanted:
            return False
        done = 0
        for device in wanted:
            if not self._take(claim, alternative, device):
                break
            done += 1
        if done == len(wanted) and len(wanted) <= MAX_RESULTS and self._request(places, index + 1):
            return True
        for _ in range(done):
            self._give_back()
        return False

    def _some(self, places: Sequence[tuple[int, int]], index: int, claim: int, alternative: Alternative, left: int,
              last: Device | None) -> bool:
        """`left` more devices; each comes after the one before it, as their order does not matter."""
        if not left:
            return self._request(places, index + 1)
        started = last is None
        for pool in self.pools:
            if not pool.complete:
                continue
            self._valid(pool)
            for device in self.visible[pool.driver, pool.name]:
                if not started:
                    started = device is last
                    if not started or not device.shared:
                        continue
                if not self._matches(device, alternative) or not self._take(claim, alternative, device):
                    continue
                if self._some(places, index, claim, alternative, left - 1, device):
                    return True
                self._give_back()
        return False

    def _valid(self, pool: Pool) -> None:
        if pool.invalid:
            raise AllocationError(f"pool {pool.driver}/{pool.name} is invalid: {pool.invalid}")

    def _matches(self, device: Device, alternative: Alternative) -> bool:
        self.steps += 1
        if self.steps > STEPS:
            raise TooLong("timed out trying to allocate devices")
        try:
            return all(device.selected(expression) for expression in alternative.selectors)
        except AllocationError as error:
            metadata = self.claims[0].claim["metadata"]
            raise AllocationError(f"claim {metadata.get('namespace')}/{metadata['name']}: {error}") from error

    def _take(self, claim: int, alternative: Alternative, device: Device) -> bool:
        """Takes a device if it is free, tolerable, large enough and keeps to the constraints."""
        consumed: Consumed | None = None
        if device.untolerated(alternative.tolerations):
            return False
        held = self.devices.users.get(device.id, {})
        before = [share for shares in held.values() for share in shares] + self.taken.get(device.id, [])
        try:
            needed = consumption(device.spec, alternative.capacity)
        except ValueError:
            return False
        if not alternative.admin:
            if device.shared:
                consumed = needed
                if any(amount + sum(share.get(name, 0) for share in before) > quantity(device.spec["capacity"][name].get("value"))
                       for name, amount in needed.items()):
                    return False
            elif before:
                return False
            if not before and not self._counters(device):
                return False
        elif any(one.claim == claim and one.device is device for one in self.chosen):
            return False
        constraints = [c for c in self.constraints[claim] if c.concerns(alternative.path)]
        for position, constraint in enumerate(constraints):
            if not constraint.add(device):
                for done in constraints[:position]:
                    done.remove(device)
                return False
        self.chosen.append(Chosen(claim, alternative, device, consumed))
        if not alternative.admin:
            self.taken.setdefault(device.id, []).append(consumed or {})
        return True

    def _give_back(self) -> None:
        one = self.chosen.pop()
        for constraint in self.constraints[one.claim]:
            if constraint.concerns(one.alternative.path):
                constraint.remove(one.device)
        if not one.alternative.admin:
            self.taken[one.device.id].pop()
            if not self.taken[one.device.id]:
                del self.taken[one.device.id]

    def _counters(self, device: Device) -> bool:
        """Whether the pool's shared counters allow the device beside those in use."""
        wanted = device.spec.get("consumesCounters")
        if not wanted:
            return True
        pool = next(pool for pool in self.pools if (pool.driver, pool.name) == device.id[:2])
        left = {name: dict(counters) for name, counters in pool.counters.items()}
        for _, devices in pool.slices:
            for other in devices:
                if other is device or other.id in self.devices.users or other.id in self.taken:
                    for entry in other.spec.get("consumesCounters") or ():
                        for name, counter in (entry.get("counters") or {}).items():
                            found = left.get(entry["counterSet"], {})
                            found[name] = found.get(name, 0) - quantity(counter.get("value"))
                            left[entry["counterSet"]] = found
        return all(left.get(entry["counterSet"], {}).get(name, -1) >= 0 for entry in wanted for name in entry.get("counters") or ())


def allocate(claims: Sequence[Wanted], node: Node, devices: Devices) -> Allocation | None:
    """Devices for every request of every claim on the node, or None; raises AllocationError."""
    return _Search(node, devices, claims).run()
