"""The webhook backend: events go out in batches. A service that is away costs memory up to a bound, then events, never requests."""
from __future__ import annotations

import asyncio
from collections import deque

from kubepy.api.types import Object
from kubepy.apiserver.webhook.peer import Peer, PeerError
from kubepy.base.backoff import Backoff
from kubepy.base.log import get_logger
from kubepy.base.metrics import counter

log = get_logger("audit")
BUFFER = 10_000
_ERRORS = counter("apiserver_audit_error_total", "Counter of audit events that failed to be audited properly.", ("plugin",))
RETRIES = 5


class WebhookSink:
    def __init__(self, peer: Peer, *, size: int = 400, wait: float = 30.0) -> None:
        self.peer = peer
        self._size, self._wait = size, wait
        self._waiting: deque[Object] = deque()
        self._full = asyncio.Event()

    def put(self, event: Object) -> None:
        if len(self._waiting) >= BUFFER:
            _ERRORS.labels("buffered").inc()
            return
        self._waiting.append(event)
        if len(self._waiting) >= self._size:
            self._full.set()

    async def run(self) -> None:
        while True:
            try:
                async with asyncio.timeout(self._wait):
                    await self._full.wait()
            except TimeoutError:
                pass
            self._full.clear()
            while self._waiting:
                await self._send()

    async def _send(self) -> None:
        batch = [self._waiting.popleft() for _ in range(min(self._size, len(self._waiting)))]
        backoff = Backoff(0.5, 10.0)
        for attempt in range(RETRIES):
            try:
                await self.peer.post({"kind": "EventList", "apiVersion": "audit.k8s.io/v1", "metadata": {}, "items": batch})
                return
            except PeerError as error:
                if attempt == RETRIES - 1:
                    _ERRORS.labels("webhook").inc(len(batch))
                    log.error("Audit events are lost", error, events=len(batch))
                    return
            await asyncio.sleep(backoff.next())

    async def close(self) -> None:
        if self._waiting:
            try:
                async with asyncio.timeout(3.0):
                    await self._send()
            except TimeoutError:
                log.warning("The last audit events could not be sent", events=len(self._waiting))
        await self.peer.close()
