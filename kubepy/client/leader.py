"""Leader election by Lease (`client-go/tools/leaderelection`): of all who ask, one works.

    await LeaderElector(client, "kube-scheduler", identity).run(work)

Fencing: `work` is cancelled as soon as the lease has not been renewed for `renew_deadline`, which is shorter than the
`lease_duration` after which another may take it; time is counted from before the request that renewed it was sent.
On stop the lease is released, so that the next one need not wait.
"""
from __future__ import annotations

import asyncio
import random
import socket
import uuid
from collections.abc import Awaitable, Callable

from kubepy.api.errors import AlreadyExists, ApiError, NotFound
from kubepy.api.resource import LEASES
from kubepy.api.types import Object
from kubepy.base.clock import Clock, SystemClock, format_micro_time
from kubepy.base.log import get_logger
from kubepy.base.metrics import gauge
from kubepy.base.task import Tasks
from kubepy.client.interface import Client

log = get_logger("leaderelection")

STATUS = gauge("leader_election_master_status", "Gauge of if the reporting system is master of the relevant lease, 0 indicates backup, "
               "1 indicates master. 'name' is the string used to identify the lease.", ("name",))


class LeadershipLost(Exception):
    """The lease could not be renewed in time; the work has been stopped."""


def new_identity() -> str:
    """Unique for each process: `host_uuid`, as upstream."""
    return f"{socket.gethostname()}_{uuid.uuid4()}"


class LeaderElector:
    """`lease_duration` > `renew_deadline` > `retry_period`, in seconds."""

    def __init__(self, client: Client, name: str, identity: str, *, namespace: str = "kube-system", lease_duration: float = 15.0,
                 renew_deadline: float = 10.0, retry_period: float = 2.0, clock: Clock | None = None,
                 on_elected: Callable[[Object], None] | None = None) -> None:
        if not lease_duration > renew_deadline > retry_period * 1.2 > 0:
            raise ValueError("leader election needs lease duration > renew deadline > 1.2 × retry period > 0")
        self.identity = identity
        self._client, self._name, self._namespace = client, name, namespace
        self._lease_duration, self._renew_deadline, self._retry_period = lease_duration, renew_deadline, retry_period
        self._clock = clock or SystemClock()
        self._on_elected = on_elected
        self._lease: Object | None = None
        self._seen: Object | None = None
        self._seen_at = self._renewed_at = 0.0
        self._leads = False
        self._stale = True
        STATUS.labels(name).set(0)

    @property
    def leads(self) -> bool:
        return self._leads

    def healthy(self) -> bool:
        """Not leading, or the lease is renewed in time (with upstream's 20 s of tolerance)."""
        return not self._leads or self._clock.monotonic() - self._renewed_at < self._lease_duration + 20.0

    async def run(self, work: Callable[[], Awaitable[None]]) -> None:
        """Waits for the lease, then works. Returns when `work` does; raises LeadershipLost when the lease is lost."""
        await self._acquire()
        tasks = Tasks(f"leader/{self._name}", self._clock)
        try:
            working = tasks.start(_as_coroutine(work), "work")
            fence = tasks.start(self._fence(), "fence")
            tasks.start(self._renew(), "renew")
            await asyncio.wait({working, fence}, return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                working.result()
            else:
                log.error("Lost the lease, stopping", lease=self._name, identity=self.identity)
                raise LeadershipLost(f"lease {self._namespace}/{self._name} could not be renewed in time")
        finally:
            await tasks.stop()
            self._leads = False
            STATUS.labels(self._name).set(0)
            await self._release()

    async def _acquire(self) -> None:
        log.info("Attempting to acquire leader lease", lease=f"{self._namespace}/{self._name}", identity=self.identity)
        while not await self._try():
            await self._clock.sleep(self._retry_period * random.uniform(1.0, 1.2))
        self._leads = True
        STATUS.labels(self._name).set(1)
        log.info("Acquired lease", lease=f"{self._namespace}/{self._name}", identity=self.identity)
        if self._on_elected is not None and self._lease is not None:
            self._on_elected(self._lease)

    async def _renew(self) -> None:
        while True:
            await self._clock.sleep(self._retry_period)
            await self._try()

    async def _fence(self) -> None:
        """Ends when the lease has gone unrenewed, or someone else was seen to hold it."""
        while self._holder() == self.identity:
            remaining = self._renewed_at + self._renew_deadline - self._clock.monotonic()
            if remaining <= 0:
                return
            await self._clock.sleep(min(remaining, self._retry_period / 2))

    def _holder(self) -> str:
        return str(((self._lease or {}).get("spec") or {}).get("holderIdentity") or "")

    async def _try(self) -> bool:
        """One attempt to take or renew the lease."""
        began = self._clock.monotonic()
        try:
            held = await self._take()
        except (ApiError, ConnectionError) as error:
            log.warning("Cannot take the lease", lease=self._name, err=error)
            self._stale = True  # the write may have happened: read before the next attempt
            return False
        if held:
            self._renewed_at = began
        return held

    async def _take(self) -> bool:
        now = format_micro_time(self._clock.now())
        spec: Object = {"holderIdentity": self.identity, "leaseDurationSeconds": int(self._lease_duration), "renewTime": now}
        lease = self._lease
        if lease is None or self._stale:
            try:
                lease = await self._client.get(LEASES, self._name, self._namespace)
            except NotFound:
                body = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
                        "metadata": {"name": self._name, "namespace": self._namespace},
                        "spec": {**spec, "acquireTime": now, "leaseTransitions": 0}}
                try:
                    self._note(await self._client.create(LEASES, body))
                except AlreadyExists:
                    return False
                return True
            self._note(lease, fresh=False)
        old = lease.get("spec") or {}
        holder = old.get("holderIdentity") or ""
        if holder == self.identity:
            spec = {**old, **spec}
        else:
            duration = float(old.get("leaseDurationSeconds") or 0)
            if holder and self._clock.monotonic() < self._seen_at + duration:
                self._stale = True  # it is someone's: look again next time
                return False
            spec = {**old, **spec, "acquireTime": now, "leaseTransitions": (old.get("leaseTransitions") or 0) + 1}
        self._note(await self._client.update(LEASES, {**lease, "spec": spec}))
        return True

    def _note(self, lease: Object, fresh: bool = True) -> None:
        """Remembers the lease; the holder's time runs from when we first saw its renewal, by our own clock."""
        self._lease, self._stale = lease, not fresh
        if lease.get("spec") != self._seen:
            self._seen, self._seen_at = lease.get("spec"), self._clock.monotonic()

    async def _release(self) -> None:
        if self._lease is None or self._holder() != self.identity:
            return
        now = format_micro_time(self._clock.now())
        spec = {**(self._lease.get("spec") or {}), "leaseDurationSeconds": 1, "renewTime": now, "acquireTime": now}
        del spec["holderIdentity"]  # an empty one is invalid
        try:
            async with asyncio.timeout(2):
                self._lease = await self._client.update(LEASES, {**self._lease, "spec": spec})
            log.info("Released lease", lease=f"{self._namespace}/{self._name}")
        except (ApiError, OSError) as error:
            log.warning("Cannot release the lease; it will expire", lease=self._name, err=error)


async def _as_coroutine(work: Callable[[], Awaitable[None]]) -> None:
    await work()
