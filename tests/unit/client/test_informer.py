"""Informers keep a copy current through watches, lost connections and lost history."""
from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from kubepy.api.errors import ApiError, Forbidden, NotFound, ServiceUnavailable
from kubepy.api.resource import CONFIGMAPS, PODS, RESOURCE_CLAIMS
from kubepy.api.types import Object
from kubepy.base.clock import VirtualClock, settle
from kubepy.base.task import Tasks
from kubepy.client.informer import Informer, InformerFactory
from kubepy.client.memory import Action, MemoryClient


def config(name: str, **data: str) -> Object:
    return {"metadata": {"name": name, "namespace": "default"}, "data": data}


class Rig:
    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.client = MemoryClient(self.clock)
        self.factory = InformerFactory(self.client, clock=self.clock)
        self.tasks = Tasks("test", self.clock)
        self.seen: list[tuple[str, str]] = []
        self.informer = self.factory.informer(CONFIGMAPS)
        self.informer.add_handler(lambda obj: self.see("add", obj), lambda old, new: self.see("update", new),
                                  lambda obj: self.see("delete", obj))

    def see(self, what: str, obj: Object) -> None:
        self.seen.append((what, obj["metadata"]["name"]))

    def take(self) -> list[tuple[str, str]]:
        seen, self.seen = self.seen, []
        return seen


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    rig = Rig()
    yield rig
    await rig.tasks.stop()


async def test_it_lists_then_follows(rig: Rig) -> None:
    await rig.client.create(CONFIGMAPS, config("a"))
    rig.factory.start(rig.tasks)
    await settle()
    assert rig.factory.synced()
    assert rig.take() == [("add", "a")]
    await rig.client.create(CONFIGMAPS, config("b"))
    await rig.client.patch(CONFIGMAPS, "a", {"data": {"k": "v"}}, "default")
    await rig.client.delete(CONFIGMAPS, "b", "default")
    await settle()
    assert rig.take() == [("add", "b"), ("update", "a"), ("delete", "b")]
    cached = rig.informer.lister.get("a", "default")
    assert cached is not None
    assert cached["data"] == {"k": "v"}


async def test_a_dropped_watch_is_resumed_without_listing_again(rig: Rig) -> None:
    rig.factory.start(rig.tasks)
    await settle()
    lists: list[Action] = []
    rig.client.before = lambda action: lists.append(action) if action.verb == "list" else None
    rig.client.drop_watches()
    await rig.client.create(CONFIGMAPS, config("a"))
    await rig.clock.advance(1)
    assert rig.take() == [("add", "a")]
    assert not lists


async def test_lost_history_is_listed_again_and_the_difference_handed_out(rig: Rig) -> None:
    for name in ("kept", "changed", "gone", "replaced"):
        await rig.client.create(CONFIGMAPS, config(name))
    rig.factory.start(rig.tasks)
    await settle()
    rig.take()
    down = True

    def refuse(action: Action) -> None:
        if down and action.verb in ("list", "watch"):
            raise ServiceUnavailable("down")

    rig.client.before = refuse
    rig.client.drop_watches()
    await rig.client.patch(CONFIGMAPS, "changed", {"data": {"k": "v"}}, "default")
    await rig.client.delete(CONFIGMAPS, "gone", "default")
    await rig.client.delete(CONFIGMAPS, "replaced", "default")
    for name in ("new", "replaced"):
        await rig.client.create(CONFIGMAPS, config(name))
    rig.client.compact()
    await rig.clock.advance(5)
    assert rig.take() == []
    down = False
    await rig.clock.advance(20)
    assert sorted(rig.take()) == [("add", "new"), ("add", "replaced"), ("delete", "gone"), ("delete", "replaced"), ("update", "changed")]


async def test_a_failing_handler_does_not_stop_the_others(rig: Rig) -> None:
    def fail(obj: Object) -> None:
        raise RuntimeError("bug")

    rig.informer.add_handler(fail)
    rig.informer.add_handler(lambda obj: rig.see("third", obj))
    rig.factory.start(rig.tasks)
    await settle()
    await rig.client.create(CONFIGMAPS, config("a"))
    await settle()
    assert rig.take() == [("add", "a"), ("third", "a")]


async def test_a_selected_informer_sees_objects_enter_and_leave(rig: Rig) -> None:
    pods = rig.factory.informer(PODS, field_selector="spec.nodeName=n1")
    rig.factory.start(rig.tasks)
    await rig.client.create(PODS, {"metadata": {"name": "p", "namespace": "default"}, "spec": {}})
    await settle()
    assert len(pods.lister) == 0
    await rig.client.create(PODS, {"target": {"name": "n1"}}, "default", name="p", subresource="binding")
    await settle()
    assert len(pods.lister) == 1
    await rig.client.delete(PODS, "p", "default", grace_period_seconds=0)
    await settle()
    assert len(pods.lister) == 0


async def test_indexes_follow_changes(rig: Rig) -> None:
    rig.informer.add_index("color", lambda obj: [obj["data"]["color"]] if "color" in (obj.get("data") or {}) else [])
    rig.factory.start(rig.tasks)
    await rig.client.create(CONFIGMAPS, config("a", color="red"))
    await rig.client.create(CONFIGMAPS, config("b", color="red"))
    await settle()
    lister = rig.informer.lister
    assert {obj["metadata"]["name"] for obj in lister.by_index("color", "red")} == {"a", "b"}
    await rig.client.patch(CONFIGMAPS, "a", {"data": {"color": "blue"}}, "default")
    await rig.client.delete(CONFIGMAPS, "b", "default")
    await settle()
    assert lister.by_index("color", "red") == []
    assert len(lister.by_index("color", "blue")) == 1
    assert [obj["metadata"]["name"] for obj in lister.list("default")] == ["a"]


class OldServer(MemoryClient):
    """Knows nothing of a group until it is `new`; what discovery says is `groups`."""

    def __init__(self, clock: VirtualClock, refusal: ApiError, groups: bytes) -> None:
        super().__init__(clock)
        self.new, self.refusal, self.groups, self.asked = False, refusal, groups, 0
        self.before = self.look

    def look(self, action: Action) -> None:
        if action.verb == "list" and not self.new:
            self.asked += 1
            raise self.refusal

    async def raw(self, method: str, path: str, body: bytes | None = None, *, headers: dict[str, str] | None = None) -> bytes:
        return self.groups if path == "/apis" else b'{"kind":"APIResourceList","resources":[{"name":"resourceslices"}]}'


OLDER = b'{"kind":"APIGroupList","groups":[{"name":"apps","versions":[{"groupVersion":"apps/v1"}]}]}'
OTHERS = b'{"kind":"APIGroupList","groups":[{"name":"resource.k8s.io","versions":[{"groupVersion":"resource.k8s.io/v1"}]}]}'
CLAIM = {"metadata": {"name": "a", "namespace": "default"}}


@pytest.mark.parametrize(("refusal", "groups", "empty"), [
    pytest.param(NotFound("no such path"), OLDER, True, id="a group that discovery does without is taken as empty"),
    pytest.param(Forbidden("not yours"), OLDER, True, id="also where the identity may not even ask"),
    pytest.param(NotFound("no such path"), OTHERS, True, id="so is a resource that its group does without"),
    pytest.param(NotFound("no such path"), b"<html>", False, id="a page that is no discovery proves nothing"),
    pytest.param(NotFound("no such path"), b'{"kind":"APIGroupList","groups":[]}', False, id="nor does a server that serves no group"),
    pytest.param(ServiceUnavailable("later"), OLDER, False, id="nor does a failure"),
])
async def test_what_an_older_server_does_not_serve(refusal: ApiError, groups: bytes, empty: bool) -> None:
    clock = VirtualClock()
    client = OldServer(clock, refusal, groups)
    informer = Informer(client, RESOURCE_CLAIMS, clock=clock)
    tasks = Tasks("test", clock)
    tasks.keep(informer.run, "informer")
    try:
        await settle()
        assert informer.synced() is informer.missing is empty
        await clock.advance(25)
        assert client.asked == 1 if empty else client.asked > 1
        client.new = True
        await client.create(RESOURCE_CLAIMS, CLAIM)
        await clock.advance(31)
        assert len(list(informer.lister)) == 1
        assert not informer.missing
    finally:
        await tasks.stop()


async def test_the_core_group_is_never_taken_as_empty() -> None:
    clock = VirtualClock()
    client = OldServer(clock, NotFound("no such path"), OLDER)
    informer = Informer(client, PODS, clock=clock)
    tasks = Tasks("test", clock)
    tasks.keep(informer.run, "informer")
    await clock.advance(60)
    assert not informer.synced()
    await tasks.stop()


async def test_a_handler_of_owned_objects_sees_those_of_its_kind_and_orphans_and_what_leaves_them(rig: Rig) -> None:
    seen: list[tuple[str, str]] = []

    def owner(kind: str) -> list[Object]:
        return [{"apiVersion": "v1", "kind": kind, "name": "o", "uid": "u", "controller": True}]

    rig.informer.add_handler(lambda obj: seen.append(("add", obj["metadata"]["name"])),
                             lambda old, new: seen.append(("update", new["metadata"]["name"])),
                             lambda obj: seen.append(("delete", obj["metadata"]["name"])), owned_by="Job")
    rig.factory.start(rig.tasks)
    await settle()
    for name, kind in (("ours", "Job"), ("theirs", "ReplicaSet"), ("orphan", "")):
        made = config(name)
        made["metadata"] |= {"ownerReferences": owner(kind)} if kind else {}
        await rig.client.create(CONFIGMAPS, made)
    await settle()
    assert seen == [("add", "ours"), ("add", "orphan")]
    seen.clear()
    for name in ("ours", "theirs"):
        await rig.client.patch(CONFIGMAPS, name, {"metadata": {"ownerReferences": owner("DaemonSet")}}, "default")
    await rig.client.patch(CONFIGMAPS, "orphan", {"metadata": {"ownerReferences": owner("Job")}}, "default")
    await settle()
    assert seen == [("update", "ours"), ("update", "orphan")]
    seen.clear()
    for name in ("ours", "theirs", "orphan"):
        await rig.client.delete(CONFIGMAPS, name, "default")
    await settle()
    assert seen == [("delete", "orphan")]
