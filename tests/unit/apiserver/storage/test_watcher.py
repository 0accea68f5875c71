"""A watcher hands events over where they are published, as long as they are taken; the others wait for `next`."""
from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from kubepy.apiserver.storage.entry import Codec, Event
from kubepy.apiserver.storage.watcher import CacheWatcher


def event(revision: int) -> Event:
    obj = {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "a", "namespace": "b", "uid": "u"}}
    codec = Codec()
    return Event("MODIFIED", revision, codec.entry(codec.encode(obj), revision, obj))


@pytest.mark.parametrize(("taking", "taken", "read"), [
    pytest.param((True, True), [[1], [2, 3]], [], id="everything is taken at once, and no consumer wakes"),
    pytest.param((True, False), [[1], [2, 3]], [2, 3], id="what is refused comes by next, once"),
    pytest.param((False, True), [[1]], [1, 2, 3], id="nothing is offered before the consumer is back"),
])
def test_taking(taking: tuple[bool, bool], taken: list[list[int]], read: list[int]) -> None:
    async def go() -> tuple[list[list[int]], list[int]]:
        watcher = CacheWatcher((None, None), 0, (), lambda: 3, lambda _: None)
        offered: list[list[int]] = []
        answers = iter(taking)

        def take(events: Sequence[Event]) -> bool:
            offered.append([found.revision for found in events])
            return next(answers)

        watcher.take = take
        consumer = asyncio.create_task(watcher.next())
        await asyncio.sleep(0)
        for revisions in ((1,), (2, 3)):
            for revision in revisions:
                watcher.put(event(revision))
            watcher.flush()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        if consumer.done():
            return offered, [found.revision for found in consumer.result()]
        consumer.cancel()
        return offered, []

    assert asyncio.run(go()) == (taken, read)
