"""What the scheduler knows of devices: slices, classes, claims, and which devices are taken: by claims that the API shows as allocated and
by those whose allocation is on its way (`in_flight`).

`epoch` tells when what a node could get may have changed, so that verdicts about nodes can be kept: it rises for one node when a
device that only that node has is taken or freed, and for all when others are.
"""
from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from kubepy.api.scheduling import device_rule_matches
from kubepy.api.types import Object
from kubepy.scheduler.device.pool import Device, DeviceId, Pool, make_pool, quantity

IMPLICIT = "deviceclass.resource.kubernetes.io/"
"""With a class's name behind it, an extended resource that the class stands for."""
Consumed = dict[str, int]
"""Capacity -> amount that a share of a device takes."""


@dataclass(slots=True)
class Devices:
    """`claims` by `namespace/name`; `enabled` is False where the server has no such API."""

    enabled: bool = False
    version: str = "v1"
    claims: dict[str, Object] = field(default_factory=dict)
    classes: dict[str, Object] = field(default_factory=dict)
    extended: dict[str, str] = field(default_factory=dict)
    """Extended resource -> the class that stands for it; of several the newest."""
    in_flight: dict[str, Object] = field(default_factory=dict)
    """Claim UID -> the allocation that is being written."""
    users: dict[DeviceId, dict[str, list[Consumed]]] = field(default_factory=dict)
    """Device -> UIDs of the claims that hold it, with what each share of theirs consumes; administrative access holds nothing."""
    ruled: bool = False
    """Whether DeviceTaintRules are looked at (DRADeviceTaintRules)."""
    _rules: dict[str, Object] = field(default_factory=dict)
    _slices: dict[str, Object] = field(default_factory=dict)
    _parts: dict[tuple[str, str], dict[str, tuple[Object, list[Device]]]] = field(default_factory=dict)
    """(driver, pool) -> slice -> its spec and devices."""
    _pools: dict[tuple[str, str], Pool] = field(default_factory=dict)
    _own: dict[str, dict[tuple[str, str], None]] = field(default_factory=dict)
    """Node -> the pools that have slices for it alone."""
    _common: dict[tuple[str, str], None] = field(default_factory=dict)
    _assumed: dict[str, Object] = field(default_factory=dict)
    _held: dict[str, list[tuple[DeviceId, Consumed]]] = field(default_factory=dict)
    _homes: dict[DeviceId, str] = field(default_factory=dict)
    _epochs: dict[str, int] = field(default_factory=dict)
    _everywhere: int = 0
    _count: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    # --- questions ---

    def pools_for(self, node: str) -> list[Pool]:
        """The pools of which something may be on a node, its own first."""
        own = self._own.get(node, {})
        return [self._pools[key] for key in (*own, *(key for key in self._common if key not in own))]

    def epoch(self, node: str) -> tuple[int, int]:
        return self._epochs.get(node, 0), self._everywhere

    def class_of(self, resource: str) -> str | None:
        """The class that stands for an extended resource."""
        if resource.startswith(IMPLICIT):
            return name if (name := resource.removeprefix(IMPLICIT)) in self.classes else None
        return self.extended.get(resource)

    def delegated(self, requests: Mapping[str, int]) -> frozenset[str]:
        """The resources of a pod for which some class stands: on nodes that do not offer them it needs devices."""
        if not self.classes:
            return frozenset()
        return frozenset(r for r, value in requests.items() if value and "/" in r and self.class_of(r) is not None)

    def claim(self, key: str) -> Object | None:
        """A claim as last written or seen, whichever is newer."""
        return self._assumed.get(key) or self.claims.get(key)

    # --- changes ---

    def set_claim(self, key: str, obj: Object) -> None:
        self.claims[key] = obj
        assumed = self._assumed.get(key)
        if assumed is not None and (_version(obj) >= _version(assumed) or obj["metadata"]["uid"] != assumed["metadata"]["uid"]):
            del self._assumed[key]
        self._recount(key)

    def remove_claim(self, key: str) -> None:
        old = self.claims.pop(key, None)
        self._assumed.pop(key, None)
        if old is not None:
            uid = old["metadata"]["uid"]
            self.in_flight.pop(uid, None)
            self._hold(uid, None)

    def assume(self, key: str, obj: Object) -> None:
        """A claim as the API has just answered a write: counts until the informer shows that or something newer."""
        known = self.claims.get(key)
        if known is None or _version(known) < _version(obj):
            self._assumed[key] = obj
        self._recount(key)

    def start(self, claim: Object, allocation: Object) -> None:
        """An allocation has been decided and is about to be written."""
        uid = claim["metadata"]["uid"]
        self.in_flight[uid] = allocation
        self._hold(uid, allocation)

    def stop(self, key: str, uid: str) -> None:
        """It has been written (and assumed), or given up."""
        if self.in_flight.pop(uid, None) is not None:
            found = self.claim(key)
            if found is not None and found["metadata"]["uid"] == uid:
                self._recount(key)
            else:
                self._hold(uid, None)

    def set_class(self, name: str, obj: Object | None) -> None:
        if obj is None:
            self.classes.pop(name, None)
        else:
            self.classes[name] = obj
        order = sorted(self.classes.values(), key=lambda one: (one["metadata"].get("creationTimestamp") or "", one["metadata"]["name"]))
        self.extended = {spec["extendedResourceName"]: one["metadata"]["name"] for one in order
                         if (spec := one.get("spec") or {}).get("extendedResourceName")}
        self._everywhere = next(self._count)

    def set_rule(self, name: str, obj: Object | None) -> None:
        """A DeviceTaintRule (None: it is gone)."""
        if obj is None:
            self._rules.pop(name, None)
        else:
            self._rules[name] = obj
        for parts in self._parts.values():
            for _, devices in parts.values():
                for device in devices:
                    device.ruled = self._taints_of(device.id)
        self._everywhere = next(self._count)

    def _taints_of(self, device: DeviceId) -> tuple[Object, ...]:
        return tuple(rule["spec"]["taint"] for _, rule in sorted(self._rules.items()) if device_rule_matches(rule, *device))

    def set_slice(self, name: str, obj: Object | None) -> None:
        """A slice (None: it is gone)."""
        old = self._slices.pop(name, None)
        touched = {_pool_of(old): old} if old is not None else {}
        if old is not None:
            self._parts[_pool_of(old)].pop(name)
        if obj is not None:
            spec = self._slices[name] = obj["spec"]
            key = _pool_of(spec)
            devices = [Device((*key, device["name"]), device, spec, ruled=self._taints_of((*key, device["name"])))
                       for device in spec.get("devices") or ()]
            self._parts.setdefault(key, {})[name] = (spec, devices)
            for device in devices:
                self._homes[device.id] = spec.get("nodeName") or ""
            if old is not None:
                self._touch(old.get("nodeName") or "")
            touched[key] = spec
        for key, spec in touched.items():
            self._rebuild(key)
            self._touch(spec.get("nodeName") or "")

    def _rebuild(self, key: tuple[str, str]) -> None:
        before = self._pools.pop(key, None)
        for spec, _ in before.slices if before is not None else ():
            if home := spec.get("nodeName"):
                self._own.get(home, {}).pop(key, None)
        self._common.pop(key, None)
        parts = self._parts.get(key)
        if not parts:
            self._parts.pop(key, None)
            return
        pool = self._pools[key] = make_pool(*key, list(parts.values()))
        for spec, _ in pool.slices:
            if home := spec.get("nodeName"):
                self._own.setdefault(home, {})[key] = None
            else:
                self._common[key] = None

    # --- inside ---

    def _recount(self, key: str) -> None:
        claim = self.claim(key)
        if claim is not None:
            uid = claim["metadata"]["uid"]
            self._hold(uid, self.in_flight.get(uid) or (claim.get("status") or {}).get("allocation"))

    def _hold(self, uid: str, allocation: Object | None) -> None:
        """Sets what a claim holds."""
        wanted = [((r["driver"], r["pool"], r["device"]),
                   {name: quantity(value) for name, value in (r.get("consumedCapacity") or {}).items()})
                  for r in ((allocation or {}).get("devices") or {}).get("results") or () if not r.get("adminAccess")]
        before = self._held.get(uid) or []
        if wanted == before:
            return
        for device, _ in before:
            users = self.users.get(device)
            if users is not None:
                users.pop(uid, None)
                if not users:
                    del self.users[device]
        for device, consumed in wanted:
            self.users.setdefault(device, {}).setdefault(uid, []).append(consumed)
        for device, _ in (*before, *wanted):
            self._touch(self._homes.get(device, ""))
        if wanted:
            self._held[uid] = wanted
        else:
            self._held.pop(uid, None)

    def _touch(self, home: str) -> None:
        if home:
            self._epochs[home] = next(self._count)
        else:
            self._everywhere = next(self._count)


def _pool_of(spec: Object) -> tuple[str, str]:
    return spec["driver"], (spec.get("pool") or {}).get("name") or ""


def _version(obj: Object) -> int:
    text = obj["metadata"].get("resourceVersion") or "0"
    return int(text) if text.isdigit() else 0
