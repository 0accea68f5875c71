"""What resource stores promise to the verbs, on either key-value store; two backends stand for two API servers."""
from __future__ import annotations

import asyncio
import base64
import itertools
from collections.abc import AsyncIterator, Callable, Mapping

import pytest

from kubepy.api import errors
from kubepy.api.resource import CONFIGMAPS, PODS, Resource
from kubepy.api.types import Object
from kubepy.apiserver.storage.backend import Backend
from kubepy.apiserver.storage.encryption import parse
from kubepy.apiserver.storage.interface import Change, Entry, ResourceStore
from kubepy.apiserver.storage.kv import KV
from kubepy.apiserver.storage.store import Store
from kubepy.apiserver.storage.transform import Transformer

_number = itertools.count()


def pod(name: str, namespace: str = "default", node: str = "", **labels: str) -> Object:
    return {"kind": "Pod", "apiVersion": "v1", "spec": {"nodeName": node},
            "metadata": {"namespace": namespace, "name": name, "uid": f"uid-{name}", "labels": labels}}


def node_of(obj: Object) -> str:
    return str(obj["spec"].get("nodeName", ""))


def bind(node: str) -> Change:
    async def change(entry: Entry) -> Object:
        obj = entry.decode()
        obj["spec"]["nodeName"] = node
        return obj

    return change


@pytest.fixture
async def backends(kv: KV) -> AsyncIterator[tuple[Backend, Backend]]:
    prefix = f"/test-{next(_number)}"
    pair = Backend(kv, prefix=prefix), Backend(kv, prefix=prefix)
    yield pair
    for backend in pair:
        for store in backend._stores.values():
            await store.cache.stop()


@pytest.fixture
async def store(backends: tuple[Backend, Backend]) -> Store:
    return await opened(backends[0])


@pytest.fixture
async def other(backends: tuple[Backend, Backend]) -> Store:
    return await opened(backends[1])


async def opened(backend: Backend) -> Store:
    found = backend.store(PODS, {"spec.nodeName": node_of})
    await found.ready()
    return found


def names(entries: object) -> list[str]:
    return [entry.name for entry in entries]  # type: ignore[attr-defined]


def test_the_store_is_what_the_verbs_expect(store: Store) -> None:
    checked: ResourceStore = store
    assert checked is store


async def test_an_object_is_answered_with_its_revision_and_without_decoding(store: Store) -> None:
    entry = await store.create("default", "a", {**pod("a", x="1"), "metadata": {**pod("a")["metadata"], "resourceVersion": "77"}})
    assert entry.raw.startswith(b'{"kind":"Pod","apiVersion":"v1","metadata":{"name":"a","namespace":"default"')
    assert b"77" not in entry.raw
    assert b'"resourceVersion":"%d"' % entry.revision in entry.json()
    assert entry.decode()["metadata"]["resourceVersion"] == str(entry.revision)


async def test_names_are_unique(store: Store, other: Store) -> None:
    await store.create("default", "a", pod("a"))
    with pytest.raises(errors.AlreadyExists, match='pods "a" already exists'):
        await other.create("default", "a", pod("a"))


async def test_reads_are_consistent_across_servers(store: Store, other: Store) -> None:
    for index in range(20):
        await store.create("default", f"p{index:02}", pod(f"p{index:02}"))
        assert len((await other.list(None)).entries) == index + 1
        assert (await other.get("default", f"p{index:02}")).name == f"p{index:02}"
        await other.update("default", f"p{index:02}", bind("n1"))
        assert (await store.get("default", f"p{index:02}")).fields["spec.nodeName"] == "n1"
    await other.delete("default", "p00")
    assert names((await store.list("default")).entries) == [f"p{index:02}" for index in range(1, 20)]
    with pytest.raises(errors.NotFound):
        await store.get("default", "p00")


async def test_updates_from_two_servers_do_not_lose_each_other(store: Store, other: Store) -> None:
    await store.create("default", "a", {**pod("a"), "count": 0})

    async def add(entry: Entry) -> Object:
        obj = entry.decode()
        await asyncio.sleep(0)
        obj["count"] += 1
        return obj

    await asyncio.gather(*((store, other)[index % 2].update("default", "a", add) for index in range(20)))
    assert (await other.get("default", "a")).decode()["count"] == 20


async def test_an_update_that_changes_nothing_writes_nothing(store: Store, other: Store) -> None:
    created = await store.create("default", "a", pod("a"))

    async def reorder(entry: Entry) -> Object:
        obj = entry.decode()
        return dict(sorted(obj.items(), reverse=True))

    entry, written = await other.update("default", "a", reorder)
    assert not written
    assert entry.revision == created.revision


async def test_a_refused_update_is_judged_by_the_stored_object(store: Store, other: Store) -> None:
    """A stale cache must not make a server refuse what etcd's state allows."""
    await store.create("default", "a", pod("a"))
    await other.list(None)
    await store.update("default", "a", bind("n1"))

    async def only_bound(entry: Entry) -> Object:
        obj = entry.decode()
        if not node_of(obj):
            raise errors.Conflict.of(PODS, "a", "not bound yet")
        return {**obj, "seen": True}

    _, written = await other.update("default", "a", only_bound)
    assert written


async def test_a_deletion_is_checked_against_the_stored_object(store: Store, other: Store) -> None:
    await store.create("default", "a", pod("a"))
    await other.list(None)
    bound, _ = await store.update("default", "a", bind("n1"))

    def check(entry: Entry) -> None:
        if entry.fields["spec.nodeName"] != "n1":
            raise errors.Conflict.of(PODS, "a", "precondition")

    gone = await other.delete("default", "a", check)
    assert gone.raw == bound.raw
    assert gone.revision > bound.revision
    with pytest.raises(errors.NotFound, match='pods "a" not found'):
        await store.delete("default", "a")


async def test_pages_show_one_moment(store: Store, other: Store) -> None:
    for name in "abcdef":
        await store.create("default", name, pod(name))
    first = await store.list("default", limit=2)
    await other.delete("default", "c")
    await other.create("default", "bb", pod("bb"))
    await other.update("default", "e", bind("n1"))
    await other.delete("default", "e")
    await other.create("default", "e", pod("e", x="new"))
    for server in (store, other):
        second = await server.list("default", limit=3, continue_token=first.continue_token)
        third = await server.list("default", limit=3, continue_token=second.continue_token)
        assert (names(first.entries), first.remaining) == (["a", "b"], 4)
        assert (names(second.entries), second.remaining, second.revision) == (["c", "d", "e"], 1, first.revision)
        assert (names(third.entries), third.remaining, third.continue_token) == (["f"], None, "")
        assert second.entries[2].labels == {}
    assert names((await store.list(None)).entries) == ["a", "b", "bb", "d", "e", "f"]


async def test_a_page_with_a_selector_does_not_tell_what_remains(store: Store) -> None:
    for name, label in zip("abcd", "1211", strict=True):
        await store.create("default", name, pod(name, x=label))
    match = {"match": lambda entry: entry.labels.get("x") == "1"}
    first = await store.list("default", limit=2, **match)  # type: ignore[arg-type]
    rest = await store.list("default", limit=2, continue_token=first.continue_token, **match)  # type: ignore[arg-type]
    assert (names(first.entries), first.remaining, bool(first.continue_token)) == (["a", "c"], None, True)
    assert (names(rest.entries), rest.continue_token) == (["d"], "")


async def test_an_exact_list_shows_the_past(store: Store, other: Store) -> None:
    first = await store.create("default", "a", pod("a"))
    await store.create("default", "b", pod("b"))
    await store.delete("default", "a")
    last = await store.list(None)
    for server in (store, other):
        exact = await server.list(None, resource_version=str(first.revision), resource_version_match="Exact")
        assert (names(exact.entries), exact.revision) == (["a"], first.revision)
        newer = await server.list(None, resource_version=str(last.revision))
        assert names(newer.entries) == ["b"]


async def test_namespaces_do_not_run_into_each_other(store: Store) -> None:
    for namespace in ("a", "a-b", "a.c", "ab"):
        await store.create(namespace, "x", pod("x", namespace))
    assert [(entry.namespace, entry.name) for entry in (await store.list("a")).entries] == [("a", "x")]
    assert len((await store.list(None, limit=10)).entries) == 4


async def test_a_compacted_page_expires_with_a_way_to_go_on(store: Store, kv: KV) -> None:
    for name in "abc":
        await store.create("default", name, pod(name))
    first = await store.list("default", limit=1)
    await store.update("default", "a", bind("n1"))
    last = await store.create("default", "d", pod("d"))
    await store.list(None)
    await kv.compact(last.revision)
    store.cache.history.reset(store.cache.revision)
    with pytest.raises(errors.Expired) as caught:
        await store.list("default", limit=1, continue_token=first.continue_token)
    token = caught.value.status()["metadata"]["continue"]
    rest = await store.list("default", continue_token=token)
    assert names(rest.entries) == ["b", "c", "d"]
    with pytest.raises(errors.Expired, match="The resourceVersion for the provided list is too old"):
        await store.list("default", resource_version=str(first.revision), resource_version_match="Exact")


async def test_a_revision_from_the_future_times_out(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kubepy.apiserver.storage.cache.WAIT_SECONDS", 0.1)
    for ask in (store.list(None, resource_version="999999"), store.get("default", "a", resource_version="999999"),
                store.list(None, resource_version="999999", resource_version_match="Exact")):
        with pytest.raises(errors.Timeout, match="Too large resource version: 999999, current: ") as caught:
            await ask
        assert caught.value.status()["details"]["causes"] == [
            {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]


async def test_watchers_see_each_change_once_in_order(store: Store, other: Store) -> None:
    start = (await store.list(None)).revision
    watchers = [await server.watch(*scope, after=start) for server in (store, other) for scope in ((None, None), ("b", None), ("b", "x"))]
    written = [(await other.create("a", "x", pod("x", "a"))).revision, (await store.create("b", "x", pod("x", "b"))).revision,
               (await other.update("b", "x", bind("n")))[0].revision, (await store.create("b", "y", pod("y", "b"))).revision,
               (await other.delete("b", "x")).revision]
    wanted = [("ADDED", "a", "x"), ("ADDED", "b", "x"), ("MODIFIED", "b", "x"), ("ADDED", "b", "y"), ("DELETED", "b", "x")]
    for index, watcher in enumerate(watchers):
        keep = [item for item in zip(wanted, written, strict=True)
                if index % 3 == 0 or (item[0][1] == "b" and (index % 3 == 1 or item[0][2] == "x"))]
        seen: list[tuple[tuple[str, str, str], int]] = []
        while len(seen) < len(keep):
            events = await watcher.next(5)
            assert events
            seen += [((event.type, event.entry.namespace, event.entry.name), event.revision) for event in events]
        assert seen == keep
        assert watcher.bookmark() >= seen[-1][1]
        assert await watcher.next(0.01) == []
        watcher.close()
    assert store.cache._watchers == {}


async def test_a_watch_resumes_from_history_or_is_told_that_it_cannot(store: Store) -> None:
    first = await store.create("default", "a", pod("a"))
    second, _ = await store.update("default", "a", bind("n"))
    await store.cache.wait(second.revision)
    watcher = await store.watch(None, None, after=first.revision)
    assert [event.revision for event in await watcher.next(1)] == [second.revision]
    store.cache.history.floor = first.revision
    with pytest.raises(errors.Expired, match=r"too old resource version: 1 \(\d+\)"):
        await store.watch(None, None, after=1)


async def test_a_slow_watcher_is_dropped(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kubepy.apiserver.storage.watcher.MAX_PENDING", 3)
    slow = await store.watch(None, None, after=store.cache.revision)
    for name in "abcde":
        last = await store.create("default", name, pod(name))
    await store.cache.wait(last.revision)
    with pytest.raises(errors.Expired):
        await slow.next(1)
    assert store.cache._watchers == {}


async def test_cluster_scoped_and_custom_layouts_are_upstreams(kv: KV, backends: tuple[Backend, Backend]) -> None:
    await (await opened(backends[0])).create("default", "a", pod("a"))
    found = await kv.range(backends[0]._prefix.encode() + b"/pods/", backends[0]._prefix.encode() + b"/pods0")
    assert found.kvs[0].key.decode() == f"{backends[0]._prefix}/pods/default/a"


async def test_what_cannot_be_read_is_left_out_and_said(kv: KV, backends: tuple[Backend, Backend]) -> None:
    prefix = backends[0]._prefix.encode()
    await kv.put(prefix + b"/configmaps/default/bad", b"\x00garbage", expected=0)
    await kv.put(prefix + b"/configmaps/default/odd", b'{"metadata":{"resourceVersion":"5","name":"odd","namespace":"default"},'
                 b'"kind":"ConfigMap","apiVersion":"v1"}', expected=0)
    store = backends[0].store(CONFIGMAPS)
    await store.ready()
    listed = await store.list(None, resource_version="0")
    assert [entry.json() for entry in listed.entries] == [
        b'{"kind":"ConfigMap","apiVersion":"v1","metadata":{"resourceVersion":"%d","name":"odd","namespace":"default"}}'
        % listed.entries[0].revision]
    with pytest.raises(errors.InternalError):
        await store.get("default", "bad")


async def test_secrets_are_encrypted_and_rotate(kv: KV) -> None:
    def config(*names: str) -> Callable[[Resource], Transformer]:
        providers = [{"aesgcm": {"keys": [{"name": name, "secret": base64.b64encode(name.encode().ljust(32)).decode()}]}} for name in names]
        resources = [{"resources": ["pods"], "providers": [*providers, {"identity": {}}]}]
        return parse({"kind": "EncryptionConfiguration", "resources": resources})

    prefix = f"/encrypted-{next(_number)}"
    stored = f"{prefix}/pods/default/a".encode()

    async def raw() -> bytes:
        found = (await kv.get(stored)).kv
        assert found is not None
        return found.value

    async def unchanged(entry: Entry) -> Object:
        return entry.decode()

    plain = await opened(Backend(kv, prefix=prefix))
    await plain.create("default", "a", pod("a"))
    assert b"uid-a" in await raw()
    for names, label in ((("one",), "one"), (("two", "one"), "two"), (("two",), "two")):
        server = await opened(Backend(kv, prefix=prefix, transformer=config(*names)))
        assert (await server.get("default", "a")).decode()["metadata"]["uid"] == "uid-a"
        await server.update("default", "a", unchanged)
        assert (await raw()).startswith(f"k8s:enc:aesgcm:v1:{label}:".encode())
        assert (await server.update("default", "a", unchanged))[1] is False
        await server.cache.stop()
    await plain.cache.stop()


async def test_label_selectors_find_by_index_what_a_scan_finds(store: Store) -> None:
    for index in range(60):
        await store.create("ab"[index % 2], f"p{index:02}", pod(f"p{index:02}", "ab"[index % 2], app=f"app-{index % 3}"))
    for index in range(0, 60, 7):
        await store.create("b", f"q{index}", pod(f"q{index}", "b"))
    for index in range(0, 60, 5):
        async def relabel(entry: Entry) -> Object:
            obj = entry.decode()
            obj["metadata"]["labels"] = {"app": "app-9"}
            return obj

        await store.update("ab"[index % 2], f"p{index:02}", relabel)
    for index in range(0, 60, 11):
        await store.delete("ab"[index % 2], f"p{index:02}")
    last = (await store.list(None)).revision
    await store.cache.wait(min(last, store.cache.revision))
    for wanted in ("app-0", "app-9", None):
        for namespace in (None, "b"):
            def matches(labels: Mapping[str, str], wanted: str | None = wanted) -> bool:
                return labels.get("app") == wanted

            by_index = await store.list(namespace, match=lambda e: matches(e.labels), labels=matches)
            by_scan = await store.list(namespace, match=lambda e: matches(e.labels))
            assert by_index.entries == by_scan.entries
            assert by_scan.entries
    assert store.cache.labelled.select(lambda labels: labels.get("app") == "app-0") is not None
