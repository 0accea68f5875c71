"""A container as the runtime is told of it. Pure, given its environment, mounts and image."""
from __future__ import annotations

from collections.abc import Mapping, Sequence

import orjson

from kubepy.api.types import Object
from kubepy.kubelet.container.env import expand
from kubepy.kubelet.container.resource import container_resources
from kubepy.kubelet.container.sandbox import pod_labels
from kubepy.kubelet.container.security import container_context
from kubepy.kubelet.container.signal import stop_signal
from kubepy.kubelet.cri import runtime_pb2 as pb
from kubepy.kubelet.pod import spec as podspec
from kubepy.kubelet.settings import Settings

DEFAULT_TERMINATION_PATH = "/dev/termination-log"


def container_config(pod: Object, container: Object, settings: Settings, *, attempt: int, image_ref: str, image: pb.Image | None,
                     env: Mapping[str, str], mounts: Sequence[pb.Mount], memory_capacity: int, cgroup_v2: bool,
                     target_id: str = "", swap: int = 0) -> pb.ContainerConfig:
    name = container["name"]
    annotations = {
        podspec.CONTAINER_HASH: podspec.container_hash(container), podspec.RESTART_COUNT: str(attempt),
        podspec.TERMINATION_PATH: container.get("terminationMessagePath") or DEFAULT_TERMINATION_PATH,
        podspec.TERMINATION_POLICY: container.get("terminationMessagePolicy") or "File",
        podspec.POD_GRACE: str(podspec.grace_of(pod))}
    hook = (container.get("lifecycle") or {}).get("preStop")
    if hook:
        annotations[podspec.PRE_STOP] = orjson.dumps(hook).decode()
    if container.get("ports"):
        annotations["io.kubernetes.container.ports"] = orjson.dumps(container["ports"]).decode()
    return pb.ContainerConfig(
        metadata=pb.ContainerMetadata(name=name, attempt=attempt),
        image=pb.ImageSpec(image=image_ref, user_specified_image=container.get("image") or ""),
        command=[expand(text, env) for text in container.get("command") or ()],
        args=[expand(text, env) for text in container.get("args") or ()],
        working_dir=container.get("workingDir") or "", envs=[pb.KeyValue(key=key, value=value) for key, value in env.items()],
        mounts=mounts, labels={**pod_labels(pod), podspec.CONTAINER_NAME: name}, annotations=annotations,
        log_path=f"{name}/{attempt}.log", stdin=bool(container.get("stdin")), stdin_once=bool(container.get("stdinOnce")),
        tty=bool(container.get("tty")), stop_signal=stop_signal((container.get("lifecycle") or {}).get("stopSignal") or ""),
        linux=pb.LinuxContainerConfig(
            resources=container_resources(pod, container, memory_capacity, v2=cgroup_v2, cfs_quota=settings.cpu_cfs_quota, swap=swap,
                                          single_process_oom_kill=settings.single_process_oom_kill),
            security_context=container_context(pod, container, image, root=settings.root_dir, seccomp_default=settings.seccomp_default,
                                               target_id=target_id)))
