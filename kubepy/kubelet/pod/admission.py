"""Whether a pod can run on this node at all (upstream's `lifecycle` predicates): name, selector, taints are the scheduler's, but
what the scheduler has not seen (static pods, races) is refused here. Pure.
"""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from kubepy.api.scheduling import amounts, pod_requests
from kubepy.api.types import Object
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
          extended: Mapping[str, str] | None = None) -> tuple[str, str] | None:
    """(reason, message) of the refusal, or None."""
    return (refused(pod, pressures()) or _sysctls(pod, settings) or _node_selector(pod, node()) or _ports(pod, others)
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


def _node_selector(pod: Object, node: Object | None) -> tuple[str, str] | None:
    if node is None:
        return None
    labels = node["metadata"].get("labels") or {}
    if any(labels.get(key) != value for key, value in (pod["spec"].get("nodeSelector") or {}).items()):
        return "NodeAffinity", "Pod was rejected: Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector"
    return None


def _host_ports(pod: Object) -> set[tuple[str, str, int]]:
    found = set()
    for container in podspec.containers(pod):
        for port in container.get("ports") or ():
            if port.get("hostPort"):
                found.add((port.get("hostIP") or "0.0.0.0", port.get("protocol") or "TCP", int(port["hostPort"])))
    return found


def _ports(pod: Object, others: Sequence[Object]) -> tuple[str, str] | None:
    mine = _host_ports(pod)
    if not mine:
        return None
    for ip, protocol, port in {entry for other in others for entry in _host_ports(other)}:
        for own_ip, own_protocol, own_port in mine:
            if (protocol, port) == (own_protocol, own_port) and (ip == own_ip or "0.0.0.0" in (ip, own_ip)):
                return "NodePorts", ("Pod was rejected: Predicate NodePorts failed: node(s) didn't have free ports for the requested pod "
                                     "ports")
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
