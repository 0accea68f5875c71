"""Priority levels: each has its share of the server's seats, lends what it does not use, and queues or refuses what exceeds it.

Known difference: upstream adjusts the levels' limits every 10 s by their recent use; here a seat is lent the moment another level wants
it, as long as its owner's own requests leave it free.

Seats bound what waits for etcd; a request that is answered from memory never holds one for long, however many come at once. As one loop
serves all of them, each level also has so many turns in one round of the loop, and what exceeds them queues. The turns become fewer
when rounds become long: so a flood of one level, also of costly requests, delays the others by a few short rounds and no more.
"""
from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping

from kubepy.api.errors import TooManyRequests
from kubepy.api.types import Object
from kubepy.apiserver.fairness.queue import Queued, Queues
from kubepy.base.clock import Clock
from kubepy.base.metrics import counter, gauge

_REJECTED = counter("apiserver_flowcontrol_rejected_requests_total", "Number of requests rejected by API Priority and Fairness subsystem",
                    ("priority_level", "flow_schema", "reason"))
_DISPATCHED = counter("apiserver_flowcontrol_dispatched_requests_total",
                      "Number of requests executed by API Priority and Fairness subsystem", ("priority_level", "flow_schema"))
_SEATS = gauge("apiserver_flowcontrol_current_executing_seats", "Concurrency (number of seats) occupied by the currently executing "
               "requests in the API Priority and Fairness subsystem", ("priority_level",))
_INQUEUE = gauge("apiserver_flowcontrol_current_inqueue_requests", "Number of requests currently pending in queues of the API Priority and "
                 "Fairness subsystem", ("priority_level",))
_NOMINAL = gauge("apiserver_flowcontrol_nominal_limit_seats", "Nominal number of execution seats configured for each priority level",
                 ("priority_level",))


MOST_TURNS, FEWEST_TURNS = 64, 4
"""Requests of one level that begin in one round of the event loop."""
LONG_ROUND, SHORT_ROUND = 0.03, 0.01
"""Seconds a round takes when the turns become fewer, and more again."""
REFUSE_SECONDS = 0.3
"""How long a refusal for full queues takes, so that who asks again at once does not keep the loop from those who wait."""


def refused() -> TooManyRequests:
    return TooManyRequests("Too many requests, please try again later.", retry_after=1)


class Level:
    def __init__(self, name: str) -> None:
        self.name = name
        self.uid = b""
        self.exempt = False
        self.nominal = 0
        """Seats that are its own."""
        self.lendable = 0
        self.most = 0
        """Seats it may use with what it borrows."""
        self.used = 0
        self.turns = MOST_TURNS
        self.queues: Queues | None = None

    def configure(self, obj: Object) -> None:
        spec = obj.get("spec") or {}
        self.uid = str(obj["metadata"].get("uid", "")).encode()
        self.exempt = spec.get("type") == "Exempt"
        response = (spec.get("limited") or {}).get("limitResponse") or {}
        queuing = response.get("queuing") if response.get("type") == "Queue" else None
        if queuing is None:
            wanted = None
        else:
            wanted = (int(queuing.get("queues") or 64), int(queuing.get("handSize") or 8), int(queuing.get("queueLengthLimit") or 50))
        if wanted is None:
            if self.queues is not None and not self.queues.length:
                self.queues = None
        elif self.queues is None or (self.queues.count, self.queues.hand) != wanted[:2]:
            if self.queues is None or not self.queues.length:  # what waits keeps its place until it has run
                self.queues = Queues(*wanted)
        else:
            self.queues.limit = wanted[2]


class Levels:
    """All levels of a process and the seats they share."""

    def __init__(self, seats: int, clock: Clock, wait_seconds: float) -> None:
        self.seats = max(1, seats)
        self.levels: dict[str, Level] = {}
        self._clock = clock
        self._wait = wait_seconds
        self._refilling = False
        self._round_began = 0.0
        self._turns = MOST_TURNS

    def configure(self, objects: Mapping[str, Object]) -> None:
        """Takes over the PriorityLevelConfigurations; a level that is gone stays while requests of it run."""
        for name, obj in objects.items():
            self.levels.setdefault(name, Level(name)).configure(obj)
        for name in [name for name, level in self.levels.items() if name not in objects and not level.used]:
            del self.levels[name]
        shares = {name: int((obj.get("spec") or {}).get("limited", (obj.get("spec") or {}).get("exempt") or {})
                            .get("nominalConcurrencyShares") or 0) for name, obj in objects.items()}
        total = sum(shares.values()) or 1
        for name, obj in objects.items():
            level = self.levels[name]
            limited = (obj.get("spec") or {}).get("limited") or (obj.get("spec") or {}).get("exempt") or {}
            level.nominal = math.ceil(self.seats * shares[name] / total)
            level.lendable = round(level.nominal * int(limited.get("lendablePercent") or 0) / 100)
            borrowing = limited.get("borrowingLimitPercent")
            level.most = self.seats if borrowing is None else level.nominal + round(level.nominal * int(borrowing) / 100)
            _NOMINAL.labels(name).set(level.nominal)

    def _fits(self, level: Level, seats: int) -> bool:
        if level.turns <= 0 and level.queues is not None:
            return False
        seats = min(seats, max(1, level.nominal))  # a request wider than its level runs when the level is idle
        if level.used + seats <= max(1, level.nominal):
            return True
        if level.used + seats > level.most:
            return False
        wanted = sum(max(0, other.used - other.nominal) for other in self.levels.values() if other is not level and not other.exempt)
        wanted += level.used + seats - level.nominal
        free = sum(min(other.lendable, max(0, other.nominal - other.used)) for other in self.levels.values() if other is not level)
        return wanted <= free

    async def enter(self, level: Level, schema: str, flow: str, seats: int) -> Queued:
        """Waits for the seats; raises TooManyRequests. `leave` gives them back."""
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[None] = loop.create_future()
        request = Queued(seats, lambda: turn.set_result(None) if not turn.done() else None)
        if level.exempt or ((level.queues is None or not level.queues.length) and self._fits(level, seats)):
            self._start(level, request)
        else:
            await self._queue(level, schema, flow, request, turn)
        _DISPATCHED.labels(level.name, schema).inc()
        return request

    async def _queue(self, level: Level, schema: str, flow: str, request: Queued, turn: asyncio.Future[None]) -> None:
        queues = level.queues
        if queues is None or not queues.add(flow, request):
            _REJECTED.labels(level.name, schema, "concurrency-limit" if queues is None else "queue-full").inc()
            if queues is not None:
                await self._clock.sleep(REFUSE_SECONDS)
            raise refused()
        _INQUEUE.labels(level.name).set(queues.length)
        self._dispatch(level)
        try:
            async with asyncio.timeout(self._wait):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():
                self.leave(level, request, 0.0)  # its turn came as it gave up
            else:
                queues.drop(request)
            _INQUEUE.labels(level.name).set(queues.length)
            if isinstance(error, TimeoutError):
                _REJECTED.labels(level.name, schema, "time-out").inc()
                raise refused() from error
            raise

    def _start(self, level: Level, request: Queued) -> None:
        level.used += request.seats
        level.turns -= 1
        if not self._refilling:
            self._refilling = True
            loop = asyncio.get_running_loop()
            self._round_began = loop.time()
            loop.call_soon(self._refill, loop)
        _SEATS.labels(level.name).set(level.used)

    def _refill(self, loop: asyncio.AbstractEventLoop) -> None:
        """Once a round of the loop, while requests come."""
        self._refilling = False
        spent = loop.time() - self._round_began
        if spent > LONG_ROUND:
            self._turns = max(FEWEST_TURNS, self._turns * 2 // 3)
        elif spent < SHORT_ROUND:
            self._turns = min(MOST_TURNS, self._turns + 4)
        for level in list(self.levels.values()):
            level.turns = self._turns
            if level.queues is not None and level.queues.length:
                self._dispatch(level)

    def leave(self, level: Level, request: Queued, seconds: float) -> None:
        level.used -= request.seats
        _SEATS.labels(level.name).set(level.used)
        if level.queues is not None:
            level.queues.used(request, seconds)
        self._dispatch(level)
        for other in self.levels.values():  # what this level has lent or no longer borrows may be wanted
            if other is not level and other.queues is not None and other.queues.length:
                self._dispatch(other)

    def _dispatch(self, level: Level) -> None:
        queues = level.queues
        while queues is not None and queues.length:
            request = queues.next(lambda seats: self._fits(level, seats))
            if request is None:
                return
            self._start(level, request)
            request.start()
            _INQUEUE.labels(level.name).set(queues.length)
