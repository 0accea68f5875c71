"""Nodes that only pretend: pods are bound in turn, run at once (those of Jobs succeed), and go when they are deleted."""
from __future__ import annotations

import asyncio
import itertools
import time

from kubepy.api.errors import AlreadyExists, ApiError
from kubepy.api.pod import node_name, phase
from kubepy.api.resource import NODES, PODS
from kubepy.api.types import Object
from kubepy.base.clock import format_time
from kubepy.base.task import Tasks
from kubepy.client.informer import InformerFactory
from kubepy.client.interface import Client


class HollowNodes:
    def __init__(self, client: Client, count: int, workers: int = 4) -> None:
        self._workers = workers
        self.names = [f"hollow-{number}" for number in range(count)]
        self._client = client
        self._pods: asyncio.Queue[Object] = asyncio.Queue()
        self._turn = itertools.count()
        self._tasks = Tasks("hollow")

    async def start(self) -> None:
        informers = InformerFactory(self._client)
        informers.informer(PODS).add_handler(self._pods.put_nowait, lambda old, new: self._pods.put_nowait(new))
        informers.start(self._tasks)
        for name in self.names:
            try:
                await self._client.create(NODES, {"metadata": {"name": name}})
            except AlreadyExists:
                continue
        self._tasks.keep(self._beat, "heartbeat")
        for number in range(self._workers):
            self._tasks.keep(self._work, f"worker-{number}")

    async def stop(self) -> None:
        await self._tasks.stop()

    async def _beat(self) -> None:
        while True:
            now = format_time(time.time())
            ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "hollow",
                     "lastHeartbeatTime": now, "lastTransitionTime": now}
            for name in self.names:
                await self._client.patch(NODES, name, {"status": {"conditions": [ready]}}, subresource="status")
            await asyncio.sleep(5)

    async def _work(self) -> None:
        while True:
            pod = await self._pods.get()
            try:
                await self._handle(pod)
            except ApiError:
                continue  # an old state of it

    async def _handle(self, pod: Object) -> None:
        metadata = pod["metadata"]
        name, namespace = metadata["name"], metadata["namespace"]
        if metadata.get("deletionTimestamp"):
            await self._client.delete(PODS, name, namespace, grace_period_seconds=0, uid=metadata["uid"])
        elif not node_name(pod):
            target = {"kind": "Node", "name": self._place(pod)}
            await self._client.create(PODS, {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": target},
                                      namespace, name=name, subresource="binding")
        elif phase(pod) == "Pending":
            number, now = next(self._turn), format_time(time.time())
            ends = any(ref["kind"] == "Job" for ref in metadata.get("ownerReferences") or ())
            ip = f"10.244.{number // 250}.{number % 250 + 1}"
            await self._client.patch(PODS, name, {"status": {
                "phase": "Succeeded" if ends else "Running", "podIP": ip, "podIPs": [{"ip": ip}], "startTime": now,
                "conditions": [{"type": "Ready", "status": "False" if ends else "True", "lastTransitionTime": now}]}},
                namespace, subresource="status")

    def _place(self, pod: Object) -> str:
        required = ((pod["spec"].get("affinity") or {}).get("nodeAffinity") or {}).get("requiredDuringSchedulingIgnoredDuringExecution")
        if required:
            return str(required["nodeSelectorTerms"][0]["matchFields"][0]["values"][0])
        return self.names[next(self._turn) % len(self.names)]
