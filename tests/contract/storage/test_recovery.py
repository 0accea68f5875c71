"""Etcd killed, restarted, compacted behind our back, paused, restored: nothing acknowledged is lost, watchers see everything."""
from __future__ import annotations

import asyncio

import pytest

from kubepy.api import errors
from kubepy.api.resource import PODS
from kubepy.api.types import Object
from kubepy.apiserver.storage.backend import Backend
from kubepy.apiserver.storage.etcd import EtcdKV
from kubepy.apiserver.storage.interface import Entry
from kubepy.apiserver.storage.kv import KV
from kubepy.apiserver.storage.memory import MemoryKV
from kubepy.apiserver.storage.store import Store
from kubepy.apiserver.storage.watcher import CacheWatcher
from tests.etcd import Etcd


def pod(name: str, uid: str = "") -> Object:
    return {"kind": "Pod", "apiVersion": "v1", "metadata": {"namespace": "d", "name": name, "uid": uid or f"uid-{name}"}, "n": 0}


async def bump(entry: Entry) -> Object:
    obj = entry.decode()
    obj["n"] += 1
    return obj


class Follower:
    """Rebuilds the objects from what a watcher says, checking order and uniqueness."""

    def __init__(self, watcher: CacheWatcher, state: dict[str, int]) -> None:
        self.watcher, self.state, self.last = watcher, state, 0

    async def until(self, revision: int) -> None:
        while self.last < revision:
            events = await self.watcher.next(10)
            assert events, f"no events after {self.last}"
            for event in events:
                assert event.revision >= self.last
                self.last = event.revision
                match event.type:
                    case "ADDED":
                        assert event.entry.name not in self.state
                        self.state[event.entry.name] = event.revision
                    case "MODIFIED":
                        assert self.state[event.entry.name] < event.revision
                        self.state[event.entry.name] = event.revision
                    case "DELETED":
                        del self.state[event.entry.name]


async def follow(store: Store) -> Follower:
    page = await store.list(None)
    return Follower(await store.watch(None, None, after=page.revision), {entry.name: entry.revision for entry in page.entries})


async def state(store: Store) -> dict[str, int]:
    return {entry.name: entry.revision for entry in (await store.list(None)).entries}


async def opened(kv: KV) -> tuple[Backend, Store]:
    backend = Backend(kv)
    store = backend.store(PODS)
    await store.ready()
    return backend, store


@pytest.mark.etcd
async def test_writes_and_watches_survive_kills(own_etcd: Etcd) -> None:
    backend, store = await opened(EtcdKV([own_etcd.url]))
    follower = await follow(store)
    acknowledged: dict[str, int] = {}
    stop = False

    async def write(number: int) -> None:
        count = 0
        while not stop:
            name = f"w{number}-{count}"
            try:
                await store.create("d", name, pod(name))
                acknowledged[name] = 0
                await store.update("d", name, bump)
                acknowledged[name] = 1
                if count % 3 == 0:
                    await store.delete("d", name)
                    del acknowledged[name]
            except (errors.ServiceUnavailable, errors.NotFound):
                acknowledged.pop(name, None)
            count += 1
            await asyncio.sleep(0.01)

    writers = [asyncio.create_task(write(number)) for number in range(4)]
    for _ in range(3):
        await asyncio.sleep(0.4)
        await asyncio.to_thread(own_etcd.restart)
    await asyncio.sleep(0.4)
    stop = True
    await asyncio.gather(*writers)
    last = await store.create("d", "last", pod("last"))
    await follower.until(last.revision)
    listed = await store.list(None)
    assert follower.state == {entry.name: entry.revision for entry in listed.entries} == await state(store)
    decoded = {entry.name: entry.decode()["n"] for entry in listed.entries}
    assert {name: decoded[name] for name in acknowledged} == acknowledged
    await backend.close()


@pytest.mark.etcd
async def test_a_paused_etcd_loses_no_answer(own_etcd: Etcd, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer to a create and an update is lost; each happens once and is reported as done."""
    monkeypatch.setattr("kubepy.apiserver.storage.etcd.ATTEMPT_TIMEOUT", 0.3)
    backend, store = await opened(EtcdKV([own_etcd.url]))
    for round in range(3):
        own_etcd.pause()
        work = asyncio.create_task(store.create("d", f"a{round}", pod(f"a{round}")))
        await asyncio.sleep(0.5)
        own_etcd.resume()
        await work
        own_etcd.pause()
        change = asyncio.create_task(store.update("d", f"a{round}", bump))
        await asyncio.sleep(0.5)
        own_etcd.resume()
        await change
        assert (await store.get("d", f"a{round}")).decode()["n"] == 1
        own_etcd.pause()
        deletion = asyncio.create_task(store.delete("d", f"a{round}"))
        await asyncio.sleep(0.5)
        own_etcd.resume()
        await deletion
        with pytest.raises(errors.NotFound):
            await store.get("d", f"a{round}")
    await backend.close()


@pytest.mark.etcd
async def test_a_restored_older_state_ends_watchers(own_etcd: Etcd) -> None:
    backend, store = await opened(EtcdKV([own_etcd.url]))
    for index in range(5):
        await store.create("d", f"a{index}", pod(f"a{index}"))
    follower = await follow(store)
    own_etcd.kill()
    own_etcd.wipe()
    await asyncio.to_thread(own_etcd.start)
    with pytest.raises(errors.Expired):
        await follower.until(1_000_000)
    await store.ready()
    assert await state(store) == {}
    await store.create("d", "new", pod("new"))
    assert list(await state(store)) == ["new"]
    await backend.close()


@pytest.mark.etcd
async def test_another_endpoint_takes_over(own_etcd: Etcd) -> None:
    """One endpoint that refuses connections beside one that works."""
    backend, store = await opened(EtcdKV(["http://127.0.0.1:1", own_etcd.url]))
    await store.create("d", "a", pod("a"))
    assert list(await state(store)) == ["a"]
    await backend.close()


async def test_what_happened_while_compacted_is_told_as_the_difference() -> None:
    kv = MemoryKV()
    backend, store = await opened(kv)
    _, other = await opened(kv)
    for name in ("gone", "kept", "changed", "replaced"):
        await store.create("d", name, pod(name))
    follower = await follow(store)
    before = dict(follower.state)
    kv.unavailable = True
    await asyncio.sleep(0.02)
    kv.unavailable = False
    kv.break_watches()
    # Before the first store's watch is back: written and compacted through the second server.
    await other.delete("d", "gone")
    await other.update("d", "changed", bump)
    await other.update("d", "changed", bump)
    await other.delete("d", "replaced")
    await other.create("d", "replaced", pod("replaced", "uid-second"))
    await other.create("d", "brief", pod("brief"))
    await other.delete("d", "brief")
    last = await other.create("d", "new", pod("new"))
    await kv.compact(last.revision)
    assert store.cache.revision < last.revision
    await follower.until(last.revision)
    assert follower.state == await state(other) == await state(store)
    assert follower.state["kept"] == before["kept"]
    resumed = await store.watch(None, None, after=max(before.values()))
    told = [(event.type, event.entry.name) for event in await resumed.next(1)]
    assert told.index(("DELETED", "replaced")) < told.index(("ADDED", "replaced"))
    assert set(told) == {("DELETED", "gone"), ("MODIFIED", "changed"), ("DELETED", "replaced"), ("ADDED", "replaced"), ("ADDED", "new")}
    await backend.close()
