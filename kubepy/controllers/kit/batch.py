"""Doing many alike things at once, carefully."""
from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

T = TypeVar("T")

PARALLEL = 64


async def slow_start(count: int, work: Callable[[int], Awaitable[None]], initial: int = 1) -> tuple[int, list[Exception]]:
    """Runs `work(0…count-1)` in batches of 1, 2, 4, …; stops after a batch with a failure.

    If the first fails (a quota, an admission webhook) the others most likely would too. Returns the successes and the failures."""
    done = 0
    size = min(count, initial)
    while size > 0:
        errors = await at_once(range(done, done + size), work)
        done += size
        if errors:
            return done - len(errors), errors
        size = min(2 * size, count - done)
    return done, []


async def at_once(items: Sequence[T], work: Callable[[T], Awaitable[None]]) -> list[Exception]:
    """Runs `work` for every item, a bounded number at a time; returns the failures."""
    gate = asyncio.Semaphore(PARALLEL)

    async def one(item: T) -> Exception | None:
        async with gate:
            try:
                await work(item)
            except Exception as error:  # collected: the caller decides
                return error
            return None

    if len(items) == 1:
        error = await one(items[0])
        return [error] if error is not None else []
    return [error for error in await asyncio.gather(*(one(item) for item in items)) if error is not None]
