"""How much heavy work the runtime is given at once.

Twenty sandboxes asked for in the same moment on two cores all come last together; the same twenty a few at a time come one after the
other and no later. What completes a pod goes before what begins one. Upstream has no such limit.

A call that hangs (a network plugin that waits) must not hold up the others: after `patience` seconds it no longer counts.
"""
from __future__ import annotations

import asyncio
import heapq
import itertools
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

FINISH, BEGIN = 0, 1


class Gate:
    """`async with gate.enter(BEGIN): …` waits for its turn: by priority, then in order."""

    def __init__(self, limit: int | None = None, patience: float = 5.0) -> None:
        self._free = limit or max(8, 5 * (os.cpu_count() or 1))
        self._patience = patience
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    @asynccontextmanager
    async def enter(self, priority: int) -> AsyncIterator[None]:
        if self._free > 0:
            self._free -= 1
        else:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            heapq.heappush(self._waiting, (priority, next(self._order), turn))
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self._next()  # it was our turn just when we were told to stop
                raise
        left = False

        def leave() -> None:
            nonlocal left
            if not left:
                left = True
                self._next()

        timer = asyncio.get_running_loop().call_later(self._patience, leave)
        try:
            yield
        finally:
            timer.cancel()
            leave()

    def _next(self) -> None:
        while self._waiting:
            _, _, turn = heapq.heappop(self._waiting)
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1
