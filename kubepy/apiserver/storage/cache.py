"""The watch cache of one resource: every object in key order, its recent history, and the watchers that follow it.

Filled by a paged range at one revision, then fed by one etcd watch from there. Only that watch changes what readers and watchers
see, so order and uniqueness are etcd's. What this process wrote itself is remembered until its event arrives: as the start of
the next update (`latest`), and to spare decoding it again. Previous states come from the cache, so etcd need not send them.

How a reader knows that the cache is fresh. The quorum revision R of a point read says what must have been seen; the cache has seen
it when an event or a progress notification at or beyond R arrived. Where etcd's progress is trustworthy (3.4.31, 3.5.13 and
newer), progress is asked for while readers wait. Older servers answer a progress request past events that they have not sent yet,
and nothing else on the watch stream is ordered behind events of another revision either, so there the cache never claims
more than its last event; `store` then reads the keys and mod revisions of a list by quorum and takes only the values from here.

Recovery. A broken stream is resumed after the last revision seen. If that is compacted by now, the cache lists anew and tells
watchers the difference as events: collapsed, but nothing they need is missing. If etcd's revision went backwards (a
restored backup), watchers end with 410 and the cache starts over. Upstream ends all watchers in both cases.
"""
from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator

from sortedcontainers import SortedDict

from kubepy.api import errors
from kubepy.apiserver.storage.entry import Codec, Entry, Event, Undecodable
from kubepy.apiserver.storage.history import History
from kubepy.apiserver.storage.index import LabelIndex
from kubepy.apiserver.storage.kv import KV, Batch, Compacted, KeyValue, Unavailable, Watch, prefix_end
from kubepy.apiserver.storage.transform import Transformer
from kubepy.apiserver.storage.watcher import CacheWatcher, Scope
from kubepy.base.clock import Clock
from kubepy.base.log import get_logger
from kubepy.base.task import Tasks

FILL_PAGE = 1_000
WAIT_SECONDS = 3.0
"""How long a read waits for a revision; upstream's blockTimeout."""
PROGRESS_SECONDS = 0.1
MAX_OWN = 10_000


class Cache:
    """The objects under one prefix of the store."""

    def __init__(self, kv: KV, prefix: str, codec: Codec, transformer: Transformer, clock: Clock) -> None:
        self.prefix = prefix
        self.revision = 0
        """Everything up to here has been seen."""
        self.entries: SortedDict = SortedDict()
        """`namespace/name` (or `name`) → Entry."""
        self.labelled = LabelIndex()
        self.history = History(clock)
        self._kv, self._codec, self._transformer, self._clock = kv, codec, transformer, clock
        self._begin = prefix.encode()
        self._end = prefix_end(self._begin)
        self._log = get_logger("cache").bind(prefix=prefix)
        self._tasks = Tasks(f"cache {prefix}", clock)
        self._filled = asyncio.Event()
        self._own: dict[str, Entry] = {}
        self._gone: dict[str, int] = {}
        self.writing: dict[str, tuple[bytes, Entry]] = {}
        """What this process is writing: the stored bytes, which are like no others, and the entry that they make."""
        self._watchers: dict[Scope, set[CacheWatcher]] = {}
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        self._asking = asyncio.Event()

    def start(self) -> None:
        self._tasks.keep(self._run, "follow", initial=0.05, maximum=2.0)

    async def stop(self) -> None:
        await self._tasks.stop()
        for watchers in list(self._watchers.values()):
            for watcher in list(watchers):
                watcher.end(errors.Expired("The watch was ended: the server is no longer serving the resource"))

    async def ready(self) -> None:
        await self._filled.wait()

    @property
    def filled(self) -> bool:
        return self._filled.is_set()

    # Reading

    def get(self, key: str) -> Entry | None:
        entry: Entry | None = self.entries.get(key)
        return entry

    def latest(self, key: str) -> Entry | None:
        """The newest state known, written by this process but not yet seen in the watch included."""
        entry: Entry | None = self.entries.get(key)
        own = self._own.get(key)
        if own is not None and (entry is None or own.revision > entry.revision):
            entry = own
        if entry is not None and self._gone.get(key, 0) > entry.revision:
            return None
        return entry

    def keys(self, start: str, end: str) -> Iterator[str]:
        found: Iterator[str] = self.entries.irange(start, end or None, inclusive=(True, False))
        return found

    def count(self, start: str, end: str) -> int:
        entries = self.entries
        return int((entries.bisect_left(end) if end else len(entries)) - entries.bisect_left(start))

    def _put(self, key: str, entry: Entry, old: Entry | None) -> None:
        self.entries[key] = entry
        self.labelled.put(key, entry, old)

    def _remove(self, key: str, old: Entry) -> None:
        del self.entries[key]
        self.labelled.remove(key, old)

    def wrote(self, key: str, entry: Entry) -> None:
        """Notes what this process wrote; the event that tells everybody comes from etcd."""
        if entry.revision > self.revision and len(self._own) < MAX_OWN:
            self._own[key] = entry

    def removed(self, key: str, revision: int) -> None:
        if revision > self.revision and len(self._gone) < MAX_OWN:
            self._gone[key] = revision

    async def wait(self, revision: int, seconds: float | None = None) -> None:
        """Waits until the cache has seen `revision`; raises Timeout (504) as upstream's cacher does."""
        if self.revision >= revision and self._filled.is_set():
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((revision, waiter))
        self._asking.set()
        try:
            async with asyncio.timeout(WAIT_SECONDS if seconds is None else seconds):
                await waiter
        except TimeoutError:
            raise too_large(revision, self.revision) from None
        finally:
            self._waiting = [one for one in self._waiting if one[1] is not waiter]

    # Watching

    def watch(self, namespace: str | None, name: str | None, after: int) -> CacheWatcher:
        """A watcher of what happens after `after`; raises Expired when history does not reach back to it."""
        pending = [
            event for event in self.history.after(after)
            if (namespace is None or event.entry.namespace == namespace) and (name is None or event.entry.name == name)
        ]
        watcher = CacheWatcher((namespace, name), after, pending, lambda: self.revision, self._forget)
        self._watchers.setdefault(watcher.scope, set()).add(watcher)
        return watcher

    def _forget(self, watcher: CacheWatcher) -> None:
        watchers = self._watchers.get(watcher.scope)
        if watchers is not None:
            watchers.discard(watcher)
            if not watchers:
                del self._watchers[watcher.scope]

    def _publish(self, events: list[Event], revision: int) -> None:
        """Makes events known, in order, and the revision up to which that is everything."""
        self.history.append(events)
        watchers = self._watchers
        told: dict[CacheWatcher, None] = {}
        if watchers:
            for event in events:
                namespace, name = event.entry.namespace, event.entry.name
                for scope in ((None, None), (namespace, None), (namespace, name), (None, name)):
                    for watcher in tuple(watchers.get(scope, ())):
                        told[watcher] = None
                        watcher.put(event)
        self.revision = max(self.revision, revision)
        for watcher in told:
            watcher.flush()
        if self._waiting:
            for wanted, waiter in self._waiting:
                if wanted <= self.revision and not waiter.done():
                    waiter.set_result(None)

    # Following etcd

    async def _run(self) -> None:
        if not self._filled.is_set():
            await self._fill()
        while True:
            try:
                await self._follow()
            except Compacted:
                self._log.warning("History was compacted before it was read, listing anew", revision=self.revision)
                await self._relist()
            except Unavailable as error:
                self._log.info("The watch broke and will be resumed", revision=self.revision, why=str(error))
                await self._clock.sleep(0.05)
                await self._check_history()

    async def _follow(self) -> None:
        watch = await self._kv.watch(self._begin, self._end, after=self.revision)
        asking = self._tasks.start(self._ask(watch), "progress")
        try:
            while True:
                self._apply(await watch.next())
        finally:
            asking.cancel()
            watch.close()

    async def _ask(self, watch: Watch) -> None:
        """Asks for progress as long as somebody waits for it."""
        while True:
            await self._asking.wait()
            self._asking.clear()
            while self._waiting:
                if self._kv.progress_is_safe:
                    try:
                        await watch.request_progress()
                    except Unavailable:
                        return  # the reader of the stream notices too
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(PROGRESS_SECONDS):
                        await self._asking.wait()
                self._asking.clear()

    def _apply(self, batch: Batch) -> None:
        entries = self.entries
        events: list[Event] = []
        seen = self.revision
        for change in batch.changes:
            kv = change.kv
            revision = kv.mod_revision
            if revision <= seen:
                continue
            key = kv.key[len(self._begin):].decode()
            old: Entry | None = entries.get(key)
            if change.deleted:
                if self._gone.get(key, revision + 1) <= revision:
                    del self._gone[key]
                self._own_until(key, revision)
                if old is not None:
                    self._remove(key, old)
                    events.append(Event("DELETED", revision, old.at(revision), old))
                continue
            entry = self._own_until(key, revision) or self._written(key, kv) or self._decode(kv)
            if entry is None:
                continue
            self._put(key, entry, old)
            events.append(Event("ADDED" if old is None else "MODIFIED", revision, entry, old))
        if batch.changes or self._kv.progress_is_safe:
            self._publish(events, batch.revision)

    def _own_until(self, key: str, revision: int) -> Entry | None:
        """Forgets an own write that the watch has reached, and returns it when it is the very one."""
        own = self._own.get(key)
        if own is None or own.revision > revision:
            return None
        del self._own[key]
        return own if own.revision == revision else None

    def _written(self, key: str, kv: KeyValue) -> Entry | None:
        """The entry of a write that is under way here, when this is what it wrote."""
        pending = self.writing.get(key)
        if pending is None or pending[0] != kv.value:
            return None
        entry = pending[1]
        entry.revision = kv.mod_revision
        return entry

    def _decode(self, kv: KeyValue) -> Entry | None:
        try:
            raw, stale = self._transformer.read(kv.key, kv.value)
            return self._codec.entry(raw, kv.mod_revision, stale=stale)
        except Undecodable as error:
            self._log.error("A stored object cannot be read and is left out", error, key=kv.key.decode(errors="replace"))
            return None

    async def _pages(self) -> AsyncIterator[tuple[list[KeyValue], int]]:
        """Everything etcd has, in pages of one revision."""
        start, revision = self._begin, 0
        while True:
            page = await self._kv.range(start, self._end, limit=FILL_PAGE, revision=revision)
            revision = page.revision
            yield page.kvs, revision
            if len(page.kvs) >= page.count or not page.kvs:
                return
            start = page.kvs[-1].key + b"\x00"

    async def _fill(self) -> None:
        entries: dict[str, Entry] = {}
        labelled = LabelIndex()
        revision = 0
        async for kvs, at in self._pages():
            revision = at
            for kv in kvs:
                entry = self._decode(kv)
                if entry is not None:
                    key = kv.key[len(self._begin):].decode()
                    entries[key] = entry
                    labelled.put(key, entry, None)
        self.entries, self.labelled = SortedDict(entries), labelled
        self.history.reset(revision)
        self.revision = revision
        self._filled.set()
        self._publish([], revision)
        self._log.v(2).info("Cache filled", objects=len(entries), revision=revision)

    async def _check_history(self) -> None:
        """Starts over when etcd's revision is behind what has been seen: its data is not the data that was followed."""
        current = await self._kv.revision()
        if current >= self.revision:
            return
        self._log.warning("Etcd went backwards, starting over", seen=self.revision, revision=current)
        self._own.clear()
        self._gone.clear()
        self._filled.clear()
        for watchers in list(self._watchers.values()):
            for watcher in list(watchers):
                watcher.end(errors.Expired(f"too old resource version: {self.revision} ({current})"))
        self.revision = 0
        await self._fill()

    async def _relist(self) -> None:
        """Lists anew and publishes the difference as events."""
        await self._check_history()
        kvs: list[KeyValue] = []
        revision = 0
        async for page, at in self._pages():
            revision = at
            kvs += page
        events: list[Event] = []
        found: set[str] = set()
        for kv in kvs:
            key = kv.key[len(self._begin):].decode()
            found.add(key)
            old: Entry | None = self.entries.get(key)
            if kv.mod_revision <= self.revision or (old is not None and old.revision >= kv.mod_revision):
                continue
            entry = self._decode(kv)
            if entry is None:
                continue
            if old is not None and kv.create_revision > old.revision:
                gone = max(self.revision + 1, kv.create_revision - 1)
                events.append(Event("DELETED", gone, old.at(gone), old))
                old = None
            events.append(Event("ADDED" if old is None else "MODIFIED", kv.mod_revision, entry, old))
        events += [Event("DELETED", revision, old.at(revision), old) for key, old in self.entries.items() if key not in found]
        events.sort(key=lambda event: event.revision)
        for event in events:
            key = event.entry.key
            if event.type == "DELETED":
                self._remove(key, self.entries[key])
            else:
                self._put(key, event.entry, self.entries.get(key))
        self._own.clear()
        self._gone.clear()
        self._publish(events, revision)


def too_large(wanted: int, current: int) -> errors.Timeout:
    """What upstream answers to a revision from the future."""
    return errors.Timeout(
        f"Timeout: Too large resource version: {wanted}, current: {current}",
        {"causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}], "retryAfterSeconds": 1},
    )
