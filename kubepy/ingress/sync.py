"""Watches what the plan is made of, applies it, and tells users: events for what cannot be served, status with the addresses."""
from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from kubepy.api.errors import ApiError, NotFound
from kubepy.api.resource import ENDPOINT_SLICES, INGRESS_CLASSES, INGRESSES, SECRETS, SERVICES
from kubepy.api.service import SLICES, service_keys
from kubepy.api.types import Object
from kubepy.base.log import get_logger
from kubepy.client.events import Recorder
from kubepy.client.informer import InformerFactory
from kubepy.client.interface import Client
from kubepy.client.store import key_of
from kubepy.ingress.plan import Plan, Sources, plan
from kubepy.ingress.process import Nginx, Refused
from kubepy.ingress.state import State

log = get_logger("ingress")

RETRY_SECONDS = 5.0


class Syncer:
    """`addresses` is what `status.loadBalancer.ingress` gets; `interval` the least time between two reloads, in seconds."""

    def __init__(self, client: Client, factory: InformerFactory, nginx: Nginx, recorder: Recorder, addresses: list[dict[str, str]],
                 interval: float) -> None:
        self._client, self._factory, self._nginx, self._recorder = client, factory, nginx, recorder
        self._addresses, self._interval = addresses, interval
        self._changed = asyncio.Event()
        self._applied: State | None = None
        self._told: set[tuple[str, str, str]] = set()
        self._published: set[str] = set()
        self._ingresses = factory.informer(INGRESSES)
        self._classes = factory.informer(INGRESS_CLASSES)
        self._services = factory.informer(SERVICES)
        self._slices = factory.informer(ENDPOINT_SLICES)
        self._secrets = factory.informer(SECRETS, field_selector="type=kubernetes.io/tls")
        self._slices.add_index(SLICES, service_keys)
        for informer in (self._ingresses, self._classes, self._services, self._slices, self._secrets):
            informer.add_handler(self._note, lambda _, new: self._note(new), self._note)

    @property
    def synced(self) -> bool:
        """The first configuration runs."""
        return self._applied is not None and self._nginx.running

    def _note(self, obj: Object) -> None:
        self._changed.set()

    async def run(self) -> None:
        await self._factory.wait_synced()
        self._changed.set()
        while True:
            await self._changed.wait()
            self._changed.clear()
            found = plan(self._sources())
            try:
                await self._apply(found)
            except (Refused, OSError) as error:
                log.error("Cannot configure nginx; what ran before stays", error)
                self._retry_later()
            self._tell(found)
            if not await self._publish(found.ours):
                self._retry_later()
            await asyncio.sleep(self._interval)

    def _retry_later(self) -> None:
        asyncio.get_running_loop().call_later(RETRY_SECONDS, self._changed.set)

    def _sources(self) -> Sources:
        def by_name(informer: Any) -> Any:
            return lambda namespace, name: informer.lister.by_key(f"{namespace}/{name}")

        return Sources(list(self._ingresses.lister), list(self._classes.lister), by_name(self._services),
                       lambda namespace, name: self._slices.lister.by_index(SLICES, f"{namespace}/{name}"), by_name(self._secrets))

    async def _apply(self, found: Plan) -> None:
        if found.state != self._applied:
            await self._nginx.apply(found.state)
            self._applied = found.state
            log.info("Configured", sites=len(found.state.sites), backends=len(found.state.backends))

    def _tell(self, found: Plan) -> None:
        """One event for each new problem; one that comes back after it was solved is told again."""
        now = {(key_of(problem.ingress), problem.reason, problem.message): problem for problem in found.problems}
        for key, problem in now.items():
            if key not in self._told:
                self._recorder.event(problem.ingress, "Warning", problem.reason, problem.message)
        self._told = set(now)

    async def _publish(self, ours: Iterable[Object]) -> bool:
        """Writes the addresses where they are not yet, and takes them from Ingresses that are no longer ours."""
        done = True
        current = {key_of(ingress): ingress for ingress in ours}
        gone = [obj for key in self._published - current.keys() if (obj := self._ingresses.lister.by_key(key)) is not None]
        for ingress, wanted in [*((each, self._addresses) for each in current.values()), *((each, None) for each in gone)]:
            balancer = (ingress.get("status") or {}).get("loadBalancer") or {}
            if (balancer.get("ingress") or None) == wanted:
                continue
            metadata = ingress["metadata"]
            try:
                await self._client.patch(INGRESSES, metadata["name"], {"status": {"loadBalancer": {"ingress": wanted}}},
                                         metadata["namespace"], subresource="status")
            except NotFound:
                continue
            except (ApiError, ConnectionError) as error:
                log.warning("Cannot write the status of an Ingress yet", ingress=key_of(ingress), err=error)
                done = False
        if done:
            self._published = set(current)
        return done
