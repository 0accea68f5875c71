"""Random writers on two servers, watchers that reconnect at random, compactions, broken streams: whatever the order, each watcher's
reconstruction equals the list, and events were ordered, unique and complete."""
from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from kubepy.api import errors
from kubepy.api.resource import PODS
from kubepy.api.types import Object
from kubepy.apiserver.storage.backend import Backend
from kubepy.apiserver.storage.etcd import EtcdKV
from kubepy.apiserver.storage.interface import Entry, Event
from kubepy.apiserver.storage.kv import KV
from kubepy.apiserver.storage.memory import MemoryKV
from kubepy.apiserver.storage.store import Store
from kubepy.apiserver.storage.watcher import CacheWatcher
from tests.etcd import Etcd

NAMES = st.sampled_from(["a", "b", "c"])
SPACES = st.sampled_from(["x", "x-y", "z"])
SERVERS = st.integers(0, 1)


class Client:
    """An informer: lists, watches, and reconnects from the last revision it was told."""

    def __init__(self, server: int, namespace: str | None) -> None:
        self.server, self.namespace = server, namespace
        self.state: dict[str, int] = {}
        self.revision = 0
        self.watcher: CacheWatcher | None = None
        self.told: list[tuple[int, str, str]] = []

    def take(self, events: list[Event]) -> None:
        for event in events:
            key = f"{event.entry.namespace}/{event.entry.name}"
            assert event.revision >= self.revision
            assert (event.revision, event.type, key) not in self.told[-5:]
            self.told.append((event.revision, event.type, key))
            self.revision = event.revision
            if event.type == "ADDED":
                assert key not in self.state
            else:
                assert key in self.state
            if event.type == "DELETED":
                del self.state[key]
            else:
                assert event.entry.revision == event.revision
                self.state[key] = event.revision


class Machine(RuleBasedStateMachine):
    make_kv: Callable[[], KV]

    @initialize()
    def begin(self) -> None:
        self.runner = asyncio.Runner()
        self.prefix = f"/machine-{id(self)}"
        self.compacted = 0
        self.clients: list[Client] = []
        self.run(self.open())

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(work)

    async def open(self) -> None:
        self.kv = self.make_kv()
        # Each server has a connection of its own where there are connections.
        kvs = (self.kv, self.kv) if isinstance(self.kv, MemoryKV) else (self.kv, self.make_kv())
        self.backends = [Backend(kv, prefix=self.prefix) for kv in kvs]
        self.stores: list[Store] = [backend.store(PODS) for backend in self.backends]
        for store in self.stores:
            await store.ready()

    @rule(server=SERVERS, namespace=SPACES, name=NAMES)
    def create(self, server: int, namespace: str, name: str) -> None:
        async def work() -> None:
            try:
                await self.stores[server].create(namespace, name, pod(namespace, name))
            except errors.AlreadyExists:
                assert (await self.stores[1 - server].get(namespace, name)).name == name

        self.run(work())

    @rule(server=SERVERS, namespace=SPACES, name=NAMES)
    def update(self, server: int, namespace: str, name: str) -> None:
        async def bump(entry: Entry) -> Object:
            obj = entry.decode()
            obj["n"] += 1
            return obj

        async def work() -> None:
            try:
                before = await self.stores[server].get(namespace, name)
                entry, written = await self.stores[server].update(namespace, name, bump)
                assert written
                assert entry.decode()["n"] == before.decode()["n"] + 1
            except errors.NotFound:
                pass

        self.run(work())

    @rule(server=SERVERS, namespace=SPACES, name=NAMES)
    def delete(self, server: int, namespace: str, name: str) -> None:
        async def work() -> None:
            try:
                await self.stores[server].delete(namespace, name)
            except errors.NotFound:
                return
            with pytest.raises(errors.NotFound):
                await self.stores[1 - server].get(namespace, name)

        self.run(work())

    @rule(server=SERVERS, namespace=st.one_of(st.none(), SPACES))
    def connect(self, server: int, namespace: str | None) -> None:
        client = Client(server, namespace)
        self.clients.append(client)
        self.run(self.relist(client))

    async def relist(self, client: Client) -> None:
        page = await self.stores[client.server].list(client.namespace)
        client.state = {f"{entry.namespace}/{entry.name}": entry.revision for entry in page.entries}
        client.revision = page.revision
        client.watcher = await self.stores[client.server].watch(client.namespace, None, after=page.revision)

    @rule(index=st.integers(0, 5), server=SERVERS, read=st.booleans())
    def reconnect(self, index: int, server: int, read: bool) -> None:
        """To the same or the other server, with or without having read what was there."""

        async def work() -> None:
            client = self.clients[index % len(self.clients)]
            if client.watcher is not None:
                if read:
                    client.take(await client.watcher.next(0.0))
                client.watcher.close()
            client.server, client.watcher = server, None

        if self.clients:
            self.run(work())

    @rule()
    def compact(self) -> None:
        async def work() -> None:
            await self.kv.compact(await self.kv.revision())

        self.run(work())

    @rule(compact=st.booleans(), namespace=SPACES, name=NAMES)
    def break_streams(self, compact: bool, namespace: str, name: str) -> None:
        """A lost connection; with a write and a compaction before anyone is back."""

        async def work() -> None:
            if not isinstance(self.kv, MemoryKV):
                return
            self.kv.break_watches()
            store = self.stores[0]
            try:
                await store.delete(namespace, name)
            except errors.NotFound:
                await store.create(namespace, name, pod(namespace, name))
            if compact:
                await self.kv.compact(await self.kv.revision())

        self.run(work())

    @rule(server=SERVERS, limit=st.integers(1, 3), namespace=SPACES, name=NAMES)
    def page(self, server: int, limit: int, namespace: str, name: str) -> None:
        """Pages while somebody writes: together they are what one list would have shown."""

        async def work() -> None:
            store = self.stores[server]
            whole = await store.list(None)
            first = await store.list(None, limit=limit)
            found, token = list(first.entries), first.continue_token
            while token:
                try:
                    await self.stores[1 - server].delete(namespace, name)
                except errors.NotFound:
                    await self.stores[1 - server].create(namespace, name, pod(namespace, name))
                page = await store.list(None, limit=limit, continue_token=token)
                assert page.revision == first.revision
                found, token = found + list(page.entries), page.continue_token
            assert [(entry.key, entry.revision) for entry in found] == [(entry.key, entry.revision) for entry in whole.entries]

        self.run(work())

    def teardown(self) -> None:
        if not hasattr(self, "runner"):
            return
        try:
            self.run(self.check())
        finally:
            self.run(self.close())
            self.runner.close()

    async def check(self) -> None:
        last = await self.stores[0].create("x", "last", pod("x", "last"))
        lists = [{entry.key: entry.revision for entry in (await store.list(None)).entries} for store in self.stores]
        assert lists[0] == lists[1]
        for client in self.clients:
            store = self.stores[client.server]
            if client.watcher is None:
                try:
                    client.watcher = await store.watch(client.namespace, None, after=client.revision)
                except errors.Expired:
                    await self.relist(client)
            assert client.watcher is not None
            await store.cache.wait(last.revision)
            client.take(await client.watcher.next(0.0))
            wanted = {key: revision for key, revision in lists[0].items()
                      if client.namespace is None or key.startswith(f"{client.namespace}/")}
            assert client.state == wanted
            assert client.watcher.bookmark() >= last.revision

    async def close(self) -> None:
        for backend in self.backends:
            await backend.close()


def pod(namespace: str, name: str) -> Object:
    return {"kind": "Pod", "apiVersion": "v1", "metadata": {"namespace": namespace, "name": name}, "n": 0}


def test_invariants_in_memory() -> None:
    class InMemory(Machine):
        make_kv = MemoryKV

    run_state_machine_as_test(InMemory, settings=settings(  # type: ignore[no-untyped-call]
        max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)))


@pytest.mark.etcd
def test_invariants_on_etcd(shared_etcd: Etcd) -> None:
    class OnEtcd(Machine):
        make_kv = staticmethod(lambda: EtcdKV([shared_etcd.url]))

    run_state_machine_as_test(OnEtcd, settings=settings(  # type: ignore[no-untyped-call]
        max_examples=25, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)))
