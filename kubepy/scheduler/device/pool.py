"""Devices as drivers publish them in ResourceSlices: one `Device` each, kept while its slice stays as it is."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Protocol

from kubepy.api import scheduling
from kubepy.api.cel import EvaluationError
from kubepy.api.cel.device import DeviceSelector
from kubepy.api.types import Object

DeviceId = tuple[str, str, str]
"""Driver, pool and device."""


class Node(Protocol):
    """What matters of a node."""

    name: str
    labels: scheduling.Labels


class AllocationError(Exception):
    """A claim that cannot be judged: an expression fails, a pool contradicts itself."""


@lru_cache(maxsize=4096)
def selector(expression: str) -> DeviceSelector:
    return DeviceSelector(expression)


@dataclass(slots=True, eq=False)
class Device:
    """`spec` is the slice's entry, `slice` the slice's spec. Capacities are in plain units."""

    id: DeviceId
    spec: Object
    slice: Object
    verdicts: dict[str, bool] = field(default_factory=dict)
    """Expression -> whether it selects the device."""
    ruled: tuple[Object, ...] = ()
    """Taints of DeviceTaintRules, beside those of its driver."""
    _attributes: dict[str, frozenset[object]] | None = None

    @property
    def shared(self) -> bool:
        return bool(self.spec.get("allowMultipleAllocations"))

    def selected(self, expression: str) -> bool:
        """Raises AllocationError when the expression fails."""
        found = self.verdicts.get(expression)
        if found is None:
            try:
                found = self.verdicts[expression] = selector(expression).accepts(self.id[0], self.spec)
            except EvaluationError as error:
                raise AllocationError(f"runtime error: {error}") from error
        return found

    def attribute(self, name: str) -> frozenset[object] | None:
        """The values of a fully qualified attribute, or None."""
        if self._attributes is None:
            self._attributes = {}
            for key, value in (self.spec.get("attributes") or {}).items():
                full = key if "/" in key else f"{self.id[0]}/{key}"
                kind, plain = next(iter(value.items()))
                self._attributes[full] = frozenset((kind.rstrip("s"), item) for item in (plain if isinstance(plain, list) else [plain]))
        return self._attributes.get(name)

    def on(self, node: Node) -> bool:
        """Whether the device can be used on a node that its slice is for."""
        if not self.slice.get("perDeviceNodeSelection"):
            return True
        return _placed(self.spec, node)

    def untolerated(self, tolerations: tuple[Object, ...]) -> bool:
        return scheduling.untolerated_taint((*(self.spec.get("taints") or ()), *self.ruled), tolerations) is not None


def _placed(where: Mapping[str, object], node: Node) -> bool:
    if where.get("allNodes"):
        return True
    if where.get("nodeName"):
        return where["nodeName"] == node.name
    selector = where.get("nodeSelector")
    return isinstance(selector, dict) and scheduling.matches_node_selector(selector, node.labels, node.name)


@dataclass(slots=True, eq=False)
class Pool:
    """The slices of the newest generation. `counters`: set -> counter -> amount."""

    driver: str
    name: str
    generation: int
    slices: list[tuple[Object, list[Device]]] = field(default_factory=list)
    wanted: int = 0
    counters: dict[str, dict[str, int]] = field(default_factory=dict)
    invalid: str = ""

    @property
    def complete(self) -> bool:
        return len(self.slices) == self.wanted

    def devices_on(self, node: Node) -> list[Device]:
        """What a node sees of it."""
        return [device for spec, devices in self.slices if spec.get("perDeviceNodeSelection") or _placed(spec, node)
                for device in devices if device.on(node)]


def make_pool(driver: str, name: str, slices: list[tuple[Object, list[Device]]]) -> Pool:
    generation = max(int((spec.get("pool") or {}).get("generation") or 0) for spec, _ in slices)
    newest = [(spec, devices) for spec, devices in slices if int((spec.get("pool") or {}).get("generation") or 0) == generation]
    pool = Pool(driver, name, generation, newest, max(int((spec.get("pool") or {}).get("resourceSliceCount") or 0) for spec, _ in newest))
    seen: set[str] = set()
    for spec, devices in newest:
        for device in devices:
            if device.id[2] in seen:
                pool.invalid = f"duplicate device name {device.id[2]}"
            seen.add(device.id[2])
        for counters in spec.get("sharedCounters") or ():
            pool.counters[counters["name"]] = {key: quantity(counter.get("value"))
                                               for key, counter in (counters.get("counters") or {}).items()}
    return pool


def quantity(text: object) -> int:
    """In thousandths, so that fractions survive."""
    return scheduling.amount("cpu", str(text if text is not None else "0"))
