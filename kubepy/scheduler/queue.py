"""Whose turn it is: pods ready to be tried, pods backing off, and pods that wait for something in the cluster to change.

Follows upstream's scheduling queue: a pod that failed waits until an event that one of the plugins that refused it cares about (and
whose hint says it can help), then serves what is left of its back-off; after five minutes it is tried anyway. Events that happen
while a pod is being tried are looked at when it comes back. When nothing else is ready, backing-off pods go early. No I/O.
"""
from __future__ import annotations

import asyncio
import heapq
import itertools
import math
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

from kubepy.base.clock import Clock
from kubepy.scheduler import metric
from kubepy.scheduler.framework import Event, Profile, Wake
from kubepy.scheduler.pod import Pod

UNSCHEDULABLE_SECONDS = 300.0
EVENTS_KEPT = 4096
INTERESTS_KEPT = 10_000
HINTS_MEASURED = 1000
"""Hints whose time is taken, between two calls of `measure`: thousands of pods may be asked about one event."""
FAILED = "ScheduleAttemptFailure"
GATES = frozenset({"SchedulingGates"})
"""Only the pod itself can lift these."""
ACTIVE, BACKOFF, WAITING, GATED, TRIED = "active", "backoff", "unschedulable", "gated", "tried"


_Group = tuple[str, frozenset[str]]
"""A scheduler's name and the plugins that refused."""


@dataclass(slots=True, eq=False)
class Entry:
    """A pending pod in the queue. `where` says in which part, `ticket` tells a live heap item from a stale one."""

    pod: Pod
    added: float
    queued: float
    attempts: int = 0
    where: str = WAITING
    ticket: int = 0
    plugins: frozenset[str] = frozenset()
    failed: float = 0.0
    seen: int = 0
    error: bool = False
    """The last attempt failed by an error, not by a refusal: the back-off is served in full."""


@dataclass(slots=True)
class Queue:
    """`profiles` by scheduler name; times in seconds of the clock's monotonic time."""

    clock: Clock
    profiles: Mapping[str, Profile]
    initial_backoff: float = 1.0
    max_backoff: float = 10.0
    entries: dict[str, Entry] = field(default_factory=dict)
    _waiting: dict[str, Entry] = field(default_factory=dict)
    _groups: dict[_Group, dict[str, Entry]] = field(default_factory=dict)
    """The waiting ones by who refused them, so that an event asks only those it can matter to."""
    _interest: dict[tuple[_Group, str, str], bool] = field(default_factory=dict)
    _gated: dict[str, Entry] = field(default_factory=dict)
    _incoming: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(queue, event) -> pods, since `measure` was called."""
    _blamed: set[tuple[str, str]] = field(default_factory=set)
    _hints: list[tuple[str, str, str, float]] = field(default_factory=list)
    _active: list[tuple[Any, int, Entry]] = field(default_factory=list)
    _backoff: list[tuple[float, Any, int, Entry]] = field(default_factory=list)
    _tickets: itertools.count[int] = field(default_factory=itertools.count)
    _log: deque[tuple[int, Event]] = field(default_factory=lambda: deque(maxlen=EVENTS_KEPT))
    _sequence: int = 0
    _ready: asyncio.Event = field(default_factory=asyncio.Event)

    # --- pods come, change and go ---

    def add(self, pod: Pod) -> None:
        """A pod to be scheduled, new or changed. Of a known one only changes that can help count; a pod being tried keeps its turn."""
        entry = self.entries.get(pod.key)
        now = self.clock.monotonic()
        if entry is not None and entry.pod.uid != pod.uid:
            self.delete(pod.key)
            entry = None
        if entry is None:
            entry = self.entries[pod.key] = Entry(pod, now, now)
            self._enqueue(entry, "PodAdd")
            return
        old, entry.pod = entry.pod, pod
        if entry.where == ACTIVE:
            if old.priority != pod.priority:
                self._activate(entry, "PodUpdate")
        elif entry.where == GATED:
            self._enqueue(entry, "PodUpdate")
        else:
            for action in _changes(old, pod):
                self.happened(Event("Pod", action, old, pod), only=entry)

    def delete(self, key: str) -> None:
        entry = self.entries.pop(key, None)
        self._leave(key)
        self._gated.pop(key, None)
        if entry is not None:
            entry.ticket = -1

    async def pop(self) -> Entry:
        """The next pod to try; waits until there is one. The caller says how it went: `done` or `failed`."""
        while True:
            entry = self._next()
            if entry is not None:
                entry.where, entry.ticket = TRIED, -1
                entry.attempts += 1
                entry.seen = self._sequence
                return entry
            self._ready.clear()
            await self._ready.wait()

    def done(self, key: str) -> None:
        """The pod has a node."""
        self.delete(key)

    def failed(self, entry: Entry, plugins: Iterable[str]) -> None:
        """The attempt failed: refused by `plugins`, or by an error when there are none."""
        if self.entries.get(entry.pod.key) is not entry:
            return
        entry.failed = self.clock.monotonic()
        entry.plugins = frozenset(plugins)
        entry.error = not entry.plugins
        missed = len(self._log) == EVENTS_KEPT and self._log[0][0] > entry.seen + 1  # more has happened than is remembered
        since = itertools.takewhile(lambda item: item[0] > entry.seen, reversed(self._log))
        if entry.error or missed or any(self._helps(entry, event) for _, event in since):
            self._back_off(entry, FAILED)
        else:
            entry.where = WAITING
            self._waiting[entry.pod.key] = entry
            self._groups.setdefault((entry.pod.scheduler, entry.plugins), {})[entry.pod.key] = entry
            self._incoming["unschedulable", FAILED] += 1

    # --- the cluster changes ---

    def happened(self, event: Event, *, only: Entry | None = None, but: str = "") -> int:
        """Wakes the pods the event may help, without the one whose key is `but`; returns how many."""
        self._sequence += 1
        if only is None or only.where == TRIED:
            self._log.append((self._sequence, event))
        woken = 0
        for entry in (only,) if only is not None else self._concerned(event):
            if entry.where == WAITING and entry.pod.key != but and self._helps(entry, event):
                self._back_off(entry, _named(event))
                woken += 1
        for entry in list(self._gated.values()) if only is None and self._gated else ():
            if entry.plugins != GATES and self._helps(entry, event):
                self._enqueue(entry, _named(event))
        return woken

    def _concerned(self, event: Event) -> list[Entry]:
        """The waiting pods some of whose refusing plugins look at such events."""
        found: list[Entry] = []
        for group, entries in self._groups.items():
            key = (group, event.resource, event.action)
            cares = self._interest.get(key)
            if cares is None:
                if len(self._interest) > INTERESTS_KEPT:
                    self._interest.clear()
                wakes = self.profiles[group[0]].wakes
                cares = self._interest[key] = any(wake.resource == event.resource and event.action in wake.actions
                                                  for plugin in group[1] for wake in _known(wakes, plugin))
            if cares:
                found += entries.values()
        return found

    def _leave(self, key: str) -> None:
        """The pod does not wait any more."""
        entry = self._waiting.pop(key, None)
        if entry is not None:
            group = self._groups[entry.pod.scheduler, entry.plugins]
            del group[key]
            if not group:
                del self._groups[entry.pod.scheduler, entry.plugins]

    def measure(self) -> None:
        """Brings the metrics up to date."""
        for (where, event), count in self._incoming.items():
            metric.INCOMING.labels(where, event).inc(count)
        self._incoming.clear()
        for plugin, event, hint, seconds in self._hints:
            metric.HINT_SECONDS.labels(plugin, event, hint).observe(seconds)
        self._hints.clear()
        tried = min((entry.seen for entry in self.entries.values() if entry.where == TRIED), default=self._sequence)
        metric.INFLIGHT.labels("All").set(sum(1 for number, _ in self._log if number > tried))
        for name, count in self.counts().items():
            metric.PENDING.labels(name).set(count)
        blamed = Counter((plugin, entry.pod.scheduler) for entry in self.entries.values() if entry.where in (WAITING, GATED, BACKOFF)
                         for plugin in entry.plugins)
        for labels in self._blamed | blamed.keys():
            metric.UNSCHEDULABLE.labels(*labels).set(blamed[labels])
        self._blamed = set(blamed)

    def activate(self, keys: Iterable[str]) -> None:
        """Tries these pods at once, whatever they waited for."""
        for key in keys:
            if (entry := self.entries.get(key)) is not None and entry.where in (WAITING, BACKOFF):
                self._activate(entry, "ForceActivate")

    def flush(self) -> None:
        """To be called about once a second: back-offs that are over, and pods that have waited too long."""
        now = self.clock.monotonic()
        while self._backoff and (self._backoff[0][3].ticket != self._backoff[0][2] or self._backoff[0][0] <= now):
            _, _, ticket, entry = heapq.heappop(self._backoff)
            if entry.ticket == ticket:
                self._activate(entry, "BackoffComplete")
        for entry in list(self._waiting.values()):
            if now - entry.failed > UNSCHEDULABLE_SECONDS:
                self._back_off(entry, "UnschedulableTimeout")

    def counts(self) -> dict[str, int]:
        """How many pods are in each part."""
        found = dict.fromkeys((ACTIVE, BACKOFF, WAITING, GATED), 0)
        for entry in self.entries.values():
            if entry.where in found:
                found[entry.where] += 1
        return found

    def __len__(self) -> int:
        return len(self.entries)

    # --- inside ---

    def _enqueue(self, entry: Entry, event: str) -> None:
        """Lets the PreEnqueue plugins look at a pod, and queues it if none objects."""
        profile = self.profiles[entry.pod.scheduler]
        gate = next((plugin.name for plugin in profile.points["preEnqueue"] if plugin.pre_enqueue(entry.pod) is not None), None)
        self._leave(entry.pod.key)
        if gate is None:
            entry.plugins = frozenset()
            self._activate(entry, event)
            return
        if entry.where != GATED:
            self._incoming["gated", event] += 1
        entry.where, entry.ticket, entry.plugins = GATED, -1, frozenset({gate})
        self._gated[entry.pod.key] = entry

    def _activate(self, entry: Entry, event: str) -> None:
        self._leave(entry.pod.key)
        self._gated.pop(entry.pod.key, None)
        self._incoming["active", event] += 1
        entry.where, entry.ticket = ACTIVE, next(self._tickets)
        heapq.heappush(self._active, (self._sort_key(entry), entry.ticket, entry))
        self._ready.set()

    def _sort_key(self, entry: Entry) -> Any:
        return self.profiles[entry.pod.scheduler].sort.sort_key(entry.pod, entry.queued)

    def _back_off(self, entry: Entry, event: str) -> None:
        ends = math.ceil(entry.failed + self.backoff_seconds(entry))  # to the second, so that within one priority decides
        if ends <= self.clock.monotonic():
            self._activate(entry, event)
            return
        self._leave(entry.pod.key)
        self._incoming["backoff", event] += 1
        entry.where, entry.ticket = BACKOFF, next(self._tickets)
        heapq.heappush(self._backoff, (ends, self._sort_key(entry), entry.ticket, entry))
        self._ready.set()

    def backoff_seconds(self, entry: Entry) -> float:
        return min(self.initial_backoff * 2.0 ** min(entry.attempts - 1, 32), self.max_backoff) if entry.attempts else 0.0

    def _next(self) -> Entry | None:
        while self._active:
            _, ticket, entry = heapq.heappop(self._active)
            if entry.ticket == ticket:
                return entry
        kept: list[tuple[float, Any, int, Entry]] = []
        found: Entry | None = None
        while self._backoff and found is None:
            item = heapq.heappop(self._backoff)
            if item[3].ticket == item[2]:
                if item[3].error:
                    kept.append(item)
                else:
                    found = item[3]
        for item in kept:
            heapq.heappush(self._backoff, item)
        return found

    def _helps(self, entry: Entry, event: Event) -> bool:
        wakes = self.profiles[entry.pod.scheduler].wakes
        if event.resource == "Pod" and isinstance(event.new, Pod) and event.new.key != entry.pod.key:
            return False
        return any(self._matches(plugin, wake, entry.pod, event) for plugin in entry.plugins for wake in _known(wakes, plugin))

    def _matches(self, plugin: str, wake: Wake, pod: Pod, event: Event) -> bool:
        if wake.resource != event.resource or event.action not in wake.actions:
            return False
        if wake.hint is None:
            return True
        if len(self._hints) >= HINTS_MEASURED:
            return wake.hint(pod, event)
        began = perf_counter()
        found = wake.hint(pod, event)
        self._hints.append((plugin, _named(event), "Queue" if found else "QueueSkip", perf_counter() - began))
        return found


ANY = (Wake("Node", frozenset({"add", "label", "taint", "allocatable"})), Wake("AssignedPod", frozenset({"add", "delete", "label"})))


def _named(event: Event) -> str:
    """An event as the metric of upstream's queue names it."""
    return _NAMES.get((event.resource, event.action)) or f"{event.resource}{event.action.title()}"


_NAMES = {
    ("Node", "label"): "NodeLabelUpdate", ("Node", "taint"): "NodeTaintUpdate", ("Node", "allocatable"): "NodeAllocatableUpdate",
    ("Node", "features"): "NodeDeclaredFeatureUpdate",
    ("AssignedPod", "label"): "AssignedPodUpdate", ("AssignedPod", "resize"): "PodRequestScaledDown", ("Pod", "label"): "PodLabelUpdate",
    ("Pod", "resize"): "PodRequestScaledDown", ("Pod", "tolerations"): "PodTolerationUpdate",
    ("Pod", "gates"): "PodSchedulingGateEliminated", ("Pod", "spec"): "PodUpdate", ("Namespace", "label"): "NamespaceUpdate",
}


def _known(wakes: Mapping[str, Sequence[Wake]], plugin: str) -> Sequence[Wake]:
    """A plugin that says nothing about events is woken by any that changes nodes or pods."""
    return wakes.get(plugin) or ANY


def _claim_names(pod: Pod) -> Any:
    return ((pod.raw or {}).get("status") or {}).get("resourceClaimStatuses")


def _changes(old: Pod, new: Pod) -> list[str]:
    """What changed of an unscheduled pod that may matter."""
    found: list[str] = []
    if old.gates != new.gates:
        found.append("gates")
    if old.labels != new.labels:
        found.append("label")
    if old.template.tolerations != new.template.tolerations:
        found.append("tolerations")
    if old.requests != new.requests:
        found.append("resize")
    if old.template.resource_claims and _claim_names(old) != _claim_names(new):
        found.append("claims")
    if old.template is not new.template and not found:
        found.append("spec")
    return found


