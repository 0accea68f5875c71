"""What is done for a pod in the runtime: make its sandbox, start and kill its containers.

The counterpart of upstream's kuberuntime manager. Each method does one thing and raises; when to do what is the plan's.
"""
from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import orjson

from kubepy.api.errors import ApiError
from kubepy.api.resource import RUNTIME_CLASSES
from kubepy.api.types import Object
from kubepy.base.clock import Clock
from kubepy.base.log import get_logger
from kubepy.client.events import Recorder
from kubepy.client.interface import Client
from kubepy.kubelet import metric, userns
from kubepy.kubelet.allocate import Extras
from kubepy.kubelet.cgroup.tree import Cgroups
from kubepy.kubelet.container import mount as container_mount
from kubepy.kubelet.container.config import container_config
from kubepy.kubelet.container.env import EnvError, Sources, environment
from kubepy.kubelet.container.envfile import read_file
from kubepy.kubelet.container.network import Resolver, hosts_file
from kubepy.kubelet.container.resource import container_resources
from kubepy.kubelet.container.sandbox import log_directory, sandbox_config
from kubepy.kubelet.container.security import SecurityError, verify_non_root
from kubepy.kubelet.cri import runtime_pb2 as pb
from kubepy.kubelet.cri.gate import BEGIN, FINISH, Gate
from kubepy.kubelet.cri.interface import CriError, Runtime
from kubepy.kubelet.dra.manager import ClaimError
from kubepy.kubelet.image.manager import ImageError, Images, Severity
from kubepy.kubelet.pod import spec as podspec
from kubepy.kubelet.pod.hook import HookError, run_hook
from kubepy.kubelet.pod.observed import EXITED, ContainerView, PodView
from kubepy.kubelet.pod.observer import Observer
from kubepy.kubelet.settings import Settings
from kubepy.kubelet.topology import AllocationError
from kubepy.kubelet.volume.manager import decode_secret
from kubepy.kubelet.volume.objects import Objects

log = get_logger("pod")
MIN_GRACE = 2
_SANDBOX_LOST = re.compile(r"/proc/\d+/ns/\w+: no such file")
"""The sandbox's process was gone, or the runtime took it for 0, when the container was made to share its namespaces: containerd does the
latter when a busy machine does not tell it within two seconds (containerd issue 9160)."""


class StartError(Exception):
    """A container or sandbox that could not be started: what the container's status says."""

    def __init__(self, reason: str, message: str, retry: float = 10.0) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason, self.message, self.retry = reason, message, retry


@dataclass(slots=True)
class Surroundings:
    """What the actor knows of the node and the cluster; kept current by the agent."""

    host_ips: tuple[str, ...] = ()
    memory: int = 0
    services: Sequence[Object] = ()
    allocatable: Mapping[str, str] = field(default_factory=dict)
    runtime: str = "containerd"
    swap: int = 0
    """Bytes of swap for all pods together."""
    handlers: Mapping[str, pb.RuntimeHandlerFeatures] = field(default_factory=dict)
    """What the runtime's handlers can, as it says; empty for a runtime that does not say."""


class Actor:
    """Acts on one runtime for all pods."""

    def __init__(self, runtime: Runtime, client: Client, settings: Settings, cgroups: Cgroups, images: Images, objects: Objects,
                 events: Recorder, clock: Clock, around: Surroundings) -> None:
        self.runtime = runtime
        self._client = client
        self._settings = settings
        self._cgroups = cgroups
        self._images = images
        self._objects = objects
        self._events = events
        self._clock = clock
        self._around = around
        self._gate = Gate()
        self._resolver = _HostResolver(settings.resolv_conf)
        self.observer = Observer(runtime, clock)
        self.given: Extras | None = None
        self.users = userns.UserNamespaces(settings.pods_dir, settings.max_pods, settings.ids_per_pod)

    # --- sandbox ---

    def sandbox_config(self, pod: Object, attempt: int) -> pb.PodSandboxConfig:
        config = sandbox_config(pod, self._settings, attempt=attempt, cgroup_parent=self._cgroups.pod_path(pod),
                                host_resolver=self._resolver.read())
        userns.apply(self.users.of(pod), config.linux.security_context.namespace_options)
        return config

    async def _handler(self, pod: Object) -> tuple[str, pb.RuntimeHandlerFeatures]:
        """The runtime's handler for the pod, and what it can. Raises StartError."""
        handler = ""
        if name := pod["spec"].get("runtimeClassName"):
            try:
                handler = (await self._client.get(RUNTIME_CLASSES, name)).get("handler", "")
            except ApiError as error:
                raise StartError("CreatePodSandboxError", f"failed to get sandbox runtime: {error.message}") from error
        return handler, self._around.handlers.get(handler, pb.RuntimeHandlerFeatures())

    async def create_sandbox(self, pod: Object, attempt: int) -> str:
        """Runs a sandbox; its ID. Raises StartError."""
        handler, features = await self._handler(pod)
        try:
            if userns.wanted(pod) and not features.user_namespaces:
                raise userns.UserNamespaceError(f'RuntimeClass handler "{handler}" does not support user namespaces')
            config = self.sandbox_config(pod, attempt)
        except userns.UserNamespaceError as error:
            message = f"Failed to create pod sandbox: {error}"
            self._events.event(pod, "Warning", "FailedCreatePodSandBox", message)
            raise StartError("", message, 10.0) from error
        os.makedirs(config.log_directory, mode=0o755, exist_ok=True)
        try:
            async with self._gate.enter(BEGIN):
                return await self.runtime.run_sandbox(config, handler)
        except CriError as error:
            metric.SANDBOX_ERRORS.inc()
            message = f"Failed to create pod sandbox: {error.go()}"
            self._events.event(pod, "Warning", "FailedCreatePodSandBox", message)
            raise StartError("", message, 2.0) from error

    # --- containers ---

    async def start(self, pod: Object, container: Object, attempt: int, view: PodView, volumes: Mapping[str, Path],
                    secrets: Sequence[Object]) -> str:
        """Pulls, creates and starts one container, then runs its postStart hook; its ID. Raises StartError."""
        name = container["name"]
        sandbox = view.sandbox
        assert sandbox is not None

        def event(kind: Severity, reason: str, message: str) -> None:
            self._event(pod, name, kind, reason, message)

        sandbox_conf = self.sandbox_config(pod, sandbox.attempt)
        recursive = podspec.may_be_recursive(container) and (await self._handler(pod))[1].recursive_read_only_mounts
        try:
            image_ref, image = await self._images.ensure(pod, container, secrets, event, sandbox_conf)
            refs = {}
            for volume in container_mount.image_volumes(pod, container):
                source = {"image": volume["image"].get("reference"), "imagePullPolicy": volume["image"].get("pullPolicy")}
                refs[volume["name"]], _ = await self._images.ensure(pod, source, secrets, event, sandbox_conf)
        except ImageError as error:
            if error.reason in ("ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName"):
                event("Warning", "Failed", f"Error: {error.reason}")
            # A pull that has just failed is looked at once more before it is due: then the container shows that it backs off.
            wait = self._images.retry_in(pod, container) or 10.0
            raise StartError(error.reason, error.message, max(1.0, wait / 2 if error.reason == "ErrImagePull" else wait)) from error
        config = await self._config(pod, container, attempt, view, volumes, image_ref, image, refs, recursive)
        try:
            async with self._gate.enter(FINISH):
                container_id = await self.runtime.create_container(sandbox.id, config, sandbox_conf)
        except CriError as error:
            event("Warning", "Failed", f"Error: {error.message}")
            raise StartError("CreateContainerError", error.message) from error
        event("Normal", "Created", "Container created")
        try:
            async with self._gate.enter(FINISH):
                await self.runtime.start_container(container_id)
        except CriError as error:
            event("Warning", "Failed", f"Error: {error.message}")
            if _SANDBOX_LOST.search(error.message):
                await self.runtime.remove_container(container_id)  # it can never run, and must not count as one that failed
                raise StartError("RunContainerError", error.message, 1.0) from error
            raise StartError("RunContainerError", error.message) from error
        event("Normal", "Started", "Container started")
        self._link_log(pod, config, sandbox_conf, container_id)
        hook = (container.get("lifecycle") or {}).get("postStart")
        if hook:
            await self._post_start(pod, container, container_id, hook, sandbox.ips[0] if sandbox.ips else self._around.host_ips[0])
        return container_id

    async def _config(self, pod: Object, container: Object, attempt: int, view: PodView, volumes: Mapping[str, Path], image_ref: str,
                      image: pb.Image | None, refs: Mapping[str, str], recursive: bool) -> pb.ContainerConfig:
        name = container["name"]
        namespace = pod["metadata"].get("namespace") or "default"
        sandbox = view.sandbox
        ips = (sandbox.ips if sandbox is not None else ()) or (self._around.host_ips if podspec.host_network(pod) else ())
        try:
            verify_non_root(pod, container, image)
            objects = await self._objects.gather(namespace, container_mount.needs(container), podspec.uid_of(pod))
            sources = replace(self.sources(objects, ips), files=lambda volume, path: _volume_file(volumes, volume, path))
            env = environment(pod, container, sources)
            host = await asyncio.to_thread(_read, "/etc/hosts") if podspec.host_network(pod) else ""
            mounts = container_mount.container_mounts(
                pod, container, volumes, self._settings.pods_dir / podspec.uid_of(pod), env,
                hosts=hosts_file(pod, ips, self._settings.cluster_domain, host), image_refs=refs,
                recursive=recursive)
            devices = container_mount.container_devices(pod, container, volumes)
        except (ApiError, ConnectionError) as error:
            raise StartError("CreateContainerConfigError", str(error)) from error
        except (EnvError, SecurityError, container_mount.MountError, OSError) as error:
            self._event(pod, name, "Warning", "Failed", f"Error: {error}")
            raise StartError("CreateContainerConfigError", str(error)) from error
        target = container.get("targetContainerName")
        other = view.newest(target) if target else None
        config = container_config(pod, container, self._settings, attempt=attempt, image_ref=image_ref, image=image, env=env, mounts=mounts,
                                  memory_capacity=self._around.memory, cgroup_v2=self._cgroups.v2, swap=self._around.swap,
                                  target_id=other.id if other is not None else "")
        config.devices.extend(devices)
        userns.apply(self.users.of(pod), config.linux.security_context.namespace_options, config.mounts)
        if self.given is not None:
            try:
                await self.given.configure(pod, container, config)
            except (AllocationError, ClaimError) as error:
                self._event(pod, name, "Warning", "Failed", f"Error: {error}")
                raise StartError("CreateContainerConfigError", str(error)) from error
        return config

    def sources(self, objects: Mapping[tuple[str, str], Object | None], pod_ips: Sequence[str]) -> Sources:
        return Sources(lambda kind, name: objects.get((kind, name)), self._around.services, self._around.host_ips, pod_ips,
                       self._around.allocatable, decode_secret)

    async def resize(self, pod: Object, container: Object, container_id: str) -> None:
        """Gives a running container its new requests and limits. Raises CriError."""
        resources = container_resources(pod, container, self._around.memory, v2=self._cgroups.v2, cfs_quota=self._settings.cpu_cfs_quota,
                                        swap=self._around.swap)
        if not resources.cpu_quota:
            resources.cpu_quota = -1  # to the runtime 0 means unchanged
        await self.runtime.update_container(container_id, resources)

    async def memory_used(self, container_id: str) -> int:
        """Bytes, as the runtime counts them; 0 when it does not say."""
        found = [stat for stat in await self.runtime.container_stats() if stat.attributes.id == container_id]
        return int(found[0].memory.usage_bytes.value or found[0].memory.working_set_bytes.value) if found else 0

    async def _post_start(self, pod: Object, container: Object, container_id: str, hook: Object, ip: str) -> None:
        name = container["name"]
        try:
            await run_hook(self.runtime, self._clock, container, container_id, hook, ip, 0)
        except HookError as error:
            log.error("PostStartHook failed", error, pod=podspec.full_name(pod), container=name)
            self._event(pod, name, "Warning", "FailedPostStartHook", "PostStartHook failed")
            await self.kill(pod, container_id, name, "FailedPostStartHook", None)
            raise StartError("PostStartHookError", str(error)) from error

    def _link_log(self, pod: Object, config: pb.ContainerConfig, sandbox: pb.PodSandboxConfig, container_id: str) -> None:
        """`/var/log/containers/…` is where log collectors look."""
        metadata = pod["metadata"]
        link = Path(self._settings.container_logs_dir,
                    f"{metadata['name']}_{metadata.get('namespace') or 'default'}_{config.metadata.name}-{container_id}.log")
        with contextlib.suppress(OSError):
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(Path(sandbox.log_directory, config.log_path))

    # --- ending ---

    async def kill(self, pod: Object | None, container_id: str, name: str, message: str, grace: int | None, *, ip: str = "") -> None:
        """Runs the preStop hook within the grace period, then stops the container. Raises CriError.

        `grace` None means what the pod's spec says."""
        container = podspec.find_container(pod, name) if pod is not None else None
        if grace is None:
            grace = podspec.grace_of(pod) if pod is not None else 30
        if pod is not None:
            self._event(pod, name, "Normal", "Killing", message or f"Stopping container {name}")
        hook = (container.get("lifecycle") or {}).get("preStop") if container is not None else await self._kept_hook(container_id)
        began = self._clock.monotonic()
        if hook and grace > 0:
            try:
                async with asyncio.timeout(grace):
                    await run_hook(self.runtime, self._clock, container or {"name": name}, container_id, hook, ip, grace)
            except HookError as error:
                log.warning("PreStopHook failed", container=name, err=error)
                if pod is not None:
                    self._event(pod, name, "Warning", "FailedPreStopHook", "PreStopHook failed")
            except TimeoutError:
                log.warning("PreStopHook did not complete in the grace period", container=name)
        left = max(MIN_GRACE, grace - int(self._clock.monotonic() - began))
        await self.runtime.stop_container(container_id, left)

    async def _kept_hook(self, container_id: str) -> Object | None:
        """The hook of a container whose pod is not known any more, from its annotations."""
        try:
            text = (await self.runtime.container_status(container_id)).status.annotations.get(podspec.PRE_STOP, "")
        except CriError:
            return None
        hook: Object | None = orjson.loads(text) if text else None
        return hook

    async def kill_pod(self, pod: Object | None, view: PodView, grace: int | None) -> None:
        """Stops all containers (sidecars last, in reverse order), then the sandboxes."""
        sidecars = [container["name"] for container in podspec.init_containers(pod) if podspec.is_sidecar(container)] if pod else []
        running = [container for container in view.containers if container.state != EXITED]
        ip = view.sandbox.ips[0] if view.sandbox is not None and view.sandbox.ips else self._around.host_ips[0]
        began = self._clock.monotonic()
        total = grace if grace is not None else (podspec.grace_of(pod) if pod is not None else 30)
        await self._kill_all(pod, [container for container in running if container.name not in sidecars], total, ip)
        for name in reversed(sidecars):
            left = max(0, total - int(self._clock.monotonic() - began))
            await self._kill_all(pod, [container for container in running if container.name == name], left, ip)
        for sandbox in view.sandboxes:
            if sandbox.ready or sandbox is view.sandbox:
                async with self._gate.enter(FINISH):
                    await self.runtime.stop_sandbox(sandbox.id)

    async def _kill_all(self, pod: Object | None, containers: Sequence[ContainerView], grace: int, ip: str) -> None:
        results = await asyncio.gather(*(self.kill(pod, container.id, container.name, "", grace, ip=ip) for container in containers),
                                       return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def remove_pod(self, view: PodView, *, logs: Path | None = None) -> None:
        """Removes every container and sandbox of an ended pod, and its logs.

        The sandbox goes last: as long as it is there, whoever is interrupted here finds the pod again and goes on."""
        async with self._gate.enter(BEGIN):
            await asyncio.gather(*(self.runtime.remove_container(container.id) for container in view.containers))
        self.observer.forget(view.containers)
        if logs is not None:
            await asyncio.to_thread(shutil.rmtree, logs, True)
        for sandbox in view.sandboxes:
            async with self._gate.enter(BEGIN):
                if sandbox.ready:
                    await self.runtime.stop_sandbox(sandbox.id)
                await self.runtime.remove_sandbox(sandbox.id)

    async def prune(self, view: PodView, *, keep: int = 1) -> None:
        """Removes ended instances, but for the newest `keep` of each container beside the current one, and ended sandboxes."""
        names = {container.name for container in view.containers}
        for name in names:
            instances = view.instances(name)
            for old in instances[1 + keep:]:
                if old.state == EXITED:
                    await self.runtime.remove_container(old.id)
                    self.observer.forget((old,))
        used = {container.sandbox_id for container in view.containers}
        for sandbox in view.sandboxes[1:]:
            if not sandbox.ready and sandbox.id not in used:
                await self.runtime.remove_sandbox(sandbox.id)

    def log_directory(self, pod: Object) -> Path:
        return Path(log_directory(self._settings, pod))

    def _event(self, pod: Object, name: str, kind: Severity, reason: str, message: str) -> None:
        part = "initContainers" if podspec.is_init(pod, name) else "containers"
        if any(container["name"] == name for container in podspec.ephemeral_containers(pod)):
            part = "ephemeralContainers"
        self._events.event(pod, kind, reason, message, field_path=f"spec.{part}{{{name}}}")


def _volume_file(volumes: Mapping[str, Path], volume: str, path: str) -> str | None:
    if volume not in volumes:
        raise EnvError(f'cannot find volume "{volume}"')
    return read_file(volumes[volume], path)


class _HostResolver:
    """The node's resolv.conf ("": none), read anew when it has changed."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._stamp: tuple[int, int, int] | None = None
        self._resolver = Resolver()

    def read(self) -> Resolver:
        if self._path:
            try:
                found = os.stat(self._path)
            except OSError:
                return Resolver()
            stamp = found.st_mtime_ns, found.st_size, found.st_ino
            if stamp != self._stamp:
                self._resolver, self._stamp = Resolver.parse(_read(self._path)), stamp
        return self._resolver


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""
