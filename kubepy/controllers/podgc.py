"""Pods nobody looks after any more (`pkg/controller/podgc`): on nodes that have gone, deleted before they were placed, ended long ago.

A node must have been missing for 40 s and then not be found at the API server before its pods are taken for lost.
"""
from __future__ import annotations

from collections.abc import Sequence

from kubepy.api.errors import ApiError, NotFound
from kubepy.api.pod import is_terminal, is_true, node_name
from kubepy.api.resource import NODES, PODS
from kubepy.api.types import Object
from kubepy.base.log import get_logger
from kubepy.base.metrics import counter
from kubepy.client.controller import Controller, Watch
from kubepy.client.queue import WorkQueue
from kubepy.client.store import key_of
from kubepy.controllers.kit.environment import Environment
from kubepy.controllers.kit.eviction import tell

REMOVED = counter("pod_gc_collector_force_delete_pods_total",
                  "Number of pods that are being forcefully deleted since the Pod GC Controller started.", ("namespace", "reason"))
ERRORS = counter("pod_gc_collector_force_delete_pod_errors_total",
                 "Number of errors encountered when forcefully deleting the pods since the Pod GC Controller started.",
                 ("namespace", "reason"))
log = get_logger("podgc")

PERIOD, QUARANTINE = 20.0, 40.0
OUT_OF_SERVICE = "node.kubernetes.io/out-of-service"


def surplus(pods: Sequence[Object], threshold: int) -> list[Object]:
    """The oldest ended pods beyond the threshold; evicted ones first."""
    if threshold <= 0:
        return []
    ended = [pod for pod in pods if is_terminal(pod)]
    ended.sort(key=lambda pod: ((pod.get("status") or {}).get("reason") != "Evicted", pod["metadata"].get("creationTimestamp") or "",
                                pod["metadata"]["name"]))
    return ended[: max(len(ended) - threshold, 0)]


def unplaced(pods: Sequence[Object]) -> list[Object]:
    """Deleted before a node had them: nobody else would let them go."""
    return [pod for pod in pods if not node_name(pod) and pod["metadata"].get("deletionTimestamp") is not None]


def abandoned(pods: Sequence[Object], nodes: dict[str, Object]) -> list[Object]:
    """Terminating on nodes that an administrator has declared out of service."""
    out = {name for name, node in nodes.items() if not is_true(node, "Ready")
           and any(item["key"] == OUT_OF_SERVICE for item in (node.get("spec") or {}).get("taints") or ())}
    return [pod for pod in pods if node_name(pod) in out and pod["metadata"].get("deletionTimestamp") is not None]


class Collector:
    def __init__(self, env: Environment) -> None:
        self._clock, self._threshold = env.clock, env.options.terminated_pod_gc_threshold
        self._client = env.client_for("pod-garbage-collector")
        self._pods = env.informers.informer(PODS).lister
        self._nodes = env.informers.informer(NODES).lister
        self._missing: dict[str, float] = {}

    async def run(self, queue: WorkQueue[str]) -> None:
        while True:
            await self._clock.sleep(PERIOD)
            try:
                await self._collect()
            except (ApiError, ConnectionError) as error:
                log.warning("Cannot collect pods now", err=error)

    async def _collect(self) -> None:
        pods, nodes = self._pods.list(), {node["metadata"]["name"]: node for node in self._nodes.list()}
        for pod in surplus(pods, self._threshold):
            await self._remove(pod, "", "terminated")
        for pod in unplaced(pods):
            await self._remove(pod, "", "unscheduled")
        for pod in abandoned(pods, nodes):
            await self._remove(pod, "PodGC: node is out of service", "out-of-service")
        lost = await self._lost_nodes({node_name(pod) for pod in pods if node_name(pod)} - set(nodes))
        for pod in pods:
            if node_name(pod) in lost:
                await self._remove(pod, "PodGC: node no longer exists", "orphaned")

    async def _lost_nodes(self, missing: set[str]) -> set[str]:
        now = self._clock.monotonic()
        self._missing = {name: self._missing.get(name, now) for name in missing}
        lost = set()
        for name, since in self._missing.items():
            if now - since >= QUARANTINE:
                try:
                    await self._client.get(NODES, name)
                except NotFound:
                    lost.add(name)
        return lost

    async def _remove(self, pod: Object, why: str, reason: str) -> None:
        """`why` is told in the pod's status, `reason` in the metrics."""
        metadata = pod["metadata"]
        try:
            if why and not is_terminal(pod):
                await tell(self._client, pod, "DeletionByPodGC", why, self._clock.now(), phase="Failed")
            await self._client.delete(PODS, metadata["name"], metadata["namespace"], grace_period_seconds=0, uid=metadata["uid"])
        except NotFound:
            return
        except ApiError as error:  # it must not keep the others; the next round tries again
            ERRORS.labels(metadata["namespace"], reason).inc()
            log.warning("Cannot collect a pod now", pod=key_of(pod), err=error)
            return
        REMOVED.labels(metadata["namespace"], reason).inc()
        log.info("Pod collected", pod=key_of(pod), why=why or "ended or never placed")


def controller(env: Environment) -> Controller:
    collector = Collector(env)

    async def nothing(key: str) -> None:
        return None

    watches = (Watch(PODS, keys=None), Watch(NODES, keys=None))
    return Controller("gc_pod", nothing, watches, start=collector.run)
