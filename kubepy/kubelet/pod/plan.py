"""What to do next for a pod: from its spec and what the runtime shows, the next actions. Pure.

Follows upstream's `computePodActions`: one sandbox, init containers one after another (restartable ones stay and the next may
start once they have started), then all containers; what ended is started again as its restart policy says, after a back-off;
what failed its liveness or startup probe, or has another image now, is killed first. Differs from upstream in form only: init
containers of an earlier sandbox do not count, instead of being purged when a new sandbox is made.
"""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from kubepy.api.types import Object
from kubepy.kubelet.pod import spec as podspec
from kubepy.kubelet.pod.backoff import KeyedBackoff, show
from kubepy.kubelet.pod.observed import CREATED, EXITED, RUNNING, UNKNOWN, ContainerView, PodView, SandboxView


@dataclass(frozen=True, slots=True)
class Kill:
    """Stop one instance, gracefully; `reason` names why for the log, `message` is the event's."""

    id: str
    name: str
    message: str
    reason: Literal["", "liveness", "startup"] = ""


@dataclass(frozen=True, slots=True)
class Start:
    name: str
    attempt: int
    finished_at: float = 0.0
    """When the instance before it ended; 0 for the first."""


@dataclass(frozen=True, slots=True)
class Plan:
    """In this order: end the pod, or replace its sandbox, kill, start; look again when `wake` seconds have passed."""

    end: bool = False
    """Nothing is left to run: stop what is there."""
    create_sandbox: bool = False
    attempt: int = 0
    kills: tuple[Kill, ...] = ()
    starts: tuple[Start, ...] = ()
    waiting: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Containers held back: name to (reason, message)."""
    wake: float | None = None


@dataclass(frozen=True, slots=True)
class Probed:
    """What probes found, by container ID: liveness and startup True, False or unknown (absent)."""

    liveness: Mapping[str, bool] = field(default_factory=dict)
    startup: Mapping[str, bool] = field(default_factory=dict)


NOTHING = Probed()


def plan_pod(pod: Object, seen: PodView, now: float, backoff: KeyedBackoff, probed: Probed = NOTHING) -> Plan:
    """The next step of a pod that shall run."""
    change, attempt = sandbox_change(pod, seen)
    if change:
        return _with_new_sandbox(pod, seen, attempt, now, backoff)
    sandbox = seen.sandbox
    assert sandbox is not None
    if (since := restarted_at(pod, seen, sandbox)) is not None:
        fresh = _since(pod, seen, since)
        old = [view for view in seen.running() if view not in fresh]
        if old:
            kills = tuple(Kill(view.id, view.name, f"Container {view.name} is restarted with all containers of the pod") for view in old)
            return Plan(kills=kills, waiting={view.name: ("RestartingAllContainers", "") for view in old})
    draft = _Draft(pod, seen, now, backoff, probed)
    if since is not None:
        # What ran before does not count any more, but for the number of the next instance.
        draft.before = seen
        seen = draft.seen = replace(seen, containers=fresh)
    initialized = _initialized(pod, seen, sandbox)
    for container in podspec.ephemeral_containers(pod):
        if seen.newest(container["name"]) is None:
            draft.starts.append(Start(container["name"], 0))
    if not draft.init_containers(sandbox, initialized):
        return draft.finish()
    for container in podspec.containers(pod):
        draft.container(container, seen.newest(container["name"]))
    if not draft.keep and not draft.starts and not draft.waiting and not draft.kills:
        return Plan(end=True)
    return draft.finish()


def restarted_at(pod: Object, seen: PodView, sandbox: SandboxView) -> float | None:
    """When a container last ended in this sandbox with a code for which a rule of its own restarts all containers of the pod."""
    rules = {container["name"]: container for container in podspec.every_container(pod) if container.get("restartPolicyRules")}
    return max((view.finished_at for view in seen.containers if view.name in rules and view.sandbox_id == sandbox.id
                and view.state == EXITED and podspec.rule_action(rules[view.name], view.exit_code) == "RestartAllContainers"), default=None)


def _since(pod: Object, seen: PodView, since: float) -> tuple[ContainerView, ...]:
    """The instances that were made for the restart of all containers. What was started after the exit that asked for it, but before the
    first init container ran again, was still meant for what was before."""
    for first in podspec.init_containers(pod)[:1]:
        since = min((view.created_at for view in seen.instances(first["name"]) if view.created_at > since), default=float("inf"))
        return tuple(view for view in seen.containers if view.created_at >= since)
    return tuple(view for view in seen.containers if view.created_at > since)


def sandbox_change(pod: Object, seen: PodView) -> tuple[bool, int]:
    """Whether the pod needs a new sandbox, and the attempt number it gets."""
    newest = seen.sandbox
    if newest is None:
        return True, 0
    if not newest.ready or sum(sandbox.ready for sandbox in seen.sandboxes) > 1:
        return True, newest.attempt + 1
    if newest.host_network != podspec.host_network(pod):
        return True, newest.attempt + 1
    if not newest.host_network and not newest.ips:
        return True, newest.attempt + 1
    return False, newest.attempt


def _with_new_sandbox(pod: Object, seen: PodView, attempt: int, now: float, backoff: KeyedBackoff) -> Plan:
    if attempt > 0 and seen.containers and not any(podspec.may_restart(pod, container) for container in podspec.every_container(pod)):
        return Plan(end=True)  # it has run once; a lost sandbox is not replaced
    wanted = [container for container in podspec.containers(pod)
              if (view := seen.newest(container["name"])) is None or view.state != EXITED
              or podspec.restart_wanted(pod, container, view.exit_code)]
    if not wanted and podspec.containers(pod):
        return Plan(end=True)
    draft = _Draft(pod, seen, now, backoff, NOTHING)
    init = podspec.init_containers(pod)
    if init:
        # Everything before a restartable one that has started must finish first: only the first may start now.
        first = init[0]
        view = seen.newest(first["name"])
        draft.starts.append(Start(first["name"], view.attempt + 1 if view else 0))
    else:
        for container in wanted:
            draft.start(container, seen.newest(container["name"]))
    done = draft.finish()
    return Plan(False, True, attempt, (), done.starts, done.waiting, done.wake)


def _initialized(pod: Object, seen: PodView, sandbox: SandboxView) -> bool:
    """A regular container exists in this sandbox, so all init containers have once finished."""
    return any(view is not None and view.sandbox_id == sandbox.id and view.state != UNKNOWN
               for view in (seen.newest(container["name"]) for container in podspec.containers(pod)))


class _Draft:
    """Collects one plan."""

    def __init__(self, pod: Object, seen: PodView, now: float, backoff: KeyedBackoff, probed: Probed) -> None:
        self.pod, self.seen, self.now, self.backoff, self.probed = pod, seen, now, backoff, probed
        self.before: PodView | None = None
        """When all containers are being restarted: the view with those of before."""
        self.kills: list[Kill] = []
        self.starts: list[Start] = []
        self.waiting: dict[str, tuple[str, str]] = {}
        self.wake: float | None = None
        self.keep = 0
        """Regular containers that run and shall."""

    def finish(self) -> Plan:
        return Plan(False, False, 0, tuple(self.kills), tuple(self.starts), self.waiting, self.wake)

    def start(self, container: Object, view: ContainerView | None) -> None:
        """Starts the container, or holds it back while it backs off after a crash."""
        name = container["name"]
        if view is None and self.before is not None:
            view = self.before.newest(name)
            if view is not None and podspec.rule_action(container, view.exit_code) != "RestartAllContainers":
                self.starts.append(Start(name, view.attempt + 1))  # it did not fail: nothing to back off from
                return
        if view is None:
            self.starts.append(Start(name, 0))
            return
        finished = view.finished_at if view.state == EXITED else 0.0
        if finished:
            key = backoff_key(self.pod, container)
            remaining = self.backoff.remaining(key, finished, self.now)
            if remaining > 0:
                message = f"back-off {show(self.backoff.delay(key))} restarting failed container={name} pod={podspec.describe(self.pod)}"
                self.waiting[name] = ("CrashLoopBackOff", message)
                self.wake = remaining if self.wake is None else min(self.wake, remaining)
                return
        self.starts.append(Start(name, view.attempt + 1, finished))

    def init_containers(self, sandbox: SandboxView, initialized: bool) -> bool:
        """Plans the init containers; returns whether the regular ones may run."""
        for container in podspec.init_containers(self.pod):
            name = container["name"]
            view = self.seen.newest(name)
            current = view if view is not None and view.sandbox_id == sandbox.id else None
            if podspec.is_sidecar(container):
                if current is not None and current.state == RUNNING:
                    self._check_running(container, current, restart=True, regular=False)
                    if not initialized and not self._started(container, current):
                        return False
                elif current is not None and current.state == UNKNOWN:
                    self.kills.append(Kill(current.id, name, _unknown(name)))
                    return initialized
                else:
                    self.start(container, view)
                    if not initialized:
                        return False
                continue
            if initialized:
                continue
            if current is None:
                before = view or (self.before.newest(name) if self.before is not None else None)
                self.starts.append(Start(name, before.attempt + 1 if before else 0))
                return False
            if current.state == RUNNING:
                return False
            if current.state == EXITED:
                if current.exit_code == 0:
                    continue
                if podspec.restart_wanted(self.pod, container, current.exit_code):
                    self.start(container, current)
                return False  # a failed init container that is not restarted ends the pod; its phase says so
            if current.state == UNKNOWN:
                self.kills.append(Kill(current.id, name, _unknown(name)))
                return False
            self.start(container, current)
            return False
        return True

    def container(self, container: Object, view: ContainerView | None) -> None:
        name = container["name"]
        if view is None or view.state == CREATED:
            self.start(container, view)
        elif view.state == EXITED:
            if podspec.restart_wanted(self.pod, container, view.exit_code):
                self.start(container, view)
        elif view.state == UNKNOWN:
            self.kills.append(Kill(view.id, name, _unknown(name)))
        else:
            self._check_running(container, view, restart=podspec.restart_wanted(self.pod, container, 137))

    def _check_running(self, container: Object, view: ContainerView, *, restart: bool, regular: bool = True) -> None:
        name = container["name"]
        reason: Literal["", "liveness", "startup"] = ""
        if view.hash and view.hash != podspec.container_hash(container):
            message, restart = f"Container {name} definition changed", True
        elif self.probed.liveness.get(view.id) is False:
            message, reason = f"Container {name} failed liveness probe", "liveness"
        elif self.probed.startup.get(view.id) is False:
            message, reason = f"Container {name} failed startup probe", "startup"
        else:
            self.keep += regular
            return
        if restart:
            message += ", will be restarted"
        self.kills.append(Kill(view.id, name, message, reason))

    def _started(self, container: Object, view: ContainerView) -> bool:
        return not container.get("startupProbe") or self.probed.startup.get(view.id) is True


def backoff_key(pod: Object, container: Object) -> str:
    return f"{podspec.uid_of(pod)}/{container['name']}/{podspec.container_hash(container)}"


def _unknown(name: str) -> str:
    return f"Container {name} is in unknown state, try killing it before restart"
