"""The pods of this node: from the API and from files, each with its worker; what no source wants any more is removed.

Follows upstream's kubelet loop: admission, pod workers, mirror pods, `HandlePodCleanups`.
"""
from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from pathlib import Path

from kubepy.api.errors import AlreadyExists, ApiError, NotFound
from kubepy.api.resource import PODS
from kubepy.api.types import Object
from kubepy.base.log import get_logger
from kubepy.base.task import Tasks
from kubepy.client.interface import Client
from kubepy.kubelet import metric
from kubepy.kubelet.cri.interface import CriError
from kubepy.kubelet.pod import spec as podspec
from kubepy.kubelet.pod.observed import Seen
from kubepy.kubelet.pod.shared import Shared
from kubepy.kubelet.pod.worker import Worker

log = get_logger("pods")
_STRAY_PASSES = 15
"""Half a minute: a cgroup may be younger than what is known of its pod, or be another kubelet's."""
Admit = Callable[[Object, list[Object]], tuple[str, str] | None]
"""(pod, the node's other pods) to (reason, message) when the pod cannot run here."""


class Pods:
    """All pods by UID (a static pod's is its hash; its mirror in the API has another)."""

    def __init__(self, client: Client, node_name: str, node: Callable[[], Object | None]) -> None:
        self._client = client
        self._node_name = node_name
        self._node = node
        self._tasks = Tasks("pods")
        self._workers: dict[str, Worker] = {}
        self._api: dict[str, Object] = {}
        self._mirrors: dict[str, Object] = {}
        self._static: dict[str, Object] = {}
        self._cleaning: set[str] = set()
        self._strays: dict[str, int] = {}
        """Cgroups of pods nobody knows, and in how many passes they were seen."""
        self.shared: Shared | None = None
        self.admit: Admit = lambda pod, others: None
        self.ready = False
        """All sources have been heard once: what is not wanted may be removed."""

    # --- sources ---

    def api_pod(self, uid: str) -> Object | None:
        """The API object that stands for the pod: itself or its mirror."""
        if uid in self._static or uid in self._mirrors:
            return self._mirrors.get(uid)
        return self._api.get(uid)

    def all(self) -> list[Object]:
        return [worker.pod for worker in self._workers.values()]

    def workers(self) -> list[Worker]:
        return list(self._workers.values())

    def worker(self, uid: str) -> Worker | None:
        return self._workers.get(uid)

    def others(self, uid: str) -> list[Object]:
        """The pods that take room beside this one, with what they were given."""
        pods = [worker.pod for worker in self._workers.values() if worker.uid != uid and worker.state == "running"]
        return pods if self.shared is None else list(map(self.shared.allocations.of, pods))

    def find(self, namespace: str, name: str, uid: str = "") -> Worker | None:
        # A successor of the same name is found before one that is still ending.
        return next((worker for worker in sorted(self._workers.values(), key=lambda worker: worker.state != "running")
                     if worker.pod["metadata"]["name"] == name and (worker.pod["metadata"].get("namespace") or "default") == namespace
                     and (not uid or worker.uid == uid or worker.pod["metadata"]["uid"] == uid)), None)

    def set_api(self, pod: Object) -> None:
        """A pod was added or changed in the API."""
        uid = podspec.uid_of(pod)
        if podspec.is_mirror(pod):
            self._mirrors[uid] = pod
        else:
            self._api[uid] = pod
            self._dispatch(pod)
        if self.shared is not None:
            self.shared.reporter.touch(uid)

    def remove_api(self, pod: Object) -> None:
        uid = podspec.uid_of(pod)
        if podspec.is_mirror(pod):
            self._mirrors.pop(uid, None)
            return
        self._api.pop(uid, None)
        if (worker := self._workers.get(uid)) is not None:
            worker.gone = True
            worker.end(grace=podspec.grace_of(pod))

    def set_static(self, pods: Iterable[Object]) -> None:
        """The complete set of static pods, as files have it now."""
        fresh = {podspec.uid_of(pod): pod for pod in pods}
        gone = [uid for uid in self._static if uid not in fresh]
        self._static = fresh
        for uid in gone:
            if (worker := self._workers.get(uid)) is not None:
                worker.gone = True
                worker.end()
        for pod in fresh.values():
            self._dispatch(pod)

    def _dispatch(self, pod: Object) -> None:
        uid = podspec.uid_of(pod)
        worker = self._workers.get(uid)
        if worker is not None:
            if uid not in self._static or worker.pod is not pod:
                worker.update(pod)
            return
        if self.shared is None:
            return
        if any(other.uid != uid and podspec.full_name(other.pod) == podspec.full_name(pod) and uid in self._static
               and other.state != "finished" for other in self._workers.values()):
            return  # a changed static pod starts when its predecessor has ended; cleaning up comes back to it
        phase = (pod.get("status") or {}).get("phase")
        failed = None
        if phase not in ("Succeeded", "Failed") and not pod["metadata"].get("deletionTimestamp") and \
                not (pod.get("status") or {}).get("containerStatuses"):
            failed = self.admit(pod, self.others(uid))
            if failed is not None:
                metric.REJECTED_PODS.labels(failed[0]).inc()
                self.shared.events.event(pod, "Warning", failed[0], failed[1])
        worker = self._workers[uid] = Worker(pod, self.shared, self._tasks, failed=failed)
        if pod["metadata"].get("deletionTimestamp") or phase in ("Succeeded", "Failed"):
            worker.end(grace=podspec.grace_of(pod) if pod["metadata"].get("deletionTimestamp") else None)
        self._tasks.keep(worker.run, f"worker/{podspec.full_name(pod)}")

    def wake(self, uid: str) -> None:
        if (worker := self._workers.get(uid)) is not None:
            worker.wake()

    def notice(self, uid: str, seen: Seen) -> None:
        if (worker := self._workers.get(uid)) is not None:
            worker.notice(seen)

    def wake_all(self) -> None:
        for worker in self._workers.values():
            worker.wake()

    def wake_deferred(self) -> None:
        """There may be room for resizes that wait for it: the most important pod looks first."""
        waiting = [worker for worker in self._workers.values() if worker.deferred]
        for worker in sorted(waiting, key=lambda worker: -int(worker.pod["spec"].get("priority") or 0)):
            worker.wake()

    # --- cleaning up ---

    async def run(self) -> None:
        """Removes what has ended and what nobody wants, every two seconds."""
        assert self.shared is not None
        while True:
            await self.shared.clock.sleep(2.0)
            if not self.ready:
                continue
            try:
                await self.clean()
                await self._mirror()
            except (CriError, ApiError, ConnectionError) as error:
                log.warning("Cannot clean up yet", err=error)

    async def clean(self) -> None:
        assert self.shared is not None
        shared = self.shared
        for uid, worker in list(self._workers.items()):
            if worker.state == "finished" and uid not in self._api and uid not in self._static:
                del self._workers[uid]
                shared.reporter.forget(uid)
                shared.objects.release(uid)
                self.wake_deferred()
                self._remove(uid, worker.pod)
        for pod in self._static.values():
            if podspec.uid_of(pod) not in self._workers:
                self._dispatch(pod)
        for static in (True, False):
            metric.DESIRED_PODS.labels(str(static).lower()).set(sum(1 for uid in self._workers if (uid in self._static) is static))
            metric.ACTIVE_PODS.labels(str(static).lower()).set(sum(
                1 for uid, worker in self._workers.items()
                if (uid in self._static) is static and worker.state in ("running", "terminating")))
        metric.MIRROR_PODS.set(len(self._static))
        for stage, lifecycle in (("running", "sync"), ("terminating", "terminating"), ("terminated", "terminated")):
            for static in (True, False):
                metric.WORKING_PODS.labels(lifecycle, "desired", str(static).lower()).set(
                    sum(1 for uid, worker in self._workers.items() if worker.state == stage and (uid in self._static) is static))
        present: dict[str, Object] = {}
        for sandbox in await shared.actor.runtime.list_sandboxes():
            present.setdefault(sandbox.metadata.uid, {"metadata": {"name": sandbox.metadata.name, "namespace": sandbox.metadata.namespace,
                                                                   "uid": sandbox.metadata.uid}, "spec": {}})
        for uid, pod in present.items():
            if uid and uid not in self._workers:  # asked now: pods may have come while the runtime made its list
                if uid not in self._cleaning:
                    metric.ORPHANED_PODS.inc()
                self._remove(uid, pod)
        await asyncio.to_thread(shared.cgroups.balance, self.others(""))
        strays = shared.cgroups.pods() - set(self._workers) - set(present)
        self._strays = {uid: self._strays.get(uid, 0) + 1 for uid in strays}
        for uid in [uid for uid, passes in self._strays.items() if passes > _STRAY_PASSES]:
            await asyncio.to_thread(shared.cgroups.remove_pod, uid)
        for uid in await asyncio.to_thread(_entries, shared.volumes.directory("x").parent):
            if uid not in self._workers and uid not in present and uid not in self._cleaning:
                try:
                    await shared.volumes.unmount(uid)
                except OSError as error:
                    log.warning("Orphaned pod's volumes are still there", uid=uid, err=error)

    def _remove(self, uid: str, pod: Object) -> None:
        """Kills and removes, in the background, all that the runtime has of a pod nobody wants."""
        if uid not in self._cleaning:
            self._cleaning.add(uid)
            self._tasks.start(self._remove_now(uid, pod), f"remove/{podspec.full_name(pod)}")

    async def _remove_now(self, uid: str, pod: Object) -> None:
        assert self.shared is not None
        shared = self.shared
        try:
            view = await shared.actor.observer.observe(uid)
            if view.alive:
                log.info("Killing a pod that is not wanted any more", pod=podspec.full_name(pod), uid=uid)
                await shared.actor.kill_pod(None, view, 1)  # as upstream: orphans get a second
                view = await shared.actor.observer.observe(uid)
            await shared.actor.remove_pod(view, logs=shared.actor.log_directory(pod))
            for _ in range(20):  # the kernel takes a moment to let go of what has just ended
                if await asyncio.to_thread(shared.cgroups.remove_pod, uid):
                    break
                await shared.clock.sleep(0.25)
        except (CriError, OSError) as error:
            log.warning("Cannot remove a pod yet", pod=podspec.full_name(pod), err=error)
        finally:
            self._cleaning.discard(uid)

    # --- mirror pods ---

    async def _mirror(self) -> None:
        """Every static pod is shown in the API by a mirror pod; mirrors of static pods that are gone are deleted."""
        for uid, pod in list(self._static.items()):
            mirror = self._mirrors.get(uid)
            worker = self._workers.get(uid)
            if mirror is not None and (mirror["metadata"].get("deletionTimestamp")):
                await self._delete_mirror(mirror)
            elif mirror is None and worker is not None and worker.state == "running":
                await self._create_mirror(pod)
        for uid, mirror in list(self._mirrors.items()):
            if uid not in self._static:
                await self._delete_mirror(mirror)

    async def _create_mirror(self, pod: Object) -> None:
        metadata = pod["metadata"]
        node = self._node()
        annotations = {**(metadata.get("annotations") or {}), podspec.CONFIG_MIRROR: metadata["uid"]}
        copy = {**pod, "metadata": {**{key: value for key, value in metadata.items() if key not in ("uid", "resourceVersion")},
                                    "annotations": annotations}}
        copy.pop("status", None)
        if node is not None:
            copy["metadata"]["ownerReferences"] = [{"apiVersion": "v1", "kind": "Node", "name": self._node_name,
                                                    "uid": node["metadata"]["uid"], "controller": True}]
        try:
            await self._client.create(PODS, copy, metadata.get("namespace") or "default")
        except AlreadyExists:
            try:
                other = await self._client.get(PODS, metadata["name"], metadata.get("namespace") or "default")
            except NotFound:
                return
            if podspec.is_mirror(other) and podspec.uid_of(other) != metadata["uid"]:
                await self._delete_mirror(other)

    async def _delete_mirror(self, mirror: Object) -> None:
        metadata = mirror["metadata"]
        with contextlib.suppress(NotFound):
            await self._client.delete(PODS, metadata["name"], metadata.get("namespace") or "default", grace_period_seconds=0,
                                      uid=metadata["uid"])

    async def stop(self) -> None:
        for worker in self._workers.values():
            worker.leave()
        await self._tasks.stop()


def _entries(directory: Path) -> list[str]:
    try:
        return [entry.name for entry in directory.iterdir()]
    except OSError:
        return []
