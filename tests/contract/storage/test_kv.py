"""What the key-value stores promise, in memory and on etcd alike."""
from __future__ import annotations

import asyncio
import itertools

import pytest

from kubepy.apiserver.storage.kv import KV, Compacted, FutureRevision, TooLarge, prefix_end

_number = itertools.count()


@pytest.fixture
def prefix() -> bytes:
    """A range of keys of the test's own."""
    return b"/kv-%d/" % next(_number)


async def test_a_key_is_created_once(kv: KV, prefix: bytes) -> None:
    first = await kv.put(prefix + b"a", b"1", expected=0)
    second = await kv.put(prefix + b"a", b"2", expected=0)
    assert first.ok
    assert not second.ok
    assert second.current is not None
    assert (second.current.value, second.current.mod_revision) == (b"1", first.revision)


async def test_a_write_needs_the_revision_it_replaces(kv: KV, prefix: bytes) -> None:
    first = await kv.put(prefix + b"a", b"1", expected=0)
    second = await kv.put(prefix + b"a", b"2", expected=first.revision)
    lost = await kv.put(prefix + b"a", b"3", expected=first.revision)
    assert second.ok
    assert second.revision > first.revision
    assert not lost.ok
    assert lost.current is not None
    assert (lost.current.value, lost.current.create_revision, lost.current.version) == (b"2", first.revision, 2)


async def test_a_deletion_needs_the_revision_it_removes(kv: KV, prefix: bytes) -> None:
    first = await kv.put(prefix + b"a", b"1", expected=0)
    assert not (await kv.delete(prefix + b"a", expected=first.revision - 1)).ok
    gone = await kv.delete(prefix + b"a", expected=first.revision)
    again = await kv.delete(prefix + b"a", expected=first.revision)
    assert gone.ok
    assert not again.ok
    assert again.current is None
    assert not (await kv.get(prefix + b"a")).found


async def test_a_reader_is_not_sent_what_it_knows(kv: KV, prefix: bytes) -> None:
    first = await kv.put(prefix + b"a", b"1", expected=0)
    reads = await asyncio.gather(kv.get(prefix + b"a"), kv.get(prefix + b"a", first.revision), kv.get(prefix + b"b", 5),
                                 kv.get(prefix + b"a", first.revision - 1))
    assert [(read.found, read.kv.value if read.kv else None) for read in reads] == [(True, b"1"), (True, None), (False, None), (True, b"1")]
    assert all(read.revision >= first.revision for read in reads)


async def test_ranges_are_ordered_limited_and_counted(kv: KV, prefix: bytes) -> None:
    for name in (b"c", b"a", b"b/x", b"b"):
        await kv.put(prefix + name, b"v" + name, expected=0)
    end = prefix_end(prefix)
    everything = await kv.range(prefix, end)
    some = await kv.range(prefix + b"b", end, limit=2, keys_only=True)
    assert [kv.key[len(prefix):] for kv in everything.kvs] == [b"a", b"b", b"b/x", b"c"]
    assert ([kv.key[len(prefix):] for kv in some.kvs], some.count, {kv.value for kv in some.kvs}) == ([b"b", b"b/x"], 3, {b""})


async def test_the_past_can_be_read_until_it_is_compacted(kv: KV, prefix: bytes) -> None:
    first = await kv.put(prefix + b"a", b"1", expected=0)
    second = await kv.put(prefix + b"a", b"2", expected=first.revision)
    third = await kv.delete(prefix + b"a", expected=second.revision)
    end = prefix_end(prefix)
    assert [(await kv.range(prefix, end, revision=at)).count for at in (first.revision, second.revision, third.revision)] == [1, 1, 0]
    await kv.compact(second.revision)
    await kv.compact(first.revision)
    assert (await kv.range(prefix, end, revision=second.revision)).kvs[0].value == b"2"
    with pytest.raises(Compacted):
        await kv.range(prefix, end, revision=first.revision)
    with pytest.raises(FutureRevision):
        await kv.range(prefix, end, revision=third.revision + 1_000)


async def test_a_watch_resumes_after_a_revision_and_stays_in_its_range(kv: KV, prefix: bytes) -> None:
    first = await kv.put(prefix + b"a", b"1", expected=0)
    await kv.put(prefix[:-1] + b"0", b"outside", expected=0)
    watch = await kv.watch(prefix, prefix_end(prefix), after=first.revision)
    second = await kv.put(prefix + b"a", b"2", expected=first.revision)
    third = await kv.delete(prefix + b"a", expected=second.revision)
    changes = []
    while len(changes) < 2:
        changes += (await asyncio.wait_for(watch.next(), 60)).changes
    watch.close()
    assert [(c.kv.key, c.kv.value, c.kv.mod_revision, c.deleted) for c in changes] == [
        (prefix + b"a", b"2", second.revision, False), (prefix + b"a", b"", third.revision, True)]


async def test_a_watch_cannot_begin_in_what_is_compacted(kv: KV, prefix: bytes) -> None:
    first = await kv.put(prefix + b"a", b"1", expected=0)
    second = await kv.put(prefix + b"a", b"2", expected=first.revision)
    third = await kv.delete(prefix + b"a", expected=second.revision)
    await kv.compact(third.revision)
    with pytest.raises(Compacted):
        await asyncio.wait_for((await kv.watch(prefix, prefix_end(prefix), after=second.revision)).next(), 60)


async def test_values_too_large_are_refused(kv: KV, prefix: bytes) -> None:
    with pytest.raises(TooLarge):
        await kv.put(prefix + b"a", b"x" * 2_000_000, expected=0)


async def test_an_update_keeps_the_lease_unless_it_brings_one(kv: KV, prefix: bytes) -> None:
    lease, other = await kv.lease(100), await kv.lease(100)
    first = await kv.put(prefix + b"a", b"1", expected=0, lease=lease)
    second = await kv.put(prefix + b"a", b"2", expected=first.revision)
    kept = await kv.get(prefix + b"a")
    await kv.put(prefix + b"a", b"3", expected=second.revision, lease=other)
    changed = await kv.get(prefix + b"a")
    assert kept.kv is not None
    assert changed.kv is not None
    assert (kept.kv.lease, changed.kv.lease) == (lease, other)


async def test_progress_is_told_when_asked_for(kv: KV, prefix: bytes) -> None:
    watch = await kv.watch(prefix, prefix_end(prefix), after=await kv.revision())
    if not kv.progress_is_safe:
        watch.close()
        pytest.skip("this etcd's progress is not asked for")
    elsewhere = await kv.put(prefix[:-1] + b"0", b"outside", expected=0)
    await watch.request_progress()
    batch = await asyncio.wait_for(watch.next(), 60)
    watch.close()
    assert batch.changes == []
    assert batch.revision >= elsewhere.revision


async def test_a_range_tells_whether_it_was_written(kv: KV, prefix: bytes) -> None:
    end = prefix_end(prefix)
    nothing = await kv.written(prefix, end, after=1)
    first = await kv.put(prefix + b"a", b"1", expected=0)
    second = await kv.put(prefix + b"b", b"1", expected=0)
    still, changed = await kv.written(prefix, end, after=second.revision), await kv.written(prefix, end, after=first.revision)
    await kv.delete(prefix + b"b", expected=second.revision)
    fewer = await kv.written(prefix, end, after=second.revision)
    assert [(one.kvs, one.count) for one in (nothing, still, fewer)] == [(None, 0), (None, 2), (None, 1)]
    assert changed.kvs is not None
    assert [(kv.key, kv.mod_revision) for kv in changed.kvs] == [(prefix + b"a", first.revision), (prefix + b"b", second.revision)]
    assert fewer.revision > still.revision
