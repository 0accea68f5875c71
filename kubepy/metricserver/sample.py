"""The kubelet's `/metrics/resource` into numbers, and two moments into rates."""
from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import NamedTuple

_LINE = re.compile(r"^(?P<name>[a-z_]+)(?:\{(?P<labels>[^}]*)\})? (?P<value>\S+)(?: (?P<time>\d+))?$")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
FRESH_CONTAINER = 10.0
"""Seconds: a container younger than that has no rate yet."""


class Point(NamedTuple):
    """CPU seconds used since the start, bytes in use, and when that was (epoch seconds); `started` is 0 where it is not known."""

    cpu: float
    memory: float
    time: float
    started: float = 0.0


class Usage(NamedTuple):
    """Cores and bytes, at `time`, the cores over the `window` seconds before."""

    cpu: float
    memory: float
    time: float
    window: float


PodKey = tuple[str, str]
"""Namespace and name."""


@dataclass(slots=True)
class Batch:
    """What one node said at one moment."""

    node: Point | None = None
    pods: dict[PodKey, dict[str, Point]] = field(default_factory=dict)


def parse(text: str, now: float) -> Batch:
    """Containers of which CPU or memory is missing are left out. Samples without a time were taken `now`."""
    values: dict[tuple[str, str, str], dict[str, tuple[float, float]]] = {}
    for line in text.splitlines():
        found = _LINE.match(line)
        if found is None:
            continue
        kind, _, what = found["name"].partition("_")
        if kind not in ("node", "container"):
            continue
        labels = dict(_LABEL.findall(found["labels"] or ""))
        key = ("", "", "") if kind == "node" else (labels.get("namespace", ""), labels.get("pod", ""), labels.get("container", ""))
        moment = int(found["time"]) / 1000 if found["time"] else now
        try:
            values.setdefault(key, {})[what] = (float(found["value"]), moment)
        except ValueError:
            continue
    batch = Batch()
    for (namespace, pod, container), known in values.items():
        cpu, memory = known.get("cpu_usage_seconds_total"), known.get("memory_working_set_bytes")
        if cpu is None or memory is None:
            continue
        point = Point(cpu[0], memory[0], cpu[1], known.get("start_time_seconds", (0.0, 0.0))[0])
        if not pod:
            batch.node = point
        else:
            batch.pods.setdefault((namespace, pod), {})[container] = point
    return batch


def rate(before: Point | None, after: Point) -> Usage | None:
    """None when nothing can be said: no earlier moment, or the counter began anew."""
    if before is None or before.started != after.started or after.cpu < before.cpu or after.time <= before.time:
        return None
    window = after.time - before.time
    return Usage((after.cpu - before.cpu) / window, after.memory, after.time, window)


@dataclass(slots=True)
class Window:
    """The last two moments of every node."""

    _before: dict[str, Batch] = field(default_factory=dict)
    _after: dict[str, Batch] = field(default_factory=dict)

    def put(self, node: str, batch: Batch) -> None:
        last = self._after.get(node)
        if last is not None and last.node is not None and batch.node is not None and batch.node.time <= last.node.time:
            return
        if last is not None:
            self._before[node] = last
        self._after[node] = batch

    def keep_only(self, nodes: set[str]) -> None:
        """Forgets nodes that are gone or do not answer: old numbers would pass for current ones."""
        for known in (self._before, self._after):
            for name in known.keys() - nodes:
                del known[name]

    @property
    def filled(self) -> bool:
        return bool(self._before)

    def node(self, name: str) -> Usage | None:
        before, after = self._before.get(name, Batch()).node, self._after.get(name, Batch()).node
        return rate(before, after) if after is not None else None

    def pod(self, node: str, key: PodKey) -> dict[str, Usage] | None:
        """By container; None unless every container can be told, for a part would pass for the whole."""
        after = self._after.get(node, Batch()).pods.get(key)
        before = self._before.get(node, Batch()).pods.get(key, {})
        if not after:
            return None
        found = {}
        for name, point in after.items():
            usage = rate(before.get(name), point)
            if usage is None:  # started within the window: its whole life is known
                age = point.time - point.started
                if name in before or not point.started or not FRESH_CONTAINER <= age <= 120:
                    return None
                usage = Usage(point.cpu / age, point.memory, point.time, age)
            found[name] = usage
        return found
