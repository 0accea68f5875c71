"""Who has which CPUs: given out when a pod is admitted, kept in `cpu_manager_state`, taken back when the pod has ended.

Follows upstream's static policy and its state file, with the options `full-pcpus-only` (only whole cores are given) and
`strict-cpu-reservation` (nobody runs on reserved CPUs). Known difference: a policy that was changed starts anew instead of refusing to
start.
"""
from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from kubepy.api.scheduling import amount
from kubepy.api.types import Object
from kubepy.base.clock import Clock
from kubepy.base.log import get_logger
from kubepy.kubelet import metric
from kubepy.kubelet.checkpoint import Checkpoint
from kubepy.kubelet.cpu.topology import Cpu, parse, take, text_of
from kubepy.kubelet.cri import runtime_pb2 as pb
from kubepy.kubelet.cri.interface import CriError, Runtime
from kubepy.kubelet.pod import spec as podspec
from kubepy.kubelet.topology import AllocationError, Hint, hints_of

log = get_logger("cpu")
WHOLE_CORES, STRICT = OPTIONS = ("full-pcpus-only", "strict-cpu-reservation")


def whole_cpus(pod: Object, container: Object) -> int:
    """How many CPUs of its own the container gets; 0 means it shares."""
    if podspec.qos_class(pod) != "Guaranteed":
        return 0
    milli = amount("cpu", ((container.get("resources") or {}).get("requests") or (container.get("resources") or {}).get("limits")
                           or {}).get("cpu", "0"))
    return milli // 1000 if milli % 1000 == 0 else 0


class CpuManager:
    """Policy `static`, or `none`, which gives nobody anything."""

    def __init__(self, policy: str, cpus: Sequence[Cpu], reserved: int | frozenset[int], state_file: Path,
                 options: Mapping[str, str] = MappingProxyType({})) -> None:
        """`reserved` CPUs, or so many of them, are given to nobody alone."""
        self._whole_cores = options.get(WHOLE_CORES) == "true"
        self._strict = options.get(STRICT) == "true"
        self.static = policy == "static"
        self._cpus = cpus
        self._all = frozenset(cpu.id for cpu in cpus)
        self._reserved = (take(cpus, self._all, reserved) or frozenset()) if isinstance(reserved, int) else reserved
        self.checkpoint = Checkpoint(state_file)
        self._given: dict[str, dict[str, frozenset[int]]] = {}
        self._applied: dict[str, str] = {}
        """What each container was last told, by ID."""
        if self.static:
            self._load()

    def shared(self) -> frozenset[int]:
        """The CPUs of all who have none of their own; the reserved ones are always among them, or (strictly) never."""
        return self._all - (self._reserved if self._strict else frozenset()) - frozenset(
            cpu for parts in self._given.values() for cpus in parts.values() for cpu in cpus)

    def _count(self, pod: Object, container: Object) -> int:
        """How many CPUs the container is to be given now."""
        ends = podspec.is_init(pod, container["name"]) and not podspec.is_sidecar(container)
        if not self.static or ends or container["name"] in self._given.get(podspec.uid_of(pod), {}):
            return 0
        return whole_cpus(pod, container)

    def hints(self, pod: Object, container: Object, nodes: frozenset[int]) -> dict[str, Sequence[Hint] | None]:
        """Which NUMA nodes have the CPUs the container asks for."""
        count = self._count(pod, container)
        if not count:
            return {}
        free = self._free()
        return {"cpu": hints_of(nodes, Counter(cpu.node for cpu in self._cpus),
                                Counter(cpu.node for cpu in self._cpus if cpu.id in free), count)}

    def allocate(self, pod: Object, container: Object, nodes: frozenset[int] | None = None) -> None:
        """Gives the container its CPUs, those of the NUMA nodes first. Raises AllocationError when there are not enough."""
        count = self._count(pod, container)
        if not count:
            return
        free = self._free()
        if self._whole_cores:
            self._check_cores(count, free)
        near = free if nodes is None else frozenset(cpu.id for cpu in self._cpus if cpu.id in free and cpu.node in nodes)
        taken = take(self._cpus, near, min(count, len(near))) or frozenset()
        more = take(self._cpus, free - taken, count - len(taken))
        metric.CPU_REQUESTS.inc()
        if more is None:
            metric.CPU_ERRORS.inc()
            raise AllocationError(f"not enough cpus available to satisfy request: requested={count}, available={len(free)}")
        self._given.setdefault(podspec.uid_of(pod), {})[container["name"]] = taken | more
        self._save()
        log.info("CPUs given", pod=podspec.full_name(pod), container=container["name"], cpus=text_of(taken | more))

    def _free(self) -> frozenset[int]:
        """What can be given; with whole cores only those of which every thread can."""
        free = self.shared() - self._reserved
        if not self._whole_cores:
            return free
        broken = {(cpu.socket, cpu.core) for cpu in self._cpus if cpu.id not in free}
        return frozenset(cpu.id for cpu in self._cpus if (cpu.socket, cpu.core) not in broken)

    def _check_cores(self, count: int, free: frozenset[int]) -> None:
        threads = len(self._cpus) // max(1, len({(cpu.socket, cpu.core) for cpu in self._cpus}))
        if count % threads:
            raise AllocationError(f"SMT Alignment Error: requested {count} cpus not multiple cpus per core = {threads}",
                                  "SMTAlignmentError")
        if count > len(free):
            raise AllocationError(f"SMT Alignment Error: not enough free physical CPUs: available physical CPUs = {len(free)}, requested "
                                  f"CPUs = {count}, CPUs per core = {threads}", "SMTAlignmentError")

    def given(self, uid: str, container: str) -> frozenset[int]:
        """The container's own CPUs."""
        return self._given.get(uid, {}).get(container, frozenset())

    def has_own(self, uid: str) -> bool:
        return bool(self._given.get(uid))

    @property
    def allocatable(self) -> frozenset[int]:
        """What containers can have of their own, given out or not."""
        return self._all - self._reserved

    def cpuset(self, uid: str, container: str) -> str:
        """What the container may run on, "" for no restriction."""
        if not self.static:
            return ""
        return text_of(self._given.get(uid, {}).get(container) or self.shared())

    def release(self, known: Callable[[str], bool]) -> None:
        """Takes back what pods have that are no longer known."""
        gone = [uid for uid in self._given if not known(uid)]
        for uid in gone:
            del self._given[uid]
        if gone:
            self._save()

    async def run(self, runtime: Runtime, clock: Clock, known: Callable[[str], bool], period: float = 10.0) -> None:
        """Tells running containers when what they share has changed."""
        while self.static:
            await clock.sleep(period)
            try:
                await self.reconcile(runtime, known)
            except CriError as error:
                log.warning("Cannot change CPU sets yet", err=error)

    async def reconcile(self, runtime: Runtime, known: Callable[[str], bool]) -> None:
        self.release(known)
        running = {container.id: container for container in await runtime.list_containers() if container.state == pb.CONTAINER_RUNNING}
        self._applied = {key: value for key, value in self._applied.items() if key in running}
        for key, container in running.items():
            uid = container.labels.get(podspec.POD_UID, "")
            wanted = self.cpuset(uid, container.metadata.name)
            if uid and self._applied.get(key) != wanted:
                await runtime.update_container(key, pb.LinuxContainerResources(cpuset_cpus=wanted))
                self._applied[key] = wanted

    def _load(self) -> None:
        try:
            state = self.checkpoint.load() or {}
            if state.get("policyName") == "static":
                entries = state.get("entries") or {}
                self._given = {uid: {name: parse(text) for name, text in parts.items()} for uid, parts in entries.items()}
        except (OSError, ValueError, AttributeError) as error:
            log.warning("The CPU manager's state cannot be read and is begun anew", path=str(self.checkpoint.path), err=error)

    def _save(self) -> None:
        self.checkpoint.keep({
            "policyName": "static", "defaultCpuSet": text_of(self.shared()),
            "entries": {uid: {name: text_of(cpus) for name, cpus in parts.items()} for uid, parts in self._given.items()}})
