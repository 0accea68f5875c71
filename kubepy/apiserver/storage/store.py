"""`interface.ResourceStore` of one resource: reads from the watch cache as far as that is correct, writes by compare-and-swap.

Upstream: `storage.Interface` on etcd3 behind the cacher. Where consistent lists are answered from differs by etcd's version, see `cache`;
an exact list is rebuilt from the cache's history where that reaches back, else read from etcd (keys first: of what has not
changed since, the cache has the values).
"""
from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from heapq import merge

from kubepy.api import errors
from kubepy.api.resource import Resource
from kubepy.api.types import Object
from kubepy.apiserver.storage.cache import Cache, too_large
from kubepy.apiserver.storage.entry import Codec, Entry, Undecodable, marked, same
from kubepy.apiserver.storage.index import LabelMatcher
from kubepy.apiserver.storage.interface import Change, Matcher
from kubepy.apiserver.storage.kv import KV, FutureRevision, KeyValue, Write, Written, prefix_end
from kubepy.apiserver.storage.lease import Leases
from kubepy.apiserver.storage.page import Freshness, ListPage, encode_token, parse_options, parse_revision
from kubepy.apiserver.storage.scan import Scan, Translated
from kubepy.apiserver.storage.transform import Transformer
from kubepy.apiserver.storage.watcher import CacheWatcher
from kubepy.base.task import Tasks

MAX_SINGLE_READS = 16
"""How many objects that the cache has not got are read one by one before the range is read as a whole."""
SCAN_PAGE = 1_000
EVENT_SECONDS = 0.2
"""How long a read waits for an event that etcd has already sent before it reads the object itself."""

KeyValues = list[KeyValue]
Found = list[tuple[str, Entry]]


class Store:
    """The objects of one resource."""

    def __init__(self, kv: KV, cache: Cache, codec: Codec, resource: Resource, leases: Leases, transformer: Transformer) -> None:
        self.resource = resource
        self.cache = cache
        self._kv, self._codec, self._leases, self._transformer = kv, codec, leases, transformer
        self._comparing: dict[tuple[str, str], asyncio.Task[Written]] = {}
        self._tasks = Tasks(f"store {cache.prefix}")

    async def ready(self) -> None:
        await self.cache.ready()

    async def stop(self) -> None:
        """Ends the cache and its watchers."""
        await self._tasks.stop()
        await self.cache.stop()

    def cached(self, namespace: str, name: str) -> Entry | None:
        return self.cache.get(_key(namespace, name))

    @property
    def size(self) -> int:
        """How many objects the cache holds now."""
        return len(self.cache.entries)

    # Reading

    async def get(self, namespace: str, name: str, *, resource_version: str | None = None) -> Entry:
        key = _key(namespace, name)
        try:
            wanted = parse_revision(resource_version or "")
        except ValueError as error:
            raise errors.ApiError(str(error), code=500, reason="") from None
        if resource_version:
            await self.cache.ready()
            if self.cache.revision >= wanted:
                return self._found(self.cache.get(key), name)
        entry = self.cache.get(key)
        with Translated():
            read = await self._kv.get(self._stored(key), entry.revision if entry else 0)
        if read.revision < wanted:
            raise too_large(wanted, read.revision)
        if read.kv is not None:
            return self._decode(read.kv, key)
        return self._found(entry if read.found else None, name)

    async def list(self, namespace: str | None, *, match: Matcher | None = None, resource_version: str | None = None,
                   resource_version_match: str | None = None, limit: int = 0, continue_token: str = "",
                   labels: LabelMatcher | None = None) -> ListPage:
        if resource_version == "0" and not (resource_version_match or limit or continue_token or labels):
            await self.cache.ready()  # what admission asks several times for each write, mostly of little or nothing
            if not self.cache.entries:
                return ListPage(revision=self.cache.revision)
            if not namespace:
                return ListPage(list(filter(match, self.cache.entries.values())) if match else list(self.cache.entries.values()),
                                self.cache.revision)
        options = parse_options(resource_version, resource_version_match, limit, continue_token)
        prefix = f"{namespace}/" if namespace else ""
        scan = Scan(prefix, prefix + options.start, f"{namespace}0" if namespace else "", options, match, labels)
        cache = self.cache
        await cache.ready()
        match options.freshness:
            case Freshness.ANY:
                return self._cached(scan)
            case Freshness.NOT_OLDER if cache.revision >= options.revision:
                return self._cached(scan)
            case Freshness.EXACT if cache.history.floor <= options.revision <= cache.revision:
                return self._cached(scan, options.revision)
        with Translated(options):
            if options.freshness is Freshness.EXACT:
                return await self._exact(scan)
            if not self._kv.progress_is_safe:
                page = await self._compared(scan)
                if page.revision < options.revision:
                    raise too_large(options.revision, page.revision)
                return page
            wanted = options.revision or await self._kv.revision()
        await cache.wait(wanted)
        return self._cached(scan)

    async def _compared(self, scan: Scan) -> ListPage:
        """A consistent page where etcd's progress cannot be trusted: it is asked whether the cache has everything.

        If nothing in the range was written after what the cache had seen, and as many keys are there as in the cache, then none
        vanished either: the cache's state is etcd's. Asking about a part of the range would do for a page without selector,
        but reading that part's keys costs the same."""
        if scan.options.limit and scan.match is None:
            return await self._stored_page(scan, 0)
        compared = await self._compare(scan.start, scan.end)
        if compared.kvs is None:
            return self._cached(scan, proven=compared.revision)
        page = ListPage(revision=compared.revision)
        if scan.options.limit or len(compared.kvs) != compared.count:
            return await self._stored_page(scan, 0)
        for _, entry in await self._resolve(compared.kvs, scan, compared.revision):
            scan.take(page, entry)
        return page

    async def _compare(self, start: str, end: str) -> Written:
        """`KV.written` since what the cache has seen, keys told also when some vanished. Shared by all who ask before it begins."""
        where = start, end
        running = self._comparing.get(where)
        if running is not None:
            await asyncio.wait([running])
            running = self._comparing.get(where)  # begun by another who waited, after this one asked
        if running is None:
            running = self._comparing[where] = self._tasks.start(self._compare_now(start, end), "compare")
            running.add_done_callback(lambda _: self._comparing.pop(where, None))
        return await asyncio.shield(running)

    async def _compare_now(self, start: str, end: str) -> Written:
        begin, stop = self._stored(start), self._stored(end) if end else prefix_end(self.cache.prefix.encode())
        count = self.cache.count(start, end)
        written = await self._kv.written(begin, stop, after=self.cache.revision)
        if written.kvs is not None or written.count == count:
            return written
        found = await self._kv.range(begin, stop, keys_only=True)
        return Written(found.kvs, found.count, found.revision)

    async def _exact(self, scan: Scan) -> ListPage:
        try:
            return await self._stored_page(scan, scan.options.revision)
        except FutureRevision:
            current = await self._kv.revision()
            raise too_large(scan.options.revision, current) from None

    def _cached(self, scan: Scan, at: int = 0, *, proven: int = 0) -> ListPage:
        """A page of the cache's state, or of what it was at revision `at`. `proven`: until there nothing in the range has changed."""
        cache = self.cache
        entries, revision = cache.entries, at or max(cache.revision, proven)
        then = cache.history.undo(at) if at and at < cache.revision else {}
        if not then and scan.whole:
            found: list[Entry]
            if scan.labels is not None and (chosen := cache.labelled.select(scan.labels)) is not None:
                found = [chosen[key] for key in sorted(filter(scan.has, chosen))]
            else:
                found = list(map(entries.__getitem__, cache.keys(scan.start, scan.end) if scan.start or scan.end else iter(entries)))
            if scan.match is not None:
                found = [entry for entry in found if scan.match(entry)]
            return ListPage(found, revision)
        vanished = sorted(k for k, old in then.items() if old is not None and k not in entries and scan.has(k))
        page, last = ListPage(revision=revision), ""
        key: str
        entry: Entry
        for key, entry in _states(merge(cache.keys(scan.start, scan.end), vanished), entries, then):
            if scan.full(page):
                page.continue_token = encode_token(last[len(scan.prefix):] + "\x00", revision)
                if scan.match is None:
                    absent = sum(1 for k, old in then.items() if old is None and k in entries and k >= key and scan.has(k))
                    page.remaining = cache.count(key, scan.end) + sum(1 for k in vanished if k >= key) - absent
                break
            last = key
            scan.take(page, entry)
        return page

    async def _stored_page(self, scan: Scan, at: int) -> ListPage:
        """A page as etcd has it at revision `at` (0: now, by quorum): etcd's keys, and values from the cache where it has that version."""
        page, last = ListPage(revision=at), ""
        async for kvs, count, revision in self._chunks(scan, at):
            page.revision = revision
            entries = await self._resolve(kvs, scan, revision)
            for index, (key, entry) in enumerate(entries):
                last = key
                scan.take(page, entry)
                if scan.full(page):
                    if index + 1 < count:
                        page.continue_token = encode_token(last[len(scan.prefix):] + "\x00", revision)
                        page.remaining = count - index - 1 if scan.match is None else None
                    return page
        return page

    async def _chunks(self, scan: Scan, at: int) -> AsyncIterator[tuple[KeyValues, int, int]]:
        """Keys and mod revisions in pages, with the number of keys from the page's start on, all at one revision."""
        size = 0 if not scan.options.limit else scan.options.limit if scan.match is None else max(scan.options.limit, SCAN_PAGE)
        start, end = self._stored(scan.start), self._stored(scan.end) if scan.end else prefix_end(self.cache.prefix.encode())
        while True:
            found = await self._kv.range(start, end, limit=size, revision=at, keys_only=True)
            at = found.revision
            yield found.kvs, found.count, at
            if not found.kvs or len(found.kvs) >= found.count:
                return
            start = found.kvs[-1].key + b"\x00"

    async def _resolve(self, kvs: KeyValues, scan: Scan, at: int) -> Found:
        """The entries of exactly these versions."""
        cut, cache = len(self.cache.prefix), self.cache
        newest = max((kv.mod_revision for kv in kvs), default=0)
        if newest > cache.revision:
            with contextlib.suppress(errors.Timeout):
                await cache.wait(newest, EVENT_SECONDS)  # an event of that revision is on its way
        entries = cache.entries
        found: Found = []
        missing: list[bytes] = []
        for kv in kvs:
            key = kv.key[cut:].decode()
            entry: Entry | None = entries.get(key)
            if entry is not None and entry.revision == kv.mod_revision:
                found.append((key, entry))
            else:
                missing.append(kv.key)
        if not missing:
            return found
        if len(missing) <= MAX_SINGLE_READS:
            ranges = await asyncio.gather(*(self._kv.range(key, revision=at) for key in missing))
            values = [kv for one in ranges for kv in one.kvs]
        else:
            values = (await self._kv.range(kvs[0].key, kvs[-1].key + b"\x00", revision=at)).kvs
        known = dict(found)
        for kv in values:
            key = kv.key[cut:].decode()
            if key not in known:
                known[key] = self._decode(kv, key)
        return [(key, known[key]) for key in (kv.key[cut:].decode() for kv in kvs)]

    # Writing

    async def create(self, namespace: str, name: str, obj: Object, *, ttl: int | None = None) -> Entry:
        key = _key(namespace, name)
        raw = self._codec.encode(obj)
        with Translated():
            lease = await self._leases.get(ttl) if ttl else 0
            write, entry = await self._put(key, raw, obj, expected=0, lease=lease)
        if not write.ok:
            raise errors.AlreadyExists.of(self.resource, name)
        return entry

    async def update(self, namespace: str, name: str, change: Change, *, ttl: int | None = None) -> tuple[Entry, bool]:
        key = _key(namespace, name)
        entry = self.cache.latest(key)
        fresh = entry is None
        if entry is None:
            entry = await self._read(key, name)
        while True:
            try:
                obj = await change(entry)
            except errors.ApiError:
                if fresh or (newer := await self._newer(key, name, entry)) is None:
                    raise
                entry, fresh = newer, True
                continue
            raw = self._codec.encode(obj)
            if not entry.stale and same(raw, entry.raw):
                if fresh or (newer := await self._newer(key, name, entry)) is None:
                    return entry, False
                entry, fresh = newer, True
                continue
            with Translated():
                lease = await self._leases.get(ttl) if ttl else None
                write, written = await self._put(key, raw, obj, expected=entry.revision, lease=lease)
            if write.ok:
                return written, True
            if write.current is None:
                raise errors.NotFound.of(self.resource, name)
            entry, fresh = self._decode(write.current, key), True

    async def delete(self, namespace: str, name: str, check: Callable[[Entry], None] | None = None) -> Entry:
        key = _key(namespace, name)
        stored = self._stored(key)
        entry = self.cache.latest(key)
        fresh = entry is None
        if entry is None:
            entry = await self._read(key, name)
        while True:
            if check is not None:
                try:
                    check(entry)
                except errors.ApiError:
                    if fresh or (newer := await self._newer(key, name, entry)) is None:
                        raise
                    entry, fresh = newer, True
                    continue
            with Translated():
                write = await self._kv.delete(stored, expected=entry.revision)
            if write.ok:
                self.cache.removed(key, write.revision)
                return entry.at(write.revision)
            if write.current is None:
                raise errors.NotFound.of(self.resource, name)
            entry, fresh = self._decode(write.current, key), True

    async def watch(self, namespace: str | None, name: str | None, *, after: int) -> CacheWatcher:
        await self.cache.ready()
        return self.cache.watch(namespace or None if self.resource.namespaced else None, name, after)

    # Between keys, values and entries

    def _stored(self, key: str) -> bytes:
        return (self.cache.prefix + key).encode()

    def _found(self, entry: Entry | None, name: str) -> Entry:
        if entry is None:
            raise errors.NotFound.of(self.resource, name)
        return entry

    async def _read(self, key: str, name: str) -> Entry:
        """The object as etcd has it."""
        with Translated():
            read = await self._kv.get(self._stored(key))
        if read.kv is None:
            raise errors.NotFound.of(self.resource, name)
        return self._decode(read.kv, key)

    async def _newer(self, key: str, name: str, entry: Entry) -> Entry | None:
        """What etcd has, where that is newer than `entry`; raises NotFound."""
        with Translated():
            read = await self._kv.get(self._stored(key), entry.revision)
        if not read.found:
            raise errors.NotFound.of(self.resource, name)
        return self._decode(read.kv, key) if read.kv is not None else None

    def _decode(self, kv: KeyValue, key: str) -> Entry:
        known = self.cache.latest(key)
        if known is not None and known.revision == kv.mod_revision:
            return known
        try:
            raw, stale = self._transformer.read(kv.key, kv.value)
            return self._codec.entry(raw, kv.mod_revision, stale=stale)
        except Undecodable as error:
            raise errors.InternalError.of(str(error)) from error

    async def _put(self, key: str, raw: bytes, obj: Object, *, expected: int, lease: int | None) -> tuple[Write, Entry]:
        """Writes, and gives the entry that it makes. The cache is told before: etcd often sends the event ahead of the answer."""
        stored = self._stored(key)
        value = self._transformer.write(stored, marked(raw))
        entry = self._codec.entry(raw, 0, obj)
        cache = self.cache
        cache.writing[key] = value, entry
        try:
            write = await self._kv.put(stored, value, expected=expected, lease=lease)
        finally:
            if (pending := cache.writing.get(key)) is not None and pending[1] is entry:
                del cache.writing[key]
        if write.ok:
            entry.revision = write.revision
            cache.wrote(key, entry)
        return write, entry


def _states(keys: Iterator[str], entries: dict[str, Entry], then: dict[str, Entry | None]) -> Iterator[tuple[str, Entry]]:
    """The entries of `keys`, those in `then` as they were."""
    for key in keys:
        entry = then[key] if key in then else entries[key]
        if entry is not None:
            yield key, entry


def _key(namespace: str, name: str) -> str:
    return f"{namespace}/{name}" if namespace else name
