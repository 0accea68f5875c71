"""Keeps the probes of running containers going and remembers what they found (upstream's prober manager and workers)."""
from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable
from functools import partial

from kubepy.api.types import Object
from kubepy.base.clock import Clock
from kubepy.base.log import get_logger
from kubepy.base.task import Tasks
from kubepy.client.events import Recorder
from kubepy.kubelet import metric
from kubepy.kubelet.cri.interface import Runtime
from kubepy.kubelet.pod import spec as podspec
from kubepy.kubelet.pod.observed import RUNNING, ContainerView, PodView
from kubepy.kubelet.pod.plan import Probed
from kubepy.kubelet.probe.prober import Outcome, probe

log = get_logger("probe")
_KINDS = (("startupProbe", "Startup"), ("livenessProbe", "Liveness"), ("readinessProbe", "Readiness"))


class Probes:
    """Results by container ID. `changed(uid)` is called when one changes."""

    def __init__(self, runtime: Runtime, events: Recorder, clock: Clock, changed: Callable[[str], None], host_ip: str = "") -> None:
        self._host_ip = host_ip
        self._runtime = runtime
        self._events = events
        self._clock = clock
        self._changed = changed
        self._tasks = Tasks("probe", clock)
        self._running: dict[tuple[str, str, str], asyncio.Task[None]] = {}
        self._results: dict[tuple[str, str], bool] = {}
        self._began = clock.monotonic()
        self._pods: dict[str, Object] = {}

    def sync(self, pod: Object, view: PodView) -> None:
        """Starts the probes of containers that run now and stops those of containers that do not."""
        uid = podspec.uid_of(pod)
        self._pods[uid] = pod
        wanted = {}
        for container in (*podspec.init_containers(pod), *podspec.containers(pod)):
            if podspec.is_init(pod, container["name"]) and not podspec.is_sidecar(container):
                continue
            instance = view.newest(container["name"])
            if instance is None or instance.state != RUNNING:
                continue
            for field, kind in _KINDS:
                if container.get(field):
                    wanted[(uid, instance.id, kind)] = (container, container[field], instance)
        for key in [key for key in self._running if key[0] == uid and key not in wanted]:
            self._stop(key)
        for key, (container, spec, instance) in wanted.items():
            if key not in self._running:
                if key[2] == "Liveness":
                    self._results.setdefault((instance.id, "Liveness"), True)
                elif key[2] == "Readiness":
                    self._results.setdefault((instance.id, "Readiness"), self._was_ready(pod, container["name"], instance))
                elif self._was_ready(pod, container["name"], instance, "started"):
                    self._results.setdefault((instance.id, "Startup"), True)
                ip = view.sandbox.ips[0] if view.sandbox is not None and view.sandbox.ips else self._host_ip
                self._running[key] = self._tasks.keep(partial(self._run, uid, container, spec, instance, key[2], ip),
                                                      f"{key[2]}/{container['name']}")

    def _was_ready(self, pod: Object, name: str, instance: ContainerView, field: str = "ready") -> bool:
        """A container that ran before the kubelet did keeps what its status said, so that a restart disturbs nothing."""
        status = pod.get("status") or {}
        for entry in (*(status.get("containerStatuses") or ()), *(status.get("initContainerStatuses") or ())):
            if entry["name"] == name and entry.get("containerID", "").endswith(f"//{instance.id}"):
                return bool(entry.get(field))
        return False

    async def _run(self, uid: str, container: Object, spec: Object, instance: ContainerView, kind: str, ip: str) -> None:
        period = float(spec.get("periodSeconds") or 10)
        if self._clock.monotonic() - self._began < period:
            # After a restart of the kubelet all probes would begin at once.
            age = self._clock.now() - instance.started_at
            if age > period:
                await self._clock.sleep(random.random() * period)
        delay = float(spec.get("initialDelaySeconds") or 0) - (self._clock.now() - instance.started_at)
        if delay > 0:
            await self._clock.sleep(delay)
        runs, last = 0, None
        while True:
            if kind != "Startup" and container.get("startupProbe") and self._results.get((instance.id, "Startup")) is not True:
                await self._clock.sleep(min(period, 1.0))
                continue
            if kind == "Startup" and self._results.get((instance.id, kind)) is True:
                return
            outcome = await self._once(container, spec, instance, ip)
            if outcome.ok is not None:
                self._say(uid, container, kind, outcome)
                runs = runs + 1 if outcome.ok == last else 1
                last = outcome.ok
                threshold = int(spec.get("successThreshold") or 1) if outcome.ok else int(spec.get("failureThreshold") or 3)
                if runs >= threshold and self._results.get((instance.id, kind)) != outcome.ok:
                    self._results[(instance.id, kind)] = outcome.ok
                    log.v(2).info("Probe result changed", kind=kind, container=container["name"], ok=outcome.ok)
                    self._changed(uid)
                if runs >= threshold and not outcome.ok and kind != "Readiness":
                    return  # on hold: the container will be killed, and its successor is probed anew
            await self._clock.sleep(period)

    async def _once(self, container: Object, spec: Object, instance: ContainerView, ip: str) -> Outcome:
        for _ in range(3):
            outcome = await probe(self._runtime, container, instance.id, spec, ip)
            if outcome.ok is not None:
                return outcome
        log.v(2).info("Probe errored", container=container["name"], output=outcome.output)
        return outcome

    def _say(self, uid: str, container: Object, kind: str, outcome: Outcome) -> None:
        pod = self._pods.get(uid)
        if pod is not None:
            metric.PROBES.labels(kind, "successful" if outcome.ok else "failed", container["name"], pod["metadata"]["name"],
                                 pod["metadata"].get("namespace") or "default").inc()
        if pod is not None and (outcome.warning or not outcome.ok):
            reason, how = ("ProbeWarning", "warning") if outcome.ok else ("Unhealthy", "failed")
            part = "initContainers" if podspec.is_init(pod, container["name"]) else "containers"
            self._events.event(pod, "Warning", reason, f"{kind} probe {how}: {outcome.output}",
                             field_path=f"spec.{part}{{{container['name']}}}")

    def probed(self, view: PodView) -> Probed:
        """For the plan."""
        ids = [container.id for container in view.containers if container.state == RUNNING]
        return Probed({key: self._results[(key, "Liveness")] for key in ids if (key, "Liveness") in self._results},
                      {key: self._results[(key, "Startup")] for key in ids if (key, "Startup") in self._results})

    def ready(self, pod: Object, view: PodView) -> tuple[dict[str, bool], dict[str, bool]]:
        """For the status: readiness and startup by container ID, where there is such a probe."""
        ready, started = {}, {}
        for instance in view.containers:
            if instance.state != RUNNING:
                continue
            container = podspec.find_container(pod, instance.name) or {}
            if container.get("readinessProbe"):
                ready[instance.id] = self._results.get((instance.id, "Readiness"), False)
            if container.get("startupProbe"):
                started[instance.id] = self._results.get((instance.id, "Startup")) is True
        return ready, started

    def stop_for_termination(self, uid: str) -> None:
        """While a pod ends only its readiness is asked."""
        for key in [key for key in self._running if key[0] == uid and key[2] != "Readiness"]:
            self._stop(key)

    def forget(self, uid: str) -> None:
        for key in [key for key in self._running if key[0] == uid]:
            self._stop(key)
        pod = self._pods.pop(uid, None)
        for container in podspec.every_container(pod) if pod is not None else ():
            for kind in ("Startup", "Liveness", "Readiness"):
                for result in ("successful", "failed"):
                    with contextlib.suppress(KeyError):
                        metric.PROBES.remove(kind, result, container["name"], pod["metadata"]["name"],  # type: ignore[index]
                                             pod["metadata"].get("namespace") or "default")  # type: ignore[index]

    def _stop(self, key: tuple[str, str, str]) -> None:
        self._running.pop(key).cancel()
        self._results.pop((key[1], key[2]), None)
