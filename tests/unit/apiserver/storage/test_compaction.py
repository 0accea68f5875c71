from __future__ import annotations

import pytest

from kubepy.apiserver.storage.compaction import Compactor
from kubepy.apiserver.storage.kv import Compacted
from kubepy.apiserver.storage.memory import MemoryKV
from kubepy.base.clock import VirtualClock, settle
from kubepy.base.task import Tasks


async def test_what_is_older_than_an_interval_goes_and_servers_take_turns() -> None:
    clock, kv = VirtualClock(), MemoryKV()
    tasks = Tasks("test", clock)
    servers = [Compactor(kv, clock, 300) for _ in range(3)]
    for number, server in enumerate(servers):
        tasks.keep(server.run, f"compactor {number}")
    await settle()
    first = await kv.put(b"a", b"1", expected=0)
    second = await kv.put(b"a", b"2", expected=first.revision)
    await clock.advance(301)
    assert (await kv.range(b"a", revision=first.revision)).count == 1
    third = await kv.put(b"a", b"3", expected=second.revision)
    await clock.advance(300)
    with pytest.raises(Compacted):
        await kv.range(b"a", revision=first.revision)
    assert (await kv.range(b"a", revision=third.revision)).count == 1
    written = (await kv.get(b"compact_rev_key")).kv
    assert written is not None
    assert written.version == 2
    await tasks.stop()


async def test_a_failed_turn_is_the_next_ones_work() -> None:
    clock, kv = VirtualClock(), MemoryKV()
    tasks = Tasks("test", clock)
    tasks.keep(Compactor(kv, clock, 300).run, "compactor")
    first = await kv.put(b"a", b"1", expected=0)
    await kv.put(b"a", b"2", expected=first.revision)
    kv.unavailable = True
    await clock.advance(301)
    kv.unavailable = False
    await clock.advance(600)
    with pytest.raises(Compacted):
        await kv.range(b"a", revision=first.revision)
    await tasks.stop()
