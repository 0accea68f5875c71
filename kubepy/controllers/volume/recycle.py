"""The deprecated reclaim policy Recycle: a pod scrubs a hostPath or NFS volume whose claim has gone, and the volume is free again.

Follows upstream's recycler client: one pod a volume, `recycler-for-NAME`, made from a template, deleted when it has ended; what is told of
it is told of the volume (`RecyclerPod`). A pod of that name that this process has not made is not believed, whoever made it: it is deleted
and the volume scrubbed by one of its own. After a restart scrubbing therefore begins again. Known difference: the default image.
"""
from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

import yaml

from kubepy.api.errors import AlreadyExists, ApiError, NotFound
from kubepy.api.quantity import QuantityError, value_of
from kubepy.api.resource import EVENTS, PODS
from kubepy.api.types import Object
from kubepy.base.backoff import Backoff
from kubepy.base.clock import Clock
from kubepy.base.log import get_logger
from kubepy.base.task import Tasks
from kubepy.client.events import Recorder
from kubepy.client.interface import Client

log = get_logger("recycler")
PREFIX = "recycler-for-"
GI = 1 << 30
SCRUB = 'test -e /scrub && rm -rf /scrub/..?* /scrub/.[!.]* /scrub/* && test -z "$(ls -A /scrub)" || exit 1'
DEFAULT: Object = {
    "metadata": {"namespace": "default"},
    "spec": {"activeDeadlineSeconds": 60, "restartPolicy": "Never", "volumes": [{"name": "vol"}], "containers": [
        {"name": "pv-recycler", "image": "busybox:1.36", "command": ["/bin/sh"],
         "args": ["-c", SCRUB], "volumeMounts": [{"name": "vol", "mountPath": "/scrub"}]}]}}
"""Upstream's template but for the image, which is a Debian there, and for `find -delete`, which not every busybox has."""

State = Literal["running", "recycled", "failed", "impossible"]


@dataclass(frozen=True, slots=True)
class Scrubbing:
    """How volumes of one kind are scrubbed (`--pv-recycler-*`): the pod's template, and its seconds: at least, and for each Gi."""

    template: Object = field(default_factory=lambda: DEFAULT)
    minimum: int = 60
    increment: int = 30


@dataclass(frozen=True, slots=True)
class Recycling:
    host_path: Scrubbing = field(default_factory=Scrubbing)
    nfs: Scrubbing = field(default_factory=lambda: Scrubbing(minimum=300))


def read_template(path: str) -> Object:
    """The pod template in a file; the default one for "". Raises OSError, ValueError."""
    if not path:
        return DEFAULT
    try:
        found: Any = yaml.safe_load(Path(path).read_text())
    except yaml.YAMLError as error:
        raise ValueError(f"failed to decode {path}: {error}") from error
    spec = found.get("spec") if isinstance(found, dict) else None
    if not isinstance(spec, dict) or not spec.get("containers"):
        raise ValueError(f"{path} is no pod with containers")
    if not spec.get("volumes"):
        raise ValueError(f"invalid recycler pod template in {path}: does not contain any volume(s)")
    return {"metadata": found.get("metadata") or {}, "spec": spec}


def pod_for(volume: Object, recycling: Recycling) -> Object | None:
    """The pod that scrubs a volume; None for a kind of volume that is not scrubbed."""
    spec = volume["spec"]
    kind = "hostPath" if spec.get("hostPath") else "nfs" if spec.get("nfs") else ""
    if not kind:
        return None
    how = recycling.host_path if kind == "hostPath" else recycling.nfs
    metadata, template = how.template.get("metadata") or {}, how.template["spec"]
    first, *others = template["volumes"]
    return {"apiVersion": "v1", "kind": "Pod",
            "metadata": {**{key: value for key, value in metadata.items() if key in ("labels", "annotations")},
                         "name": PREFIX + volume["metadata"]["name"], "namespace": metadata.get("namespace") or "default"},
            "spec": {**template, "activeDeadlineSeconds": seconds(volume, how),
                     "volumes": [{"name": first["name"], kind: spec[kind]}, *others]}}


def seconds(volume: Object, how: Scrubbing) -> int:
    try:
        size = value_of((volume["spec"].get("capacity") or {}).get("storage") or "0")
    except QuantityError:
        size = 0
    return max(how.minimum, size // GI * how.increment)


@dataclass(frozen=True, slots=True)
class Step:
    state: State
    message: str = ""


@dataclass(slots=True)
class Rest:
    """After a failure: 0.5 s to 122 s, as upstream's operations."""

    until: float = 0.0
    delays: Backoff = field(default_factory=lambda: Backoff(0.5, 122.0))


class Recycler:
    """`step` is called until it says that the volume is recycled or why not; pods that end are to bring another call."""

    def __init__(self, client: Client, recorder: Recorder, recycling: Recycling, tasks: Tasks, clock: Clock) -> None:
        self._client, self._recorder, self._recycling, self._tasks, self._clock = client, recorder, recycling, tasks, clock
        self._mine: dict[str, tuple[str, asyncio.Task[None]]] = {}
        """Volume's UID -> the UID of its pod, and who follows the pod's events."""
        self._rests: dict[str, Rest] = {}

    def is_at(self, volume: Object) -> bool:
        """Whether a pod of ours scrubs the volume, or has."""
        return volume["metadata"]["uid"] in self._mine

    def rests(self, volume: Object) -> float:
        """Seconds until the volume is to be tried again."""
        rest = self._rests.get(volume["metadata"]["uid"])
        return max(rest.until - self._clock.monotonic(), 0.0) if rest else 0.0

    async def step(self, volume: Object) -> Step:
        """Raises ApiError."""
        step = await self._step(volume)
        if step.state == "failed":
            rest = self._rests.setdefault(volume["metadata"]["uid"], Rest())
            rest.until = self._clock.monotonic() + rest.delays.next()
        elif step.state == "recycled":
            self._rests.pop(volume["metadata"]["uid"], None)
        return step

    async def _step(self, volume: Object) -> Step:
        wanted = pod_for(volume, self._recycling)
        if wanted is None:
            return Step("impossible", "No recycler plugin found for the volume!")
        key, name, namespace = volume["metadata"]["uid"], wanted["metadata"]["name"], wanted["metadata"]["namespace"]
        mine = self._mine.get(key)
        if mine is None:
            return await self._begin(volume, wanted)
        try:
            pod = await self._client.get(PODS, name, namespace)
        except NotFound:
            self._forget(key)
            return Step("failed", "failed to recycle volume: recycler pod was deleted")
        status = pod.get("status") or {}
        if pod["metadata"]["uid"] != mine[0]:
            self._forget(key)
            return Step("failed", "failed to recycle volume: recycler pod was deleted")
        if status.get("phase") not in ("Succeeded", "Failed"):
            return Step("running")
        await self._remove(pod)
        self._forget(key)
        if status["phase"] == "Succeeded":
            return Step("recycled")
        return Step("failed", f"failed to recycle volume: {status.get('message') or 'pod failed, pod.Status.Message unknown'}")

    async def _begin(self, volume: Object, wanted: Object) -> Step:
        namespace, name = wanted["metadata"]["namespace"], wanted["metadata"]["name"]
        try:
            made = await self._client.create(PODS, wanted)
        except AlreadyExists:
            await self._remove(await self._client.get(PODS, name, namespace))
            return Step("failed", "old recycler pod found, will retry later")
        except ApiError as error:
            return Step("failed", f"unexpected error creating recycler pod:  {error.message}")
        follower = self._tasks.start(self._follow(volume, made), f"recycler/{name}")
        self._mine[volume["metadata"]["uid"]] = (made["metadata"]["uid"], follower)
        return Step("running")

    async def _remove(self, pod: Object) -> None:
        metadata = pod["metadata"]
        try:
            await self._client.delete(PODS, metadata["name"], metadata["namespace"], uid=metadata["uid"])
        except NotFound:
            return

    def _forget(self, key: str) -> None:
        _, follower = self._mine.pop(key)
        follower.cancel()

    def forget_gone(self, present: Iterable[str]) -> None:
        """Volumes that are no more are followed no more."""
        kept = set(present)
        for key in self._mine.keys() - kept:
            self._forget(key)
        for key in self._rests.keys() - kept:
            del self._rests[key]

    async def _follow(self, volume: Object, pod: Object) -> None:
        """Tells of the volume what is told of its pod, while that is there."""
        metadata = pod["metadata"]
        stream = self._client.watch(EVENTS, metadata["namespace"], field_selector=f"involvedObject.name={metadata['name']}")
        try:
            async with aclosing(cast(Any, stream)) as events:
                async for event in events:
                    if event.type == "ADDED" and event.object["involvedObject"].get("uid") == metadata["uid"]:
                        kind: Literal["Normal", "Warning"] = "Warning" if event.object.get("type") == "Warning" else "Normal"
                        self._recorder.event(volume, kind, "RecyclerPod", f"Recycler pod: {event.object.get('message', '')}")
        except (ApiError, ConnectionError) as error:
            log.v(2).info("Events of a recycler pod are not followed any more", pod=metadata["name"], err=error)
