"""Supervised tasks: no task dies unseen, and all of them end with their owner."""
from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from kubepy.base.backoff import Backoff
from kubepy.base.clock import Clock, SystemClock
from kubepy.base.log import get_logger

log = get_logger("task")
T = TypeVar("T")


async def whole(work: Coroutine[Any, Any, T]) -> T:
    """Does what must not be broken off: a caller that is cancelled meanwhile ends when `work` has."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait((task,))
        if not task.cancelled():
            task.exception()  # nobody is left to hear of it
        raise


class Tasks:
    """Owns a set of tasks: `start` for work that may end, `keep` for loops that must be restarted when they fail."""

    def __init__(self, name: str, clock: Clock | None = None) -> None:
        self.name = name
        self._clock = clock or SystemClock()
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        """Runs `work` once; an exception that escapes it is logged."""
        task = asyncio.get_running_loop().create_task(work, name=f"{self.name}/{name}")
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def keep(self, work: Callable[[], Awaitable[None]], name: str, *, initial: float = 0.2, maximum: float = 30.0) -> asyncio.Task[Any]:
        """Runs `work()` for ever: when it fails it is logged and started again after a growing delay (seconds)."""
        return self.start(self._keep(work, name, Backoff(initial, maximum, jitter=0.1)), name)

    async def _keep(self, work: Callable[[], Awaitable[None]], name: str, backoff: Backoff) -> None:
        while True:
            began = self._clock.monotonic()
            try:
                await work()
                return
            except asyncio.CancelledError:
                raise
            except Exception as error:
                if self._clock.monotonic() - began > backoff.maximum:
                    backoff.reset()
                delay = backoff.next()
                log.error("Task failed and will be restarted", error, task=f"{self.name}/{name}", delay=round(delay, 2))
                await self._clock.sleep(delay)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("Task died", error, task=task.get_name())

    async def stop(self) -> None:
        """Cancels every task and waits until all have ended."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
