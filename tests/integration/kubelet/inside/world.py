"""A kubelet on a private containerd, with the API in memory, and what all tests here say of it.

The files of this directory run in one session, in namespaces of their own, in the order `test_kubelet.py` gives them.
"""
from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kubepy.api.resource import EVENTS, NODES, PODS
from kubepy.base.clock import SystemClock
from kubepy.client.memory import MemoryClient
from kubepy.kubelet.agent import Kubelet
from kubepy.kubelet.cri.client import GrpcRuntime
from kubepy.kubelet.settings import Settings
from tests import containerd as private
from tests import images, leftover

Pod = dict[str, Any]


def pod(name: str, *containers: dict[str, Any], **spec: Any) -> Pod:
    filled = [{"image": images.BUSYBOX, **container} for container in containers]
    if "initContainers" in spec:
        spec["initContainers"] = [{"image": images.BUSYBOX, **container} for container in spec["initContainers"]]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default", "labels": {"app": name}},
            "spec": {"nodeName": "n1", "terminationGracePeriodSeconds": 1, "containers": filled, **spec}}


def sh(script: str, name: str = "c", **fields: Any) -> dict[str, Any]:
    return {"name": name, "command": ["sh", "-c", script], **fields}


FOREVER = "trap 'exit 0' TERM; while :; do sleep 0.1; done"


@dataclass
class World:
    directory: Path
    containerd: private.Containerd
    client: MemoryClient
    runtime: GrpcRuntime
    kubelet: Kubelet
    settings: Settings
    port: int = 0

    async def status(self, name: str) -> dict[str, Any]:
        return (await self.client.get(PODS, name, "default")).get("status") or {}

    async def until(self, what: Callable[[], Awaitable[Any]], seconds: float = 150.0) -> Any:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if found := await what():
                return found
            await asyncio.sleep(0.1)
        raise AssertionError("it did not come about in time")

    async def container(self, name: str, index: int = 0) -> dict[str, Any]:
        entries = (await self.status(name)).get("containerStatuses") or [{}]
        return entries[index]

    async def all_ready(self, *names: str) -> bool:
        for name in names:
            entries = (await self.status(name)).get("containerStatuses")
            if not entries or not all(entry["ready"] for entry in entries):
                return False
        return True

    def logs(self, name: str, container: str = "c", attempt: int = 0) -> str:
        path = next((self.directory / "logs").glob(f"default_{name}_*/{container}/{attempt}.log"))
        return "\n".join(line.split(" ", 3)[3] for line in path.read_text().splitlines())

    async def new_kubelet(self) -> None:
        self.kubelet = Kubelet(self.settings, self.client, self.runtime, SystemClock())
        await self.kubelet.start()

    async def execute(self, name: str, script: str) -> str:
        worker = self.kubelet.pods.find("default", name)
        assert worker is not None
        view = (await self.kubelet.actor.observer.observe(worker.uid)).newest("c")
        assert view is not None
        return (await self.runtime.exec_sync(view.id, ["sh", "-c", script], 10)).stdout.decode()

    async def said(self, text: str) -> bool:
        """An event with that text."""
        return any(text in event.get("message", "") for event in self.client.all(EVENTS))

    async def gone(self, name: str) -> bool:
        return not any(entry["metadata"]["name"] == name for entry in self.client.all(PODS))

    def pid_of(self, container_id: str) -> int:
        lines = [line.split() for line in self.containerd.ctr("tasks", "ls").splitlines()]
        return next(int(line[1]) for line in lines if line[0] == container_id)


async def open_world() -> AsyncIterator[World]:
    """Without pods; a generator for a fixture."""
    directory = leftover.directory("kubelet")
    directory.chmod(0o755)
    runtime = private.start(directory / "containerd", binary=os.environ.get("KUBEPY_CONTAINERD", "containerd"), own_mounts=False)
    for archive in images.archives().values():
        runtime.ctr("images", "import", "-", data=archive)
    client, cri = MemoryClient(), GrpcRuntime(runtime.endpoint)
    settings = Settings(node_name="n1", node_ip="198.51.100.1", root_dir=str(directory / "root"), pod_logs_dir=str(directory / "logs"),
                        container_logs_dir=str(directory / "links"), runtime_endpoint=runtime.endpoint,
                        cgroup_root=f"/{directory.name}", cni_conf_dir=str(runtime.cni_conf_dir), cni_data_dir=str(directory / "cni"),
                        cluster_dns=("10.96.0.10",), static_pod_path=str(directory / "static"))
    (directory / "static").mkdir()
    made = World(directory, runtime, client, cri, Kubelet(settings, client, cri, SystemClock()), settings)
    try:
        await made.kubelet.start()

        async def registered() -> bool:
            return bool(client.all(NODES))

        await made.until(registered)
        await client.patch(NODES, "n1", {"spec": {"podCIDR": "10.77.0.0/24", "podCIDRs": ["10.77.0.0/24"]}}, type="merge")
        yield made
    finally:
        await made.kubelet.stop()
        await cri.close()
        private.stop(made.containerd)
        made.kubelet.cgroups.remove_all()
        shutil.rmtree(directory, ignore_errors=True)
