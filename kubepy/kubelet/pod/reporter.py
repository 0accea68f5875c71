"""Pod statuses on their way to the API: only differences are written, in order for each pod, and again when the server was away.

A pod that has ended and is being deleted is removed from the API once its last status has arrived (upstream's status manager).
"""
from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from kubepy.api.errors import ApiError, Conflict, NotFound
from kubepy.api.resource import PODS
from kubepy.api.types import Object
from kubepy.base.clock import Clock
from kubepy.base.log import get_logger
from kubepy.base.task import Tasks
from kubepy.client.interface import Client
from kubepy.kubelet import metric
from kubepy.kubelet.pod import spec as podspec
from kubepy.kubelet.pod.condition import OWNED

log = get_logger("status")
_CONCURRENCY = 8


class _Entry:
    __slots__ = ("dirty", "gone", "pod", "sent", "since", "status")

    def __init__(self, pod: Object, status: Object) -> None:
        self.pod, self.status = pod, status
        self.dirty = True
        self.since: float | None = None
        """When what is to be written became another."""
        self.gone = False
        """The pod has ended and its resources are free: the API object may go."""
        self.sent: Object | None = None


class Reporter:
    """Statuses by pod UID. `api_pod(uid)` is the informer's current object, for a static pod its mirror."""

    def __init__(self, client: Client, clock: Clock, api_pod: Callable[[str], Object | None]) -> None:
        self._client = client
        self._clock = clock
        self._api_pod = api_pod
        self._entries: dict[str, _Entry] = {}
        self._wake = asyncio.Event()
        self._busy: set[str] = set()
        self._limit = asyncio.Semaphore(_CONCURRENCY)

    def status(self, uid: str) -> Object | None:
        entry = self._entries.get(uid)
        return entry.status if entry else None

    def set(self, pod: Object, status: Object) -> None:
        uid = podspec.uid_of(pod)
        entry = self._entries.get(uid)
        if entry is None:
            entry = self._entries[uid] = _Entry(pod, status)
        elif entry.status == status and not entry.dirty and entry.sent is not None:
            entry.pod = pod
            return
        if entry.status != status or entry.sent is None:
            entry.since = entry.since if entry.since is not None else self._clock.monotonic()
        entry.pod, entry.status, entry.dirty = pod, status, True
        self._wake.set()

    def finished(self, uid: str) -> None:
        """The pod's containers, volumes and cgroup are gone."""
        if (entry := self._entries.get(uid)) is not None:
            entry.gone = entry.dirty = True
            self._wake.set()

    def touch(self, uid: str) -> None:
        """The API object has changed: compare again."""
        if (entry := self._entries.get(uid)) is not None:
            entry.dirty = True
            self._wake.set()

    def forget(self, uid: str) -> None:
        self._entries.pop(uid, None)

    async def run(self) -> None:
        tasks = Tasks("status", self._clock)
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                for uid, entry in list(self._entries.items()):
                    if entry.dirty and uid not in self._busy:
                        self._busy.add(uid)
                        tasks.start(self._send(uid, entry), uid)
        finally:
            await tasks.stop()

    async def _send(self, uid: str, entry: _Entry) -> None:
        try:
            async with self._limit:
                entry.dirty = False
                await self._write(uid, entry)
        except NotFound:
            log.v(3).info("Pod is gone, status dropped", pod=podspec.full_name(entry.pod))
        except Conflict as error:
            log.v(2).info("Another pod of that name, status dropped", pod=podspec.full_name(entry.pod), err=error)
        except (ApiError, ConnectionError) as error:
            log.warning("Status not written yet", pod=podspec.full_name(entry.pod), err=error)
            entry.dirty = True
            await self._clock.sleep(1.0 if isinstance(error, ConnectionError) else 3.0)
        finally:
            self._busy.discard(uid)
            if entry.dirty:
                self._wake.set()

    async def _write(self, uid: str, entry: _Entry) -> None:
        current = self._api_pod(uid)
        if current is None:
            return
        metadata = current["metadata"]
        if podspec.uid_of(current) != uid:
            return
        # The informer may still be behind our own last write.
        base = entry.sent if entry.sent is not None and _version(entry.sent) > _version(current) else current
        old = base.get("status") or {}
        patch = difference(old, entry.status)
        if patch:
            written = await self._client.patch(PODS, metadata["name"], {"metadata": {"uid": metadata["uid"]}, "status": patch},
                                               metadata.get("namespace") or "default", type="strategic", subresource="status")
            entry.sent = written
            if entry.since is not None:
                metric.STATUS_SECONDS.observe(self._clock.monotonic() - entry.since)
                entry.since = None
            log.v(3).info("Status written", pod=podspec.full_name(current), phase=entry.status.get("phase"))
        if entry.gone and metadata.get("deletionTimestamp") and not podspec.is_mirror(current):
            await self._client.delete(PODS, metadata["name"], metadata.get("namespace") or "default", grace_period_seconds=0,
                                      uid=metadata["uid"])
            log.v(2).info("Pod removed from the API", pod=podspec.full_name(current))


def _version(obj: Object) -> int:
    text = obj["metadata"].get("resourceVersion") or "0"
    return int(text) if text.isdigit() else 0


def difference(old: Object, new: Object) -> Object:
    """The strategic merge patch that makes `old` into `new`: conditions merge by type, IP lists by address, the rest is replaced."""
    patch: dict[str, Any] = {}
    for key, value in new.items():
        if old.get(key) == value:
            continue
        if key == "conditions":
            before = {entry["type"]: entry for entry in old.get("conditions") or ()}
            present = {entry["type"] for entry in value}
            removed = [kind for kind in before if kind in OWNED and kind not in present]
            differs = bool(removed) or any(_said(before.get(entry["type"], {})) != _said(entry) for entry in value)
            changed: list[Object] = []
            for entry in value:
                previous = before.get(entry["type"])
                if previous != entry or entry["type"] in OWNED:
                    gone = {name: None for name in previous or () if name not in entry}
                    changed.append({**entry, **gone})
            if differs:
                patch["conditions"] = [*changed, *({"$patch": "delete", "type": kind} for kind in removed)]
        elif key in ("podIPs", "hostIPs"):
            wanted = {entry["ip"] for entry in value}
            patch[key] = [*value, *({"$patch": "delete", "ip": entry["ip"]} for entry in old.get(key) or () if entry["ip"] not in wanted)]
        else:
            patch[key] = value
    for key in old:
        if key not in new and key in ("reason", "message", "podIP", "podIPs", "initContainerStatuses", "ephemeralContainerStatuses"):
            patch[key] = None
    return patch


def _said(condition: Object) -> Object:
    """Without what is null: servers leave that out or keep it."""
    return {name: value for name, value in condition.items() if value is not None}


def merged(api: Object, known: Object) -> Object:
    """The last known status: ours, with the conditions others have set meanwhile."""
    own = {entry["type"] for entry in known.get("conditions") or ()}
    foreign = [entry for entry in api.get("conditions") or () if entry["type"] not in own]
    current = {entry["type"]: entry for entry in api.get("conditions") or ()}
    conditions = [entry if entry["type"] in OWNED else current.get(entry["type"], entry) for entry in known.get("conditions") or ()]
    return {**known, "conditions": [*conditions, *foreign]}
