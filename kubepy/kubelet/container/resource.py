"""Requests and limits as the kernel counts them. Pure; the numbers are upstream's `pkg/kubelet/cm` and `kuberuntime`."""
from __future__ import annotations

from kubepy.api.scheduling import amounts, pod_limits, pod_requests
from kubepy.api.types import Object
from kubepy.kubelet.cri import runtime_pb2 as pb
from kubepy.kubelet.pod import spec as podspec

PERIOD = 100_000
_MIN_SHARES, MAX_SHARES, _MIN_QUOTA = 2, 262_144, 1000


def cpu_shares(milli: int) -> int:
    return max(_MIN_SHARES, min(MAX_SHARES, milli * 1024 // 1000))


def cpu_quota(milli: int, period: int = PERIOD) -> int:
    """Microseconds per period; 0 when there is no limit."""
    return max(_MIN_QUOTA, milli * period // 1000) if milli > 0 else 0


def cpu_weight(shares: int) -> int:
    """cgroup v2's `cpu.weight` for cgroup v1's shares."""
    return 1 + (shares - 2) * 9999 // 262_142


def oom_score(pod: Object, container: Object, capacity: int) -> int:
    """The score adjustment: Guaranteed and critical pods last, BestEffort first, Burstable by their share of memory."""
    if podspec.is_critical(pod):
        return -997
    quality = podspec.qos_class(pod)
    if quality == "Guaranteed":
        return -997
    if quality == "BestEffort":
        return 1000
    request = amounts((container.get("resources") or {}).get("requests")).get("memory", 0)
    score = 1000 - 1000 * request // max(capacity, 1)
    return min(max(score, 3), 999)


def container_resources(pod: Object, container: Object, capacity: int, *, v2: bool, cfs_quota: bool = True,
                        swap: int = 0, single_process_oom_kill: bool = False) -> pb.LinuxContainerResources:
    """`capacity` is the node's memory in bytes, `swap` what pods may have of its swap together (LimitedSwap)."""
    declared = container.get("resources") or {}
    requests, limits = amounts(declared.get("requests")), amounts(declared.get("limits"))
    memory = limits.get("memory", 0)
    result = pb.LinuxContainerResources(
        cpu_shares=cpu_shares(requests.get("cpu", limits.get("cpu", 0) if "cpu" not in requests else 0)),
        memory_limit_in_bytes=memory, oom_score_adj=oom_score(pod, container, capacity),
        hugepage_limits=[pb.HugepageLimit(page_size=_page_size(name), limit=value) for name, value in limits.items()
                         if name.startswith("hugepages-")])
    if cfs_quota:
        result.cpu_period = PERIOD
        result.cpu_quota = cpu_quota(limits.get("cpu", 0))
    if v2:
        if not single_process_oom_kill:
            result.unified["memory.oom.group"] = "1"
        share = swap_share(pod, container, capacity, swap)
        if share:
            result.unified["memory.swap.max"] = str(share)
        else:
            result.memory_swap_limit_in_bytes = memory
    return result


def swap_share(pod: Object, container: Object, capacity: int, swap: int) -> int:
    """Burstable pods' containers get swap as they ask for memory, unless they get exactly what they ask for; critical pods none."""
    declared = container.get("resources") or {}
    request, limit = (amounts(declared.get(side)).get("memory", 0) for side in ("requests", "limits"))
    if not swap or not request or request == limit or podspec.is_critical(pod) or podspec.qos_class(pod) != "Burstable":
        return 0
    return swap * request // max(capacity, 1)


def sandbox_resources(pod: Object) -> pb.LinuxContainerResources:
    """The sum a runtime may size a sandbox by, without overhead."""
    requests, limits = pod_requests(pod, overhead=False), pod_limits(pod, overhead=False)
    return pb.LinuxContainerResources(
        cpu_period=PERIOD, cpu_quota=cpu_quota(limits.get("cpu", 0)), cpu_shares=cpu_shares(requests.get("cpu", 0)),
        memory_limit_in_bytes=limits.get("memory", 0))


def _page_size(name: str) -> str:
    """`hugepages-2Mi` is `2MB` to the runtime."""
    return name.removeprefix("hugepages-").replace("i", "B")
