"""Whether a pod can run on this node at all (upstream's `lifecycle` predicates): what the scheduler has not seen (static pods, races,
what only the node knows) is refused here. Pure.
"""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from kubepy.api.scheduling import amounts, host_ports, pod_requests, ports_conflict, selects_node, untolerated_taint
from kubepy.api.types import Object
from kubepy.kubelet.container import security
from kubepy.kubelet.cri import runtime_pb2 as pb
from kubepy.kubelet.eviction.rank import refused
from kubepy.kubelet.node.machine import Machine
from kubepy.kubelet.node.status import allocatable
from kubepy.kubelet.pod import spec as podspec
from kubepy.kubelet.settings import Settings

SAFE_SYSCTLS = frozenset((
    "kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.tcp_syncookies", "net.ipv4.ping_group_range",
    "net.ipv4.ip_unprivileged_port_start", "net.ipv4.ip_local_reserved_ports", "net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl", "net.ipv4.tcp_keepalive_probes", "net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem"))


def admit(pod: Object, others: Sequence[Object], *, node: Callable[[], Object | None], settings: Settings,
          machine: Machine, pressures: Callable[[], frozenset[str]] = frozenset,
          extended: Mapping[str, str] | None = None, apparmor: bool = True) -> tuple[str, str] | None:
    """(reason, message) of the refusal, or None. `apparmor`: the kernel has it."""
    return (refused(pod, pressures()) or _sysctls(pod, settings) or _apparmor(pod, apparmor) or _node_affinity(pod, node())
            or _taints(pod, node()) or _ports(pod, others)
            or _resources(pod, others, {**allocatable(settings, machine), **(extended or {})}))


def _sysctls(pod: Object, settings: Settings) -> tuple[str, str] | None:
    for entry in (pod["spec"].get("securityContext") or {}).get("sysctls") or ():
        name = entry["name"].replace("/", ".")
        allowed = name in SAFE_SYSCTLS or any(
            name == pattern or (pattern.endswith("*") and name.startswith(pattern[:-1])) for pattern in settings.allowed_unsafe_sysctls)
        if not allowed:
            return "SysctlForbidden", f'forbidden sysctl: "{entry["name"]}" not allowlisted'
        if pod["spec"].get("hostNetwork") and name.startswith("net."):
            return "SysctlForbidden", f'forbidden sysctl: "{entry["name"]}" not allowed with host net enabled'
        if pod["spec"].get("hostIPC") and name.startswith(("kernel.shm", "kernel.msg", "kernel.sem", "fs.mqueue.")):
            return "SysctlForbidden", f'forbidden sysctl: "{entry["name"]}" not allowed with host ipc enabled'
    return None


def _apparmor(pod: Object, enabled: bool) -> tuple[str, str] | None:
    if enabled:
        return None
    for container in podspec.every_container(pod):
        profile = security.apparmor(pod, container)
        if profile is not None and profile.profile_type != pb.SecurityProfile.Unconfined:
            return "AppArmor", "Cannot enforce AppArmor: AppArmor is not enabled on the host"
    return None


def _node_affinity(pod: Object, node: Object | None) -> tuple[str, str] | None:
    if node is None or selects_node(pod, node):
        return None
    return "NodeAffinity", "Pod was rejected: Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector"


def _taints(pod: Object, node: Object | None) -> tuple[str, str] | None:
    """Only what ends pods that run; static pods tolerate that anyway."""
    taints = ((node or {}).get("spec") or {}).get("taints") or ()
    if podspec.is_static(pod) or untolerated_taint(taints, pod["spec"].get("tolerations") or (), ("NoExecute",)) is None:
        return None
    return "TaintToleration", "Pod was rejected: Predicate TaintToleration failed"


def _ports(pod: Object, others: Sequence[Object]) -> tuple[str, str] | None:
    mine = host_ports(pod)
    if any(ports_conflict(own, taken) for other in others for taken in host_ports(other) for own in mine) if mine else False:
        return "NodePorts", "Pod was rejected: Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports"
    return None


def _resources(pod: Object, others: Sequence[Object], has: Mapping[str, str]) -> tuple[str, str] | None:
    """Extended resources the node does not have are another's to judge (a plugin may not have registered again yet)."""
    free = amounts(has)
    wanted = {**pod_requests(pod), "pods": 1}
    used: dict[str, int] = {"pods": len(others)}
    for other in others:
        for name, value in pod_requests(other).items():
            used[name] = used.get(name, 0) + value
    others_of = [name for name in wanted if name.startswith("hugepages-") or ("/" in name and name in free)]
    for name in ("pods", "cpu", "memory", "ephemeral-storage", *others_of):
        if wanted.get(name, 0) and wanted[name] + used.get(name, 0) > free.get(name, 0):
            return f"OutOf{name}", (f"Pod was rejected: Node didn't have enough resource: {name}, requested: {wanted[name]}, "
                                    f"used: {used.get(name, 0)}, capacity: {free.get(name, 0)}")
    return None
