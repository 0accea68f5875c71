"""A pod's sandbox as the runtime is told of it. Pure."""
from __future__ import annotations

from collections.abc import Iterable

from kubepy.api.types import Object
from kubepy.kubelet.container.network import Resolver, dns_config, sandbox_host_name
from kubepy.kubelet.container.resource import sandbox_resources
from kubepy.kubelet.container.security import sandbox_context
from kubepy.kubelet.cri import runtime_pb2 as pb
from kubepy.kubelet.pod import spec as podspec
from kubepy.kubelet.settings import Settings


def log_directory(settings: Settings, pod: Object) -> str:
    metadata = pod["metadata"]
    return f"{settings.pod_logs_dir}/{metadata.get('namespace') or 'default'}_{metadata['name']}_{podspec.uid_of(pod)}"


def pod_labels(pod: Object) -> dict[str, str]:
    metadata = pod["metadata"]
    return {podspec.POD_NAME: metadata["name"], podspec.POD_NAMESPACE: metadata.get("namespace") or "default",
            podspec.POD_UID: podspec.uid_of(pod)}


def sandbox_config(pod: Object, settings: Settings, *, attempt: int, cgroup_parent: str, host_resolver: Resolver) -> pb.PodSandboxConfig:
    metadata = pod["metadata"]
    linux = pb.LinuxPodSandboxConfig(
        cgroup_parent=cgroup_parent,
        security_context=sandbox_context(pod),
        sysctls={entry["name"].replace("/", "."): entry["value"]
                 for entry in (pod["spec"].get("securityContext") or {}).get("sysctls") or ()},
        resources=sandbox_resources(pod))
    return pb.PodSandboxConfig(
        metadata=pb.PodSandboxMetadata(name=metadata["name"], uid=podspec.uid_of(pod), namespace=metadata.get("namespace") or "default",
                                       attempt=attempt),
        hostname=sandbox_host_name(pod, settings.cluster_domain), log_directory=log_directory(settings, pod),
        dns_config=dns_config(pod, settings.cluster_dns, settings.cluster_domain, host_resolver),
        port_mappings=[] if podspec.host_network(pod) else port_mappings(podspec.every_container(pod)),
        labels={**(metadata.get("labels") or {}), **pod_labels(pod)}, annotations=metadata.get("annotations") or {}, linux=linux)


def port_mappings(containers: Iterable[Object]) -> list[pb.PortMapping]:
    seen: set[tuple[object, ...]] = set()
    result = []
    for container in containers:
        for port in container.get("ports") or ():
            host_port, protocol = port.get("hostPort") or 0, port.get("protocol") or "TCP"
            key = (host_port, port.get("hostIP") or "", protocol)
            if host_port and key not in seen:
                seen.add(key)
                result.append(pb.PortMapping(protocol=protocol, container_port=port["containerPort"], host_port=host_port,
                                             host_ip=port.get("hostIP") or ""))
    return result
