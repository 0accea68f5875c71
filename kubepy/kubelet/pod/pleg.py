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
from kubepy.kubelet.pod.observed import Seen, container_state, sandbox_state

log = get_logger("pleg")
POLL, POLL_WITH_EVENTS = 1.0, 30.0


class Pleg:
    """Calls `changed(uid, seen)` for each pod whose sandboxes or containers have changed state."""

    def __init__(self, runtime: Runtime, clock: Clock, changed: Callable[[str, Seen], None]) -> None:
        self._runtime = runtime
        self._clock = clock
        self._changed = changed
        self._known: dict[str, dict[str, str]] = {}
        """By pod UID the states of its sandboxes and containers."""
        self._events = False
        self.relisted_at = 0.0
        """Monotonic time of the last successful look; the node is not healthy when it is long ago."""

    def unseen(self, uid: str) -> bool:
        """Whether the runtime had nothing of the pod when it was looked at last."""
        return self.relisted_at > 0 and uid not in self._known

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
        seen: dict[str, dict[str, str]] = {}
        for sandbox in sandboxes:
            seen.setdefault(sandbox.metadata.uid, {})[sandbox.id] = sandbox_state(sandbox.state == pb.SANDBOX_READY)
        for container in containers:
            seen.setdefault(container.labels.get(podspec.POD_UID, ""), {})[container.id] = container_state(container.state)
        if self.relisted_at:
            metric.RELIST_INTERVAL.observe(began - self.relisted_at)
        self.relisted_at = now = self._clock.monotonic()
        metric.LAST_SEEN.set(self._clock.now())
        metric.RELIST_SECONDS.observe(self.relisted_at - began)
        metric.RUNNING_PODS.set(sum(1 for sandbox in sandboxes if sandbox.state == pb.SANDBOX_READY))
        for name, state in (("running", pb.CONTAINER_RUNNING), ("exited", pb.CONTAINER_EXITED), ("created", pb.CONTAINER_CREATED)):
            metric.RUNNING_CONTAINERS.labels(name).set(sum(1 for container in containers if container.state == state))
        before, self._known = self._known, seen
        for uid in [*seen, *(uid for uid in before if uid not in seen)]:
            if before.get(uid) != seen.get(uid):
                self._changed(uid, Seen(seen.get(uid, {}), now))

    async def _listen(self) -> None:
        try:
            async for event in self._runtime.events():
                self._events = True
                sandbox = event.pod_sandbox_status
                if sandbox.metadata.uid:
                    states = {status.id: container_state(status.state) for status in event.containers_statuses}
                    states[sandbox.id] = sandbox_state(sandbox.state == pb.SANDBOX_READY)
                    self._known.setdefault(sandbox.metadata.uid, {}).update(states)
                    self._changed(sandbox.metadata.uid, Seen(states, self._clock.monotonic()))
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
