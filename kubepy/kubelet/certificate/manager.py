"""Renews a certificate when 70 to 90 % of its life is over, or when it no longer says what it should (`client-go/util/certificate`)."""
from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

from kubepy.api.errors import ApiError
from kubepy.base.backoff import Backoff
from kubepy.base.clock import Clock
from kubepy.base.log import get_logger
from kubepy.base.metrics import counter, gauge
from kubepy.client.interface import Client
from kubepy.kubelet.certificate.request import RequestRefused, Wanted, ask, fitted, issued, new_key
from kubepy.kubelet.certificate.store import Pair, Store

log = get_logger("certificate")
WAIT = 15 * 60.0
"""Seconds a request may stay unsigned before another is made, as upstream."""
_LOOK = 60.0
RENEWALS_FAILED = counter("kubelet_certificate_manager_client_expiration_renew_errors", "Counter of certificate renewal errors.")
TTL = gauge("kubelet_certificate_manager_client_ttl_seconds",
            "Gauge of the TTL (time-to-live) of the Kubelet's client certificate. The value is in seconds until certificate expiry "
            "(negative if already expired). If client certificate is invalid or unused, the value will be +INF.")


def renewal_time(pair: Pair, fraction: float) -> float:
    """When to renew; `fraction` (0 to 1) spreads a cluster's nodes over the span."""
    return pair.not_before + (pair.not_after - pair.not_before) * (0.7 + 0.2 * fraction)


def due_in(pair: Pair | None, wanted: Wanted, now: float, fraction: float) -> float:
    """Seconds until a new certificate is needed; 0 when it is now."""
    if pair is None or pair.self_signed or pair.subject != wanted.subject.rfc4514_string() or not wanted.names <= pair.names:
        return 0.0
    return max(0.0, renewal_time(pair, fraction) - now)


class Rotation:
    """Keeps one pair good. `wanted` is asked each time, as a node's addresses change; None means not known yet."""

    def __init__(self, store: Store, client: Client, clock: Clock, wanted: Callable[[], Wanted | None]) -> None:
        self._store = store
        self._client = client
        self._clock = clock
        self._wanted = wanted
        self._fraction = random.random()

    async def run(self) -> None:
        backoff = Backoff(2.0, 300.0, jitter=0.1)
        while True:
            wanted, pair = self._wanted(), self._store.current()
            if pair is not None:
                TTL.set(pair.not_after - self._clock.now())
            wait = due_in(pair, wanted, self._clock.now(), self._fraction) if wanted is not None else 1.0
            if wait > 0 or wanted is None:
                await self._clock.sleep(min(wait, _LOOK))
                continue
            try:
                async with asyncio.timeout(WAIT):
                    await self.renew(wanted)
                backoff.reset()
            except (ApiError, ConnectionError, RequestRefused, TimeoutError, ValueError, OSError) as error:
                RENEWALS_FAILED.inc()
                delay = backoff.next()
                log.warning("Certificate not renewed yet", signer=wanted.signer, err=error or "not signed in time", delay=round(delay, 1))
                await self._clock.sleep(delay)

    async def renew(self, wanted: Wanted) -> Pair:
        """Raises ApiError, ConnectionError, RequestRefused, ValueError, OSError."""
        key = new_key()
        request = await ask(self._client, await fitted(self._client, wanted), key)
        log.info("Certificate requested", signer=wanted.signer, request=request["metadata"]["name"])
        pair = self._store.put(await issued(self._client, request) + key, self._clock.now())
        self._fraction = random.random()
        log.info("Certificate renewed", signer=wanted.signer, subject=pair.subject, path=str(self._store.path))
        return pair
