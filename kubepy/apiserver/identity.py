"""The lease by which the API servers of a cluster know of each other: `apiserver-HASH` in kube-system, renewed every 10 s
(APIServerIdentity). Leases of servers that have been silent for an hour are removed, by each server, once an hour.

Known difference: the processes of one server (`--workers`) share its lease.
"""
from __future__ import annotations

import base64
import hashlib
import platform
from collections.abc import Iterable

from kubepy.api.errors import NotFound
from kubepy.api.resource import LEASES
from kubepy.api.types import Object
from kubepy.apiserver.ensure import ensure
from kubepy.apiserver.server import Server
from kubepy.apiserver.storage.interface import Entry
from kubepy.base.clock import format_micro_time, parse_time
from kubepy.base.log import get_logger
from kubepy.base.uid import random_uid

log = get_logger("identity")
NAMESPACE, LABEL, COMPONENT = "kube-system", "apiserver.kubernetes.io/identity", "kube-apiserver"
LEASE_SECONDS, RENEW_SECONDS, CLEAN_SECONDS = 3600, 10.0, 3600.0


def lease_name(host: str) -> str:
    digest = hashlib.sha256(host.encode()).digest()[:16]
    return f"apiserver-{base64.b32encode(digest).decode().rstrip('=').lower()}"


def renewed(lease: Object, holder: str, now: float) -> Object:
    """The lease as this server's, renewed. A restarted server takes over what it was before; others of its host do not fight over it."""
    spec = lease.get("spec") or {}
    if now - parse_time(spec.get("renewTime") or "1970-01-01T00:00:00Z") < RENEW_SECONDS / 2:
        return lease
    return {**lease, "spec": {**spec, "holderIdentity": holder, "leaseDurationSeconds": LEASE_SECONDS, "renewTime": format_micro_time(now)}}


def expired(leases: Iterable[Object], now: float) -> list[str]:
    """Names of leases of API servers that have not been renewed for as long as they last."""
    found = []
    for lease in leases:
        spec = lease.get("spec") or {}
        lasts, since = spec.get("leaseDurationSeconds"), spec.get("renewTime")
        if (lease["metadata"].get("labels") or {}).get(LABEL) == COMPONENT \
                and (lasts is None or since is None or parse_time(since) + lasts < now):
            found.append(lease["metadata"]["name"])
    return found


class Identity:
    def __init__(self, server: Server) -> None:
        self._server, self._host = server, platform.node()
        self.name = lease_name(self._host)
        self._holder = f"{self.name}_{random_uid()}"

    async def once(self) -> None:
        """Makes the lease, or renews it. A server started anew is another holder at once."""
        now = self._server.clock.now()
        spec = {"holderIdentity": self._holder, "leaseDurationSeconds": LEASE_SECONDS, "renewTime": format_micro_time(now)}
        labels = {LABEL: COMPONENT, "kubernetes.io/hostname": self._host}
        if await ensure(self._server, LEASES, {"metadata": {"name": self.name, "labels": labels}, "spec": spec}, NAMESPACE):
            return

        async def change(entry: Entry) -> Object:
            return renewed(entry.decode(), self._holder, now)

        await self._server.services.store(LEASES).update(NAMESPACE, self.name, change)

    async def renew(self) -> None:
        while True:
            await self._server.clock.sleep(RENEW_SECONDS)
            await self.once()

    async def clean(self) -> None:
        while True:
            store = self._server.services.store(LEASES)
            listed = await store.list(NAMESPACE)
            for name in expired((entry.decode() for entry in listed.entries), self._server.clock.now()):
                try:
                    await store.delete(NAMESPACE, name)
                except NotFound:
                    continue
                log.info("Removed the lease of an API server that has been silent", lease=name)
            await self._server.clock.sleep(CLEAN_SECONDS)
