"""Notices what happens in the runtime: its events where it has them, and in any case a look every so often (upstream's PLEG)."""
from __future__ import annotations

from collections.abc import Callable

from kubepy.base.clock import Clock
from kubepy.base.log import get_logger
from kubepy.base.task import Tasks
from kubepy.kubelet import metric
from kubepy.kubelet.cri import runtime_pb2 as pb
from kubepy.kubelet.cri.interface import CriError, Runtime
from kubepy.kubelet.pod import spec as podspec

log = get_logger("pleg")
POLL, POLL_WITH_EVENTS = 1.0, 30.0


class Pleg:
    """Calls `changed(uid)` for each pod whose sandboxes or containers have changed state."""

    def __init__(self, runtime: Runtime, clock: Clock, changed: Callable[[str], None]) -> None:
        self._runtime = runtime
        self._clock = clock
        self._changed = changed
        self._known: dict[str, tuple[str, int]] = {}
        self._events = False
        self.relisted_at = 0.0
        """Monotonic time of the last successful look; the node is not healthy when it is long ago."""

    async def run(self) -> None:
        tasks = Tasks("pleg", self._clock)
        tasks.keep(self._listen, "events")
        try:
            while True:
                try:
                    await self.relist()
                except CriError as error:
                    log.warning("Cannot list containers", err=error)
                await self._clock.sleep(POLL_WITH_EVENTS if self._events else POLL)
        finally:
            await tasks.stop()

    async def relist(self) -> None:
        began = self._clock.monotonic()
        sandboxes, containers = await self._runtime.list_sandboxes(), await self._runtime.list_containers()
        seen = {sandbox.id: (sandbox.metadata.uid, int(sandbox.state)) for sandbox in sandboxes}
        for container in containers:
            seen[container.id] = (container.labels.get(podspec.POD_UID, ""), int(container.state))
        if self.relisted_at:
            metric.RELIST_INTERVAL.observe(began - self.relisted_at)
        self.relisted_at = self._clock.monotonic()
        metric.LAST_SEEN.set(self._clock.now())
        metric.RELIST_SECONDS.observe(self.relisted_at - began)
        metric.RUNNING_PODS.set(sum(1 for sandbox in sandboxes if sandbox.state == pb.SANDBOX_READY))
        for name, state in (("running", pb.CONTAINER_RUNNING), ("exited", pb.CONTAINER_EXITED), ("created", pb.CONTAINER_CREATED)):
            metric.RUNNING_CONTAINERS.labels(name).set(sum(1 for container in containers if container.state == state))
        changed = {entry[0] for key, entry in seen.items() if self._known.get(key) != entry}
        changed |= {entry[0] for key, entry in self._known.items() if key not in seen}
        self._known = seen
        for uid in changed:
            self._changed(uid)

    async def _listen(self) -> None:
        try:
            async for event in self._runtime.events():
                self._events = True
                uid = event.pod_sandbox_status.metadata.uid
                if uid:
                    self._changed(uid)
        except CriError as error:
            self._events = False
            metric.EVENTED_ERRORS.inc()
            if error.code == "UNIMPLEMENTED":
                log.v(2).info("The runtime has no events; looking every second")
                await self._clock.sleep(600)
                return
            raise
        self._events = False
        raise ConnectionError("the runtime ended its event stream")
