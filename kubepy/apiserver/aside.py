"""Work that grows with what a client has sent: what is large is done in threads, so that others are answered meanwhile.

A thread is interrupted every few milliseconds for the event loop. Two work at a time: more would only take turns.
"""
from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

LARGE = 64 << 10
"""Bytes of a body. libyaml takes seconds for the largest, ownership of its fields half a second."""
_THREADS = ThreadPoolExecutor(2, "aside")


async def aside(size: float, work: Callable[P, T], *args: P.args, **named: P.kwargs) -> T:
    """`work(*args)`, in a thread if `size` bytes are large. It must not touch what others may change meanwhile."""
    if size <= LARGE:
        return work(*args, **named)
    return await asyncio.get_running_loop().run_in_executor(_THREADS, lambda: work(*args, **named))
