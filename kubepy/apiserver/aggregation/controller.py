"""Follows APIServices, services and endpoint slices, probes the servers behind them, and writes the Available condition.

What a server answers to the probe, its resource list, is also what discovery shows of it. Every process probes for itself: each needs the
documents, and the condition is written only where it changes.
"""
from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

from kubepy.api.errors import ApiError, NotFound
from kubepy.api.meta import set_condition
from kubepy.api.resource import ENDPOINT_SLICES, SERVICES
from kubepy.api.service import SERVICE_LABEL
from kubepy.api.types import Object
from kubepy.apiserver.aggregation import availability
from kubepy.apiserver.aggregation.availability import PASSED, Condition
from kubepy.apiserver.aggregation.dial import Dialer
from kubepy.apiserver.aggregation.table import API_SERVICES, Remote, Table
from kubepy.apiserver.request import Context, RequestInfo, User
from kubepy.apiserver.server import Server
from kubepy.apiserver.storage.feed import Feed
from kubepy.apiserver.storage.interface import Entry, Event
from kubepy.apiserver.verbs.update import guaranteed_update
from kubepy.apiserver.webhook.endpoint import slices_of
from kubepy.base.clock import format_time
from kubepy.base.log import get_logger
from kubepy.base.metrics import counter, gauge

log = get_logger("aggregation")
PROBE_SECONDS = 30.0
"""How often a server is asked when nothing happens."""
FIRST_RETRY = 1.0
"""After a server did not answer; twice as long each time. (Upstream begins with 5 s: its servers take longer to start.)"""
ATTEMPTS = 5
SYSTEM = User("system:apiserver", "", ("system:masters", "system:authenticated"))
UNAVAILABLE = gauge("aggregator_unavailable_apiservice", "Gauge of APIServices which are marked as unavailable broken down by APIService "
                    "name.", ("name",))
UNAVAILABLE_TOTAL = counter("aggregator_unavailable_apiservice_total", "Counter of APIServices which are marked as unavailable broken down "
                            "by APIService name and reason.", ("name", "reason"), apart=True)


class Controller:
    def __init__(self, server: Server, table: Table, dialer: Dialer) -> None:
        self._server = server
        self._table = table
        self._dialer = dialer
        self._wake = asyncio.Event()
        self._dirty: set[tuple[str, str]] = set()
        self._due: dict[tuple[str, str], float] = {}
        self._delays: dict[tuple[str, str], float] = {}
        self._feeds: list[Feed] = []

    def start(self) -> None:
        services, tasks = self._server.services, self._server.tasks
        feeds = {"apiservices": Feed(services.store(API_SERVICES), self._replace, self._apply),
                 "services": Feed(services.store(SERVICES), lambda entries: None, self._touched_service),
                 "endpointslices": Feed(services.store(ENDPOINT_SLICES), lambda entries: None, self._touched_slice)}
        self._feeds = list(feeds.values())
        for name, feed in feeds.items():
            tasks.keep(feed.run, f"aggregation/{name}", maximum=5.0)
        tasks.keep(self._run, "aggregation/availability", maximum=5.0)

    def _replace(self, entries: Sequence[Entry]) -> None:
        self._table.keep_only({entry.name for entry in entries})
        for entry in entries:
            self._table.put(entry.decode())
        self._mark(self._table.remotes)

    def _apply(self, event: Event) -> None:
        if event.type == "DELETED":
            self._table.remove(event.entry.name)
            return
        obj = event.entry.decode()
        self._table.put(obj)
        spec = obj.get("spec") or {}
        self._mark([(spec.get("group", ""), spec.get("version", ""))])

    def _touched_service(self, event: Event) -> None:
        self._touch(event.entry.namespace, event.entry.name)

    def _touched_slice(self, event: Event) -> None:
        self._touch(event.entry.namespace, event.entry.labels.get(SERVICE_LABEL, ""))

    def _touch(self, namespace: str, service: str) -> None:
        if self._table.remotes:
            self._mark([key for key, one in self._table.remotes.items() if (one.namespace, one.service) == (namespace, service)])

    def _mark(self, keys: Sequence[tuple[str, str]] | dict[tuple[str, str], Remote]) -> None:
        if keys:
            self._dirty.update(keys)
            self._wake.set()

    async def _run(self) -> None:
        for feed in self._feeds:
            await feed.ready.wait()
        clock = self._server.clock
        while True:
            self._due = {key: when for key, when in self._due.items() if key in self._table.remotes}
            due = min(self._due.values(), default=None)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if due is None else max(0.0, due - clock.monotonic())):
                    await self._wake.wait()
            self._wake.clear()
            now, remotes = clock.monotonic(), self._table.remotes
            dirty = self._dirty | {key for key, when in self._due.items() if when <= now}
            self._dirty = set()
            await asyncio.gather(*(self._sync(key, remotes[key]) for key in dirty if key in remotes))

    async def _sync(self, key: tuple[str, str], remote: Remote) -> None:
        delay = PROBE_SECONDS
        try:
            condition = await self._examine(remote)
            if condition.reason == "FailedDiscoveryCheck":
                delay = self._delays.get(key, FIRST_RETRY)
                self._delays[key] = min(PROBE_SECONDS, delay * 2)
            else:
                self._delays.pop(key, None)
            await self._write(remote, condition)
        except ApiError as error:
            log.warning("Cannot record whether an API service is available", name=remote.name, err=error.message)
        self._due[key] = self._server.clock.monotonic() + delay

    async def _examine(self, remote: Remote) -> Condition:
        services = self._server.services
        try:
            service: Object | None = (await services.store(SERVICES).get(remote.namespace, remote.service, resource_version="0")).decode()
        except NotFound:
            service = None
        slices = await slices_of(services, remote.namespace, remote.service) if service is not None else []
        found = availability.check(remote, service, slices)
        if found is not None:
            return found
        url, why = remote.path, ""
        for _ in range(ATTEMPTS):
            url, answer, why = await self._dialer.get(remote, remote.path)
            if answer is None:
                continue
            if 200 <= answer.status < 300:
                await self._learn(remote, answer.json())
                return PASSED
            why = f"bad status from {url}: {answer.status}"
        return availability.failed(url, why)

    async def _learn(self, remote: Remote, listed: object) -> None:
        """Keeps what the server tells of itself."""
        resources = listed.get("resources") if isinstance(listed, dict) else None
        found = [item for item in resources or () if isinstance(item, dict) and item.get("name")]
        _, index, _ = await self._dialer.get(remote, "/openapi/v3")
        paths: dict[str, str] = {}
        swagger = None
        if index is not None and index.status == 200 and isinstance(body := index.json(), dict):
            paths = {str(name): str(item.get("serverRelativeURL") or f"/openapi/v3/{name}")
                     for name, item in (body.get("paths") or {}).items()
                     if isinstance(item, dict) and str(name) in (f"apis/{remote.group}", remote.path[1:])}
        _, document, _ = await self._dialer.get(remote, "/openapi/v2")
        if document is not None and document.status == 200 and isinstance(body := document.json(), dict):
            swagger = body
        if (found, paths, swagger) != (remote.resources, remote.openapi, remote.swagger):
            remote.resources, remote.openapi, remote.swagger = found, paths, swagger
            self._table.generation += 1

    async def _write(self, remote: Remote, condition: Condition) -> None:
        good = condition.status == "True"
        UNAVAILABLE.labels(remote.name).set(0 if good else 1)
        entry = self._server.services.store(API_SERVICES).cached("", remote.name)
        if entry is None or _current(entry.decode()) == condition:
            return
        if not good:
            UNAVAILABLE_TOTAL.labels(remote.name, condition.reason).inc()
        kind = self._server.kinds.of(API_SERVICES)
        info = RequestInfo(API_SERVICES.path(None, remote.name) + "/status", "update", True, API_SERVICES.group, API_SERVICES.version,
                           API_SERVICES.plural, "status", "", remote.name, (API_SERVICES.plural, remote.name, "status"))
        now = format_time(self._server.clock.now())

        async def change(old: Object) -> Object:
            status = old.get("status") or {}
            conditions = set_condition(status.get("conditions") or [], {"type": "Available", **condition._asdict()}, now)
            return {**old, "metadata": dict(old["metadata"]), "status": {**status, "conditions": conditions}}

        try:
            await guaranteed_update(self._server, Context(SYSTEM, info, kind, user_agent="kube-apiserver/v1.36.0"), change)
        except NotFound:
            return
        log.info("API service changed", name=remote.name, available=condition.status, reason=condition.reason)


def _current(obj: Object) -> Condition | None:
    for item in (obj.get("status") or {}).get("conditions") or ():
        if item.get("type") == "Available":
            return Condition(item.get("status", ""), item.get("reason", ""), item.get("message", ""))
    return None
