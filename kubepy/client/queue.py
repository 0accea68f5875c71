"""A work queue of keys (`client-go/util/workqueue`): a key is queued once, worked on by one worker at a time, retried later and later.

    key = await queue.get()
    try: ...work...
    except: queue.add_rate_limited(key)
    else: queue.forget(key)
    finally: queue.done(key)

A key added while it is worked on is queued again when it is done. The queue holds keys, so its size is bounded by the objects there are.
"""
from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import Hashable
from typing import Generic, TypeVar

from kubepy.base.clock import Clock, SystemClock
from kubepy.base.metrics import counter, exponential, gauge, histogram
from kubepy.base.task import Tasks

_SECONDS = exponential(1e-8, 10, 10)
DEPTH = gauge("workqueue_depth", "Current depth of workqueue", ("name",))
ADDS = counter("workqueue_adds_total", "Total number of adds handled by workqueue", ("name",))
RETRIES = counter("workqueue_retries_total", "Total number of retries handled by workqueue", ("name",))
WAITED = histogram("workqueue_queue_duration_seconds", "How long in seconds an item stays in workqueue before being requested.",
                   ("name",), _SECONDS)
UNFINISHED = gauge("workqueue_unfinished_work_seconds", "How many seconds of work has done that is in progress and hasn't been observed by "
                   "work_duration. Large values indicate stuck threads. One can deduce the number of stuck threads by observing the rate "
                   "at which this increases.", ("name",))
LONGEST = gauge("workqueue_longest_running_processor_seconds",
                "How many seconds has the longest running processor for workqueue been running.", ("name",))
WORKED = histogram("workqueue_work_duration_seconds", "How long in seconds processing an item from workqueue takes.", ("name",), _SECONDS)

K = TypeVar("K", bound=Hashable)

STALE = 1000
"""Delayed adds that were taken back and may lie around until their time."""


class ShutDown(Exception):
    """The queue has been shut down and is empty."""


class WorkQueue(Generic[K]):
    """`initial` and `maximum` bound the back-off of one key in seconds."""

    def __init__(self, name: str, clock: Clock | None = None, *, initial: float = 0.005, maximum: float = 1000.0) -> None:
        self.name = name
        self._clock = clock or SystemClock()
        self._initial, self._maximum = initial, maximum
        self._ready: deque[K] = deque()
        self._dirty: dict[K, float] = {}  # queued, or to be queued when done; since when
        self._active: dict[K, float] = {}
        self._failures: dict[K, int] = {}
        self._later: list[tuple[float, int, K]] = []
        self._due: dict[K, float] = {}
        self._order = 0
        self._getters: deque[asyncio.Future[None]] = deque()
        self._tasks = Tasks(f"queue/{name}", self._clock)
        self._timer: asyncio.Task[None] | None = None
        self._timer_due = 0.0
        self._closed = False
        self._adds, self._retries = ADDS.labels(name), RETRIES.labels(name)
        DEPTH.labels(name).set_function(self.__len__)
        UNFINISHED.labels(name).set_function(lambda: sum(self._ages()))
        LONGEST.labels(name).set_function(lambda: max(self._ages(), default=0.0))
        self._waited, self._worked = WAITED.labels(name), WORKED.labels(name)

    def __len__(self) -> int:
        """Keys that wait for a worker."""
        return len(self._ready)

    def _ages(self) -> list[float]:
        now = self._clock.monotonic()
        return [now - began for began in self._active.values()]

    def idle(self) -> bool:
        """Nothing waits and nothing is worked on (delayed keys aside)."""
        return not self._ready and not self._active

    def add(self, key: K) -> None:
        if self._closed or key in self._dirty:
            return
        self._dirty[key] = self._clock.monotonic()
        self._adds.inc()
        if key not in self._active:
            self._push(key)

    def add_after(self, key: K, delay: float) -> None:
        """Adds `key` in `delay` seconds; of several delayed adds the earliest counts."""
        if self._closed:
            return
        if delay <= 0:
            self.add(key)
            return
        due = self._clock.monotonic() + delay
        if key in self._due and self._due[key] <= due:
            return
        self._due[key] = due
        self._order += 1
        heapq.heappush(self._later, (due, self._order, key))
        if self._timer is None or due < self._timer_due:
            if self._timer is not None:
                self._timer.cancel()
            self._timer_due = due
            self._timer = self._tasks.start(self._run_timer(), "timer")

    def drop_later(self, key: K) -> None:
        """Takes a delayed add back."""
        if self._due.pop(key, None) is not None and len(self._later) > 2 * len(self._due) + STALE:
            self._later = [item for item in self._later if self._due.get(item[2]) == item[0]]
            heapq.heapify(self._later)

    def add_rate_limited(self, key: K) -> None:
        """Adds `key` after its back-off, which doubles each time until `forget`."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        self._retries.inc()
        self.add_after(key, min(self._initial * 2.0 ** min(failures, 60), self._maximum))

    def failures(self, key: K) -> int:
        return self._failures.get(key, 0)

    def forget(self, key: K) -> None:
        """The key succeeded: its back-off starts anew."""
        self._failures.pop(key, None)

    async def get(self) -> K:
        """The next key; `done` must follow. Raises ShutDown."""
        while not self._ready:
            if self._closed:
                raise ShutDown
            getter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._getters.append(getter)
            try:
                await getter
            except asyncio.CancelledError:
                if getter.done() and not getter.cancelled():
                    self._wake()  # the wake-up was ours: hand it on
                raise
        key = self._ready.popleft()
        now = self._clock.monotonic()
        self._waited.observe(now - self._dirty.pop(key))
        self._active[key] = now
        return key

    def done(self, key: K) -> None:
        began = self._active.pop(key)
        self._worked.observe(self._clock.monotonic() - began)
        if key in self._dirty:
            self._push(key)

    async def shut_down(self) -> None:
        """Takes no more; delayed keys are dropped, getters raise ShutDown once what is queued has been handed out."""
        self._closed = True
        await self._tasks.stop()
        while self._getters:
            self._wake()

    def _push(self, key: K) -> None:
        self._ready.append(key)
        self._wake()

    def _wake(self) -> None:
        while self._getters:
            getter = self._getters.popleft()
            if not getter.done():
                getter.set_result(None)
                return

    async def _run_timer(self) -> None:
        while self._later:
            due, _, key = self._later[0]
            self._timer_due = due
            wait = due - self._clock.monotonic()
            if wait > 0:
                await self._clock.sleep(wait)
                continue
            heapq.heappop(self._later)
            if self._due.get(key) == due:  # else a heap entry that an earlier one has overtaken
                del self._due[key]
                self.add(key)
        self._timer = None
