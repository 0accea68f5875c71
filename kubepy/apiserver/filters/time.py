"""Ends requests that take longer than --request-timeout; watches, logs and streams are left alone."""
from __future__ import annotations

import asyncio
from typing import Any

from kubepy.api.errors import BadRequest, Timeout
from kubepy.apiserver.exchange import Exchange
from kubepy.apiserver.server import Server
from kubepy.base.flag import unsigned_duration
from kubepy.base.http.cycle import App, Receive, Scope, Send

LONG_RUNNING_VERBS = frozenset(("watch", "proxy"))
LONG_RUNNING_SUBRESOURCES = frozenset(("attach", "exec", "proxy", "log", "portforward"))


def is_long_running(exchange: Exchange) -> bool:
    info = exchange.info
    return info.verb in LONG_RUNNING_VERBS or (info.is_resource and info.subresource in LONG_RUNNING_SUBRESOURCES) \
        or info.path.startswith("/debug/pprof/")


SWEEP_SECONDS = 0.5


class Deadlines:
    """Cancels the tasks whose time is over, looking twice a second: a timer of its own for each request cost 3 % of a get."""

    def __init__(self) -> None:
        self._ends: dict[asyncio.Task[Any], float] = {}
        self._over: set[asyncio.Task[Any]] = set()
        self._sweeping = False

    def add(self, task: asyncio.Task[Any], seconds: float) -> None:
        loop = asyncio.get_running_loop()
        self._ends[task] = loop.time() + seconds
        if not self._sweeping:
            self._sweeping = True
            loop.call_later(SWEEP_SECONDS, self._sweep, loop)

    def remove(self, task: asyncio.Task[Any]) -> bool:
        """Whether the task was cancelled for its time."""
        self._ends.pop(task, None)
        if task not in self._over:
            return False
        self._over.discard(task)
        return True

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        for task in [task for task, end in self._ends.items() if end <= now]:
            del self._ends[task]
            self._over.add(task)
            task.cancel()
        self._sweeping = bool(self._ends)
        if self._sweeping:
            loop.call_later(SWEEP_SECONDS, self._sweep, loop)


class TimeoutFilter:
    def __init__(self, server: Server, app: App) -> None:
        self.app = app
        self.seconds = server.options.request_timeout
        self.deadlines = Deadlines()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = Exchange.of(scope)
        if is_long_running(exchange):
            await self.app(scope, receive, send)
            return
        seconds = self.seconds
        if asked := exchange.query.get("timeout"):
            try:
                wanted = unsigned_duration(asked[0])
            except ValueError as error:
                raise BadRequest(f"invalid timeout specified in the request URL - {error}") from error
            seconds = min(seconds, wanted) if wanted > 0 else seconds
        task = asyncio.current_task()
        assert task is not None
        self.deadlines.add(task, seconds)
        try:
            await self.app(scope, receive, send)
        except asyncio.CancelledError as error:
            if not self.deadlines.remove(task) or task.uncancel() or exchange.started:
                raise
            raise Timeout("Timeout: request did not complete within the allotted timeout", {}) from error
        finally:
            self.deadlines.remove(task)
