"""One consumer of a watch cache: what it has yet to read, bounded."""
from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from kubepy.api.errors import ApiError, Expired

if TYPE_CHECKING:
    from kubepy.apiserver.storage.entry import Event

MAX_PENDING = 10_000
"""Events a watcher may lag behind before it is dropped. They are shared, so they cost a reference each."""

Scope = tuple[str | None, str | None]
"""Namespace and name; None is any."""


class CacheWatcher:
    """`interface.Watcher` of a cache."""

    def __init__(self, scope: Scope, after: int, pending: Sequence[Event], revision: Callable[[], int],
                 forget: Callable[[CacheWatcher], None]) -> None:
        self.scope = scope
        self._after = after
        self._pending = list(pending)
        self._revision = revision
        self._forget = forget
        self._error: ApiError | None = None
        self._waiter: asyncio.Future[None] | None = None
        self.take: Callable[[Sequence[Event]], bool] | None = None
        """Is offered what comes while `next` waits. True: taken, and `next` goes on waiting, so that an event wakes no task.

        Delivering an event to a watcher that takes it costs half of what it costs by way of `next`. It must not raise."""

    async def next(self, timeout: float | None = None) -> list[Event]:
        if not self._pending and self._error is None:
            loop = asyncio.get_running_loop()
            waiter = self._waiter = loop.create_future()
            timer = loop.call_later(timeout, _wake, waiter) if timeout is not None else None
            try:
                await waiter
            finally:
                self._waiter = None
                if timer is not None:
                    timer.cancel()
        if self._pending:
            pending, self._pending = self._pending, []
            return pending
        if self._error is not None:
            raise self._error
        return []

    def bookmark(self) -> int:
        if self._pending:
            return max(self._pending[0].revision - 1, self._after)
        return max(self._revision(), self._after)

    def close(self) -> None:
        self._forget(self)

    def put(self, event: Event) -> None:
        """Called by the cache for each event in scope, in order; then it calls `flush`."""
        if event.revision <= self._after or self._error is not None:
            return
        if len(self._pending) >= MAX_PENDING:
            self._pending = []
            self.end(Expired("The watch was ended: its consumer fell too far behind"))
            return
        self._pending.append(event)

    def flush(self) -> None:
        """Hands over what was put."""
        waiter, pending = self._waiter, self._pending
        if waiter is None or waiter.done() or not pending:
            return
        if self.take is not None:
            self._pending = []
            if self.take(pending):
                return
            self._pending = pending
        waiter.set_result(None)

    def end(self, error: ApiError) -> None:
        """Lets the consumer read what is pending, then raises `error`."""
        self._error = error
        self._forget(self)
        if self._waiter is not None:
            _wake(self._waiter)


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
