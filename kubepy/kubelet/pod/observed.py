"""What the runtime says about a pod, newest first, in a form that plans and statuses read. Pure."""
from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from kubepy.kubelet.container.signal import signal_name
from kubepy.kubelet.cri import runtime_pb2 as pb
from kubepy.kubelet.pod import spec as podspec

CREATED, RUNNING, EXITED, UNKNOWN = "created", "running", "exited", "unknown"
_STATES: dict[int, str] = {pb.CONTAINER_CREATED: CREATED, pb.CONTAINER_RUNNING: RUNNING, pb.CONTAINER_EXITED: EXITED}


@dataclass(frozen=True, slots=True)
class ContainerView:
    """One container instance. Times are seconds since the epoch, 0 where there is none."""

    id: str
    name: str
    sandbox_id: str
    attempt: int = 0
    state: str = RUNNING
    created_at: float = 0.0
    started_at: float = 0.0
    finished_at: float = 0.0
    exit_code: int = 0
    reason: str = ""
    message: str = ""
    image: str = ""
    image_ref: str = ""
    hash: str = ""
    log_path: str = ""
    uid: int | None = None
    gid: int | None = None
    groups: tuple[int, ...] = ()
    termination_path: str = ""
    termination_policy: str = ""
    stop_signal: str = ""
    read: float = field(default=0.0, compare=False)
    """The monotonic time at which the runtime was asked."""


@dataclass(frozen=True, slots=True)
class SandboxView:
    id: str
    attempt: int = 0
    ready: bool = True
    created_at: float = 0.0
    ips: tuple[str, ...] = ()
    host_network: bool = False
    read: float = field(default=0.0, compare=False)


@dataclass(frozen=True, slots=True)
class Seen:
    """What a look at all pods has shown of one: the states of its sandboxes and containers by ID, at a monotonic time."""

    states: Mapping[str, str]
    at: float


@dataclass(frozen=True, slots=True)
class PodView:
    """A pod in the runtime; empty when the runtime has nothing of it."""

    uid: str
    sandboxes: tuple[SandboxView, ...] = ()
    containers: tuple[ContainerView, ...] = ()

    @property
    def sandbox(self) -> SandboxView | None:
        """The newest sandbox."""
        return self.sandboxes[0] if self.sandboxes else None

    def newest(self, name: str) -> ContainerView | None:
        return next((view for view in self.containers if view.name == name), None)

    def instances(self, name: str) -> list[ContainerView]:
        return [view for view in self.containers if view.name == name]

    def running(self) -> list[ContainerView]:
        return [view for view in self.containers if view.state in (RUNNING, UNKNOWN)]

    @property
    def alive(self) -> bool:
        """Something of the pod may still run."""
        return any(sandbox.ready for sandbox in self.sandboxes) or bool(self.running())

    def differs(self, seen: Seen) -> bool:
        """Whether that look has shown what is not known yet: what was read after it is newer."""
        known = {sandbox.id: (sandbox_state(sandbox.ready), sandbox.read) for sandbox in self.sandboxes}
        known |= {container.id: (container.state, container.read) for container in self.containers}
        for key, state in seen.states.items():
            mine, read = known.pop(key, ("", 0.0))
            if mine != state and read <= seen.at:
                return True
        return any(read <= seen.at for _, read in known.values())

    def having(self, sandbox: SandboxView | None, containers: Iterable[ContainerView]) -> PodView:
        """The pod with a new sandbox and with containers that were made or looked at since."""
        fresh = {container.id: container for container in containers}
        kept = [fresh.pop(container.id, container) for container in self.containers]
        return replace(self, sandboxes=self.sandboxes if sandbox is None else (sandbox, *self.sandboxes),
                       containers=tuple(_newest_first([*kept, *fresh.values()])))


def sandbox_state(ready: bool) -> str:
    return "ready" if ready else "notready"


def container_state(state: int) -> str:
    return _STATES.get(state, UNKNOWN)


def _newest_first(containers: Iterable[ContainerView]) -> list[ContainerView]:
    return sorted(containers, key=lambda view: (view.created_at, view.attempt), reverse=True)


def container_view(status: pb.ContainerStatus, sandbox_id: str, read: float = 0.0) -> ContainerView:
    annotations = status.annotations
    user = status.user.linux if status.HasField("user") and status.user.HasField("linux") else None
    return ContainerView(
        status.id, status.metadata.name, sandbox_id, status.metadata.attempt, container_state(status.state),
        status.created_at / 1e9, max(status.started_at, 0) / 1e9, max(status.finished_at, 0) / 1e9, status.exit_code, status.reason,
        status.message, status.image.user_specified_image or status.image.image, status.image_ref,
        annotations.get(podspec.CONTAINER_HASH, ""), status.log_path,
        None if user is None else user.uid, None if user is None else user.gid, () if user is None else tuple(user.supplemental_groups),
        annotations.get(podspec.TERMINATION_PATH, ""), annotations.get(podspec.TERMINATION_POLICY, ""),
        signal_name(status.stop_signal), read)


def sandbox_view(status: pb.PodSandboxStatus, read: float = 0.0) -> SandboxView:
    host = status.linux.namespaces.options.network == pb.NODE
    ips = () if host or not status.network.ip else (status.network.ip, *(extra.ip for extra in status.network.additional_ips))
    return SandboxView(status.id, status.metadata.attempt, status.state == pb.SANDBOX_READY, status.created_at / 1e9, ips, host, read)


def pod_view(uid: str, sandboxes: Iterable[pb.PodSandboxStatus], containers: Iterable[tuple[pb.ContainerStatus, str]],
             read: float = 0.0) -> PodView:
    views = sorted((sandbox_view(status, read) for status in sandboxes), key=lambda view: (view.created_at, view.attempt), reverse=True)
    instances = _newest_first(container_view(status, sandbox, read) for status, sandbox in containers)
    return PodView(uid, tuple(views), tuple(instances))
