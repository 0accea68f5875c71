"""ConfigMaps and Secrets as pods see them: one request, then a watch, ended with its last pod."""
from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from kubepy.api.resource import CONFIGMAPS
from kubepy.base.clock import VirtualClock, settle
from kubepy.client.memory import Action, MemoryClient
from kubepy.kubelet.volume.objects import Objects


def config_map(**fields: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "cm", "namespace": "ns"}, "data": {"a": "1"}, **fields}


@dataclass
class World:
    clock: VirtualClock
    client: MemoryClient
    objects: Objects
    woken: list[set[str]]
    reads: list[str] = field(default_factory=list)

    async def read(self, uid: str = "pod-1") -> Any:
        found = await self.objects.get("ConfigMap", "ns", "cm", uid)
        await settle()
        return None if found is None else found["data"]["a"]


@pytest.fixture(params=["Watch"])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    clock, woken = VirtualClock(), []
    client = MemoryClient(clock)
    made = World(clock, client, Objects(client, clock, request.param, woken.append), woken)

    def seen(action: Action) -> None:
        if action.verb in ("get", "list"):
            made.reads.append(action.verb)

    client.before = seen
    yield made
    await made.objects.stop()


async def test_a_change_is_seen_at_once_and_its_pods_are_woken(world: World) -> None:
    world.client.load(CONFIGMAPS, config_map())
    assert await world.read() == "1"
    await world.client.patch(CONFIGMAPS, "cm", {"data": {"a": "2"}}, "ns")
    await settle()
    assert world.woken == [{"pod-1"}]
    reads = len(world.reads)
    assert await world.read() == "2"
    assert len(world.reads) == reads, "a watched object costs no request"


async def test_what_does_not_exist_yet_wakes_the_pod_that_waits_for_it(world: World) -> None:
    assert await world.read() is None
    world.client.load(CONFIGMAPS, config_map())
    await settle()
    assert world.woken == [{"pod-1"}]
    assert await world.read() == "1"


async def test_two_pods_share_a_watch_and_the_last_one_ends_it(world: World) -> None:
    world.client.load(CONFIGMAPS, config_map())
    await world.read("pod-1")
    await world.read("pod-2")
    assert world.objects.watched() == 1
    world.objects.release("pod-1")
    assert world.objects.watched() == 1
    world.objects.release("pod-2")
    assert world.objects.watched() == 0


async def test_an_immutable_object_is_read_once_and_not_watched(world: World) -> None:
    world.client.load(CONFIGMAPS, config_map(immutable=True))
    assert [await world.read() for _ in range(3)] == ["1", "1", "1"]
    assert (world.objects.watched(), world.reads) == (0, ["get"])


async def test_a_watch_nobody_looks_at_ends_and_the_next_look_begins_another(world: World) -> None:
    world.client.load(CONFIGMAPS, config_map())
    await world.read()
    await world.clock.advance(301)
    world.objects.sweep()
    assert world.objects.watched() == 0
    await world.client.patch(CONFIGMAPS, "cm", {"data": {"a": "2"}}, "ns")
    assert await world.read() == "2"
    assert world.objects.watched() == 1


@pytest.mark.parametrize("world", ["Cache"], indirect=True)
async def test_the_cache_strategy_asks_again_after_a_minute(world: World) -> None:
    world.client.load(CONFIGMAPS, config_map())
    await world.read()
    await world.client.patch(CONFIGMAPS, "cm", {"data": {"a": "2"}}, "ns")
    assert await world.read() == "1"
    await world.clock.advance(61)
    assert await world.read() == "2"


@pytest.mark.parametrize("world", ["Get"], indirect=True)
async def test_the_get_strategy_asks_every_time(world: World) -> None:
    world.client.load(CONFIGMAPS, config_map())
    await world.read()
    await world.client.patch(CONFIGMAPS, "cm", {"data": {"a": "2"}}, "ns")
    assert await world.read() == "2"
