"""A cache that lags behind etcd, whose progress cannot be trusted: lists are consistent all the same, and watches begin where they end."""
from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from typing import Any

import pytest

from kubepy.api.resource import PODS
from kubepy.api.types import Object
from kubepy.apiserver.storage import cache as cache_module
from kubepy.apiserver.storage.backend import Backend
from kubepy.apiserver.storage.interface import Entry
from kubepy.apiserver.storage.kv import KV, Batch, Watch
from kubepy.apiserver.storage.store import Store

_number = itertools.count()


class Lagging:
    """A store whose watches deliver only while `open` is set, and whose progress is not asked for."""

    progress_is_safe = False

    def __init__(self, kv: KV) -> None:
        self._kv = kv
        self.open = asyncio.Event()
        self.open.set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._kv, name)

    async def watch(self, key: bytes, end: bytes, *, after: int) -> LaggingWatch:
        return LaggingWatch(await self._kv.watch(key, end, after=after), self.open)


class LaggingWatch:
    def __init__(self, watch: Watch, open: asyncio.Event) -> None:
        self._watch, self._open = watch, open

    async def next(self) -> Batch:
        batch = await self._watch.next()
        await self._open.wait()
        return batch

    async def request_progress(self) -> None:
        raise AssertionError("its progress must not be asked for")

    def close(self) -> None:
        self._watch.close()


def pod(name: str) -> Object:
    return {"kind": "Pod", "apiVersion": "v1", "metadata": {"namespace": "d", "name": name, "uid": f"uid-{name}", "labels": {"x": name}}}


async def change(entry: Entry) -> Object:
    obj = entry.decode()
    obj["n"] = obj.get("n", 0) + 1
    return obj


@pytest.fixture
async def pair(kv: KV, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Store, Store, Lagging]]:
    """A store that follows and one that lags, with three pods that both know."""
    lagging = Lagging(kv)
    prefix = f"/lag-{next(_number)}"
    backends = Backend(kv, prefix=prefix), Backend(lagging, prefix=prefix)  # type: ignore[arg-type]
    good, late = (backend.store(PODS) for backend in backends)
    await good.ready()
    await late.ready()
    last = [await good.create("d", name, pod(name)) for name in "abc"][-1]
    await late.cache.wait(last.revision)
    monkeypatch.setattr(cache_module, "WAIT_SECONDS", 0.1)
    lagging.open.clear()
    yield good, late, lagging
    await good.stop()
    await late.stop()


@pytest.mark.parametrize("what", ["nothing", "created", "updated", "deleted", "replaced", "deleted and created"])
async def test_a_list_shows_what_the_cache_has_not_seen(pair: tuple[Store, Store, Lagging], what: str) -> None:
    good, late, lagging = pair
    known = late.cache.revision
    match what:
        case "created":
            await good.create("d", "new", pod("new"))
        case "updated":
            await good.update("d", "b", change)
        case "deleted":
            await good.delete("d", "b")
        case "replaced":
            await good.delete("d", "b")
            await good.create("d", "b", pod("b"))
        case "deleted and created":
            await good.delete("d", "b")
            await good.create("d", "new", pod("new"))
    wanted = [(entry.name, entry.revision) for entry in (await good.list("d")).entries]
    everything: dict[str, Any] = {"match": lambda entry: True, "labels": lambda labels: True}
    newest = str(await late._kv.revision())
    pages = [await late.list("d"), await late.list("d", **everything), await late.list("d", limit=10),
             await late.list("d", limit=10, **everything), await late.list("d", resource_version=newest)]
    for page in pages:
        assert [(entry.name, entry.revision) for entry in page.entries] == wanted
        assert page.revision >= max(revision for _, revision in wanted)
    assert late.cache.revision == known
    watcher = await late.watch(None, None, after=pages[0].revision)
    later, _ = await good.update("d", "a", change)
    lagging.open.set()
    told: list[tuple[str, int]] = []
    while not told:
        told += [(event.entry.name, event.revision) for event in await watcher.next(5)]
    assert told == [("a", later.revision)]


async def test_lists_asked_for_together_share_one_look_that_began_later(pair: tuple[Store, Store, Lagging]) -> None:
    good, late, _ = pair

    async def create_and_list(index: int) -> None:
        await good.create("d", f"n{index}", pod(f"n{index}"))
        assert f"n{index}" in [entry.name for entry in (await late.list("d")).entries]

    await asyncio.gather(*(create_and_list(index) for index in range(20)))
