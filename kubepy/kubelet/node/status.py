"""The Node object this kubelet registers and the status it reports. Pure."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from kubepy import KUBERNETES_VERSION
from kubepy.api.scheduling import amount
from kubepy.api.types import Object
from kubepy.base.clock import format_time
from kubepy.kubelet.cgroup.slice import Limits
from kubepy.kubelet.container.resource import cpu_shares
from kubepy.kubelet.cri import runtime_pb2 as pb
from kubepy.kubelet.node.machine import Machine
from kubepy.kubelet.settings import Settings

MAX_IMAGE_NAMES = 5


@dataclass(frozen=True, slots=True)
class RuntimeState:
    """What the runtime last said; `problem` is why the node is not ready, "" when it is."""

    version: str = ""
    problem: str = ""
    network_problem: str = ""
    pressures: frozenset[str] = frozenset()
    """MemoryPressure, DiskPressure, PIDPressure."""
    handlers: Mapping[str, pb.RuntimeHandlerFeatures] = field(default_factory=dict)
    """What the runtime's handlers can; empty for a runtime that does not say."""
    supplemental_groups_policy: bool = False


def capacity(settings: Settings, machine: Machine) -> Object:
    pods = settings.max_pods
    if settings.pods_per_core:
        pods = min(pods, settings.pods_per_core * machine.cpus)
    return {"cpu": str(machine.cpus), "ephemeral-storage": f"{machine.storage >> 10}Ki",
            **{name: _plain(value) for name, value in sorted(machine.hugepages.items())},
            "memory": f"{machine.memory >> 10}Ki", "pods": str(pods)}


def allocatable(settings: Settings, machine: Machine) -> Object:
    """Capacity without what is reserved for the system, for Kubernetes and by hard eviction thresholds."""
    reserved: dict[str, int] = {}
    for source in (settings.system_reserved, settings.kube_reserved):
        for name, value in source.items():
            reserved[name] = reserved.get(name, 0) + amount(name, value)
    for signal, name, total in (("memory.available", "memory", machine.memory), ("nodefs.available", "ephemeral-storage", machine.storage)):
        threshold = settings.eviction_hard.get(signal, "")
        if threshold.endswith("%"):
            reserved[name] = reserved.get(name, 0) + int(total * float(threshold[:-1]) / 100)
        elif threshold:
            reserved[name] = reserved.get(name, 0) + amount(name, threshold)
    cpu = machine.cpus * 1000 - reserved.get("cpu", 0)
    memory = max(0, machine.memory - reserved.get("memory", 0) - sum(machine.hugepages.values()))
    return {"cpu": str(cpu // 1000) if cpu % 1000 == 0 else f"{cpu}m",
            "ephemeral-storage": str(max(0, machine.storage - reserved.get("ephemeral-storage", 0))),
            **{name: _plain(value) for name, value in sorted(machine.hugepages.items())},
            "memory": f"{memory >> 10}Ki", "pods": capacity(settings, machine)["pods"]}


def pods_limits(settings: Settings, machine: Machine) -> Limits:
    """What all pods together may have: the machine without what is reserved (eviction works above that, and earlier)."""
    reserved: dict[str, int] = {}
    for source in (settings.system_reserved, settings.kube_reserved):
        for name, value in source.items():
            reserved[name] = reserved.get(name, 0) + amount(name, value)
    return Limits(cpu_shares(machine.cpus * 1000 - reserved.get("cpu", 0)), 0, max(0, machine.memory - reserved.get("memory", 0)),
                  max(0, machine.pids - reserved.get("pid", 0)) if "pid" in reserved else 0)


def _plain(value: int) -> str:
    return f"{value >> 20}Mi" if value else "0"


def labels(settings: Settings, machine: Machine) -> dict[str, str]:
    return {"beta.kubernetes.io/arch": machine.arch, "beta.kubernetes.io/os": "linux", "kubernetes.io/arch": machine.arch,
            "kubernetes.io/hostname": settings.node_name, "kubernetes.io/os": "linux", **settings.node_labels}


def new_node(settings: Settings, machine: Machine, status: Object) -> Object:
    node: Object = {"kind": "Node", "apiVersion": "v1", "metadata": {
        "name": settings.node_name, "labels": labels(settings, machine),
        "annotations": {"volumes.kubernetes.io/controller-managed-attach-detach": "true"}}, "spec": {}, "status": status}
    if settings.register_with_taints:
        node["spec"]["taints"] = [dict(taint) for taint in settings.register_with_taints]
    if settings.provider_id:
        node["spec"]["providerID"] = settings.provider_id
    return node


def node_status(settings: Settings, machine: Machine, state: RuntimeState, images: Sequence[pb.Image], old: Object, now: float, *,
                ips: Sequence[str], port: int, extended: tuple[Mapping[str, str], Mapping[str, str]] = ({}, {})) -> Object:
    """`extended` is capacity and allocatable of device plugins; extended resources that others have put there stay."""
    others = {name: value for name, value in (old.get("capacity") or {}).items() if "/" in name}
    return {
        "capacity": {**capacity(settings, machine), **others, **extended[0]},
        "allocatable": {**allocatable(settings, machine), **others, **extended[1]},
        "conditions": _conditions(state, {entry["type"]: entry for entry in old.get("conditions") or ()}, now),
        "addresses": [*({"type": "InternalIP", "address": ip} for ip in ips), {"type": "Hostname", "address": settings.node_name}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
        "nodeInfo": {"machineID": machine.machine_id, "systemUUID": machine.system_uuid, "bootID": machine.boot_id,
                     "kernelVersion": machine.kernel, "osImage": machine.os_image, "containerRuntimeVersion": state.version,
                     "kubeletVersion": KUBERNETES_VERSION, "kubeProxyVersion": "", "operatingSystem": "linux",
                     "architecture": machine.arch, **({"swap": {"capacity": machine.swap}} if machine.swap else {})},
        "images": _images(images, settings.max_images), **_features(state),
        # what the API server's NodeDeclaredFeatureValidator asks for when a pod is resized, and schedulers for pods with such rules
        "declaredFeatures": ["InPlacePodLevelResourcesVerticalScaling", "InPlacePodVerticalScalingInitContainers",
                             "RestartAllContainersOnContainerExits"],
    }


def _features(state: RuntimeState) -> Object:
    if not state.handlers:
        return {}
    shown = [{"name": name, "features": {"recursiveReadOnlyMounts": handler.recursive_read_only_mounts,
                                         "userNamespaces": handler.user_namespaces}} for name, handler in sorted(state.handlers.items())]
    return {"features": {"supplementalGroupsPolicy": state.supplemental_groups_policy}, "runtimeHandlers": shown}


def _conditions(state: RuntimeState, old: Mapping[str, Object], now: float) -> list[Object]:
    wanted = []
    for kind, good, bad, good_text, bad_text in (
            ("MemoryPressure", "KubeletHasSufficientMemory", "KubeletHasInsufficientMemory", "kubelet has sufficient memory available",
             "kubelet has insufficient memory available"),
            ("DiskPressure", "KubeletHasNoDiskPressure", "KubeletHasDiskPressure", "kubelet has no disk pressure",
             "kubelet has disk pressure"),
            ("PIDPressure", "KubeletHasSufficientPID", "KubeletHasInsufficientPID", "kubelet has sufficient PID available",
             "kubelet has insufficient PID available")):
        pressed = kind in state.pressures
        wanted.append((kind, pressed, bad if pressed else good, bad_text if pressed else good_text))
    problems = [text for text in (state.problem, f"container runtime network not ready: {state.network_problem}"
                                  if state.network_problem else "") if text]
    if problems:
        wanted.append(("Ready", False, "KubeletNotReady", problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]"))
    else:
        wanted.append(("Ready", True, "KubeletReady", "kubelet is posting ready status"))
    result = []
    for kind, value, reason, message in wanted:
        status = "True" if value else "False"
        previous = old.get(kind) or {}
        stamp = format_time(now)
        result.append({"type": kind, "status": status, "lastHeartbeatTime": stamp,
                       "lastTransitionTime": previous.get("lastTransitionTime", stamp) if previous.get("status") == status else stamp,
                       "reason": reason, "message": message})
    kinds = {entry["type"] for entry in result}
    return [entry for kind, entry in old.items() if kind not in kinds] + result


def _images(images: Sequence[pb.Image], most: int) -> list[Object]:
    found = []
    for image in sorted(images, key=lambda image: -image.size)[:most if most >= 0 else None]:
        names = [*image.repo_digests, *image.repo_tags]
        found.append({"names": names[:MAX_IMAGE_NAMES], "sizeBytes": image.size})
    return found


def same_but_heartbeat(one: Object, other: Object) -> bool:
    """Nothing a user or a scheduler would notice has changed."""
    def still(status: Object) -> Object:
        conditions = [{key: value for key, value in entry.items() if key != "lastHeartbeatTime"}
                      for entry in status.get("conditions") or ()]
        return {**{key: status.get(key) for key in ("capacity", "allocatable", "addresses", "nodeInfo", "daemonEndpoints", "images",
                                                  "volumesInUse", "declaredFeatures", "features", "runtimeHandlers")},
                "conditions": sorted(conditions, key=lambda entry: str(entry["type"]))}

    return still(one) == still(other)
