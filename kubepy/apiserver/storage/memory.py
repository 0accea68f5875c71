"""An in-memory store with etcd's semantics: for tests and for trying things out; nothing survives the process.

Differs from etcd: leases run on the given clock and are checked when the store is used, not by a timer.
"""
from __future__ import annotations

import asyncio

from sortedcontainers import SortedDict

from kubepy.apiserver.storage.kv import (
    Batch,
    Change,
    Compacted,
    FutureRevision,
    KeyValue,
    Range,
    Read,
    TooLarge,
    Unavailable,
    Write,
    Written,
)
from kubepy.base.clock import Clock, SystemClock

MAX_VALUE = 1_500_000


class MemoryKV:
    """`kv.KV` in memory. `unavailable` may be set by a test: everything raises Unavailable and watches break."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._revision = 1
        self._compacted = 0
        self._versions: SortedDict = SortedDict()
        """key → its versions in order, the last one first in time; a deletion is a Change too."""
        self._log: list[Change] = []
        self._watches: set[MemoryWatch] = set()
        self._leases: dict[int, float] = {}
        self._next_lease = 1
        self._unavailable = False

    @property
    def progress_is_safe(self) -> bool:
        return True

    @property
    def unavailable(self) -> bool:
        return self._unavailable

    @unavailable.setter
    def unavailable(self, value: bool) -> None:
        self._unavailable = value
        if value:
            self.break_watches()

    def break_watches(self) -> None:
        """Ends every watch as a lost connection would."""
        for watch in list(self._watches):
            watch.fail(Unavailable("the store went away"))

    async def range(self, key: bytes, end: bytes = b"", *, limit: int = 0, revision: int = 0, keys_only: bool = False) -> Range:
        self._enter()
        at = revision or self._revision
        if at > self._revision:
            raise FutureRevision("required revision is a future revision")
        if revision and at < self._compacted:
            raise Compacted
        keys = self._versions.irange(key, end, inclusive=(True, False)) if end else ((key,) if key in self._versions else ())
        found = [kv for kv in (self._at(k, at) for k in keys) if kv is not None]
        count = len(found)
        if limit:
            found = found[:limit]
        if keys_only:
            found = [KeyValue(kv.key, b"", kv.create_revision, kv.mod_revision, kv.version, kv.lease) for kv in found]
        return Range(found, count, at, self._revision)

    async def written(self, key: bytes, end: bytes, *, after: int) -> Written:
        found = await self.range(key, end, keys_only=True)
        changed = any(kv.mod_revision > after for kv in found.kvs)
        return Written(found.kvs if changed else None, found.count, found.revision)

    async def get(self, key: bytes, known: int = 0) -> Read:
        self._enter()
        kv = self._at(key, self._revision)
        return Read(kv is not None, kv if kv is not None and kv.mod_revision > known else None, self._revision)

    async def revision(self) -> int:
        self._enter()
        return self._revision

    async def put(self, key: bytes, value: bytes, *, expected: int, lease: int | None = None) -> Write:
        self._enter()
        if len(value) > MAX_VALUE:
            raise TooLarge("etcdserver: request is too large")
        current = self._at(key, self._revision)
        if (current.mod_revision if current else 0) != expected:
            return Write(False, self._revision, current)
        self._revision += 1
        if current:
            kept = current.lease if lease is None else lease
            new = KeyValue(key, value, current.create_revision, self._revision, current.version + 1, kept)
        else:
            new = KeyValue(key, value, self._revision, self._revision, 1, lease or 0)
        self._append([Change(new)])
        return Write(True, self._revision)

    async def delete(self, key: bytes, *, expected: int) -> Write:
        self._enter()
        current = self._at(key, self._revision)
        if current is None or current.mod_revision != expected:
            return Write(False, self._revision, current)
        self._revision += 1
        self._append([Change(KeyValue(key, b"", 0, self._revision, 0), True)])
        return Write(True, self._revision)

    async def watch(self, key: bytes, end: bytes, *, after: int) -> MemoryWatch:
        self._enter()
        watch = MemoryWatch(self, key, end)
        if after < self._compacted:
            watch.fail(Compacted(self._compacted))
            return watch
        watch.deliver([change for change in self._log if change.kv.mod_revision > after], self._revision)
        self._watches.add(watch)
        return watch

    async def compact(self, revision: int) -> None:
        self._enter()
        if revision > self._revision:
            raise FutureRevision("required revision is a future revision")
        if revision <= self._compacted:
            return
        self._compacted = revision
        self._log = [change for change in self._log if change.kv.mod_revision > revision]
        for key in list(self._versions):
            versions = self._versions[key]
            keep = 0
            for index, change in enumerate(versions):
                if change.kv.mod_revision <= revision:
                    keep = index + 1 if change.deleted else index
            if keep == len(versions):
                del self._versions[key]
            else:
                del versions[:keep]

    async def lease(self, seconds: int) -> int:
        self._enter()
        self._next_lease += 1
        self._leases[self._next_lease] = self._clock.monotonic() + seconds
        return self._next_lease

    async def check(self) -> None:
        self._enter()

    async def close(self) -> None:
        self.break_watches()

    def expire(self) -> None:
        """Lets go of what has outlived its lease, all keys of a lease at one revision, as etcd does."""
        now = self._clock.monotonic()
        for lease in [lease for lease, end in self._leases.items() if end <= now]:
            del self._leases[lease]
            keys = [k for k in self._versions if (kv := self._at(k, self._revision)) is not None and kv.lease == lease]
            if keys:
                self._revision += 1
                self._append([Change(KeyValue(key, b"", 0, self._revision, 0), True) for key in keys])

    def forget(self, watch: MemoryWatch) -> None:
        self._watches.discard(watch)

    def _enter(self) -> None:
        if self._unavailable:
            raise Unavailable("the store is not available")
        if self._leases:
            self.expire()

    def _append(self, changes: list[Change]) -> None:
        for change in changes:
            self._versions.setdefault(change.kv.key, []).append(change)
            self._log.append(change)
        for watch in list(self._watches):
            watch.deliver(changes, self._revision)

    def _at(self, key: bytes, revision: int) -> KeyValue | None:
        for change in reversed(self._versions.get(key, ())):
            if change.kv.mod_revision <= revision:
                return None if change.deleted else change.kv
        return None

    def current_revision(self) -> int:
        return self._revision


class MemoryWatch:
    """`kv.Watch` in memory."""

    def __init__(self, store: MemoryKV, key: bytes, end: bytes) -> None:
        self._store, self._key, self._end = store, key, end
        self._queue: asyncio.Queue[Batch | Exception] = asyncio.Queue()

    def deliver(self, changes: list[Change], revision: int) -> None:
        mine = [change for change in changes if self._key <= change.kv.key < self._end]
        if mine:
            self._queue.put_nowait(Batch(mine, revision))

    def fail(self, error: Exception) -> None:
        self._store.forget(self)
        self._queue.put_nowait(error)

    async def next(self) -> Batch:
        item = await self._queue.get()
        if isinstance(item, Exception):
            raise item
        return item

    async def request_progress(self) -> None:
        self._queue.put_nowait(Batch([], self._store.current_revision()))

    def close(self) -> None:
        self._store.forget(self)
