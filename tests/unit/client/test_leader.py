"""Leader election: one works at a time, a silent leader is fenced before another starts."""
from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from kubepy.api.errors import ServiceUnavailable
from kubepy.api.resource import LEASES
from kubepy.base.clock import VirtualClock, settle
from kubepy.client.leader import LeaderElector, LeadershipLost
from kubepy.client.memory import Action, MemoryClient


class Rig:
    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.client = MemoryClient(self.clock)
        self.working: list[str] = []
        self.tasks: dict[str, asyncio.Task[None]] = {}

    def elector(self, identity: str, client: MemoryClient | None = None) -> LeaderElector:
        return LeaderElector(client or self.client, "kube-scheduler", identity, clock=self.clock)

    def start(self, identity: str) -> None:
        elector = self.elector(identity)
        self.tasks[identity] = asyncio.ensure_future(elector.run(self.work(identity)))

    def work(self, identity: str) -> Callable[[], asyncio.Future[None]]:
        async def run() -> None:
            self.working.append(identity)
            try:
                await asyncio.Event().wait()
            finally:
                self.working.remove(identity)

        return lambda: asyncio.ensure_future(run())

    async def stop(self) -> None:
        for task in self.tasks.values():
            task.cancel()
        await asyncio.gather(*self.tasks.values(), return_exceptions=True)


@pytest.fixture
def rig() -> Rig:
    return Rig()


async def test_the_second_waits_while_the_first_renews(rig: Rig) -> None:
    rig.start("a")
    await settle()
    rig.start("b")
    for _ in range(30):
        await rig.clock.advance(2)
        assert rig.working == ["a"]
    lease = rig.client.all(LEASES)[0]["spec"]
    assert lease["holderIdentity"] == "a"
    assert lease["leaseTransitions"] == 0
    await rig.stop()


async def test_a_stopped_leader_releases_and_the_next_starts_at_once(rig: Rig) -> None:
    rig.start("a")
    await settle()
    rig.start("b")
    await settle()
    rig.tasks["a"].cancel()
    await settle()
    assert "holderIdentity" not in rig.client.all(LEASES)[0]["spec"]
    await rig.clock.advance(3)
    assert rig.working == ["b"]
    assert rig.client.all(LEASES)[0]["spec"]["leaseTransitions"] == 1
    await rig.stop()


async def test_a_leader_cut_off_stops_working_before_another_may_start(rig: Rig) -> None:
    rig.start("a")
    await settle()

    def cut(action: Action) -> None:
        if action.resource == LEASES:
            raise ServiceUnavailable("partitioned")

    rig.client.before = cut
    await rig.clock.advance(9)
    assert rig.working == ["a"]
    await rig.clock.advance(2)
    assert rig.working == []
    with pytest.raises(LeadershipLost):
        await rig.tasks["a"]


async def test_a_dead_leaders_lease_is_taken_after_its_duration(rig: Rig) -> None:
    rig.client.load(LEASES, {"metadata": {"name": "kube-scheduler", "namespace": "kube-system"},
                             "spec": {"holderIdentity": "dead", "leaseDurationSeconds": 15, "leaseTransitions": 4}})
    rig.start("a")
    await settle()
    await rig.clock.advance(14)
    assert rig.working == []
    await rig.clock.advance(4)
    assert rig.working == ["a"]
    assert rig.client.all(LEASES)[0]["spec"]["leaseTransitions"] == 5
    await rig.stop()
