"""Priority and fairness: classification, shuffle sharding, seats."""
from __future__ import annotations

import asyncio

import pytest

from kubepy.api.errors import TooManyRequests
from kubepy.apiserver import flowcontrol
from kubepy.apiserver.fairness.level import Level, Levels
from kubepy.apiserver.fairness.match import classify, compile_schema
from kubepy.apiserver.fairness.queue import Queued, Queues, deal
from kubepy.apiserver.info import parse
from kubepy.apiserver.request import User
from kubepy.base.clock import SystemClock

SCHEMAS = sorted(map(compile_schema, flowcontrol.flow_schemas()), key=lambda schema: (schema.precedence, schema.name))


@pytest.mark.parametrize(("user", "groups", "method", "path", "schema", "level"), [
    pytest.param("admin", ["system:masters"], "GET", "/api/v1/pods", "exempt", "exempt", id="masters are exempt"),
    pytest.param("bob", ["system:authenticated"], "GET", "/healthz", "probes", "exempt", id="probes are exempt"),
    pytest.param("bob", ["system:authenticated"], "GET", "/api/v1/pods", "global-default", "global-default", id="a plain user"),
    pytest.param("system:node:n1", ["system:nodes", "system:authenticated"], "PUT",
                 "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/n1", "system-node-high", "node-high", id="a node's lease"),
    pytest.param("system:node:n1", ["system:nodes", "system:authenticated"], "PATCH", "/api/v1/nodes/n1/status", "system-node-high",
                 "node-high", id="a node's status"),
    pytest.param("system:node:n1", ["system:nodes", "system:authenticated"], "GET", "/api/v1/pods", "system-nodes", "system",
                 id="a node's pods"),
    pytest.param("system:kube-scheduler", ["system:authenticated"], "PUT",
                 "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/kube-scheduler", "system-leader-election", "leader-election",
                 id="leader election"),
    pytest.param("system:serviceaccount:default:robot", ["system:serviceaccounts", "system:authenticated"], "GET", "/version",
                 "service-accounts", "workload-low", id="a service account"),
    pytest.param("nobody", [], "GET", "/api", None, None, id="a user without groups matches none"),
])
def test_requests_find_their_schema(user: str, groups: list[str], method: str, path: str, schema: str | None, level: str | None) -> None:
    flow = classify(SCHEMAS, User(user, "", tuple(groups)), parse(method, path, {}))
    assert (flow and flow.schema.name, flow and flow.schema.level) == (schema, level)


def test_a_hand_is_distinct_and_stable() -> None:
    for name in ("a", "b", "schema/user"):
        hand = deal(name, 64, 6)
        assert hand == deal(name, 64, 6)
        assert len(set(hand)) == 6
        assert all(0 <= card < 64 for card in hand)
    assert sorted(deal("x", 4, 4)) == [0, 1, 2, 3]


def test_a_flow_that_floods_does_not_delay_others() -> None:
    queues = Queues(64, 1, 100)
    for _ in range(50):
        assert queues.add("flood", Queued(1, lambda: None))
    quiet = Queued(1, lambda: None)
    other = next(name for name in ("a", "b", "c") if deal(name, 64, 1) != deal("flood", 64, 1))
    queues.add(other, quiet)
    order = [queues.next(lambda seats: True) for _ in range(3)]
    assert quiet in order


def test_a_full_queue_refuses() -> None:
    queues = Queues(1, 1, 2)
    assert [queues.add("f", Queued(1, lambda: None)) for _ in range(3)] == [True, True, False]


def _levels(seats: int, wait: float = 10.0) -> Levels:
    levels = Levels(seats, SystemClock(), wait)
    levels.configure({obj["metadata"]["name"]: obj for obj in flowcontrol.priority_levels()})
    return levels


def test_seats_are_shared_out_by_shares() -> None:
    levels = _levels(600).levels
    assert {name: level.nominal for name, level in levels.items()} == {
        "exempt": 0, "catch-all": 13, "system": 74, "node-high": 98, "leader-election": 25, "workload-high": 98, "workload-low": 245,
        "global-default": 49}


async def _enter(levels: Levels, level: Level, count: int) -> list[Queued]:
    return [await levels.enter(level, "s", "s/u", 1) for _ in range(count)]


def test_idle_seats_are_lent_and_a_rejecting_level_refuses() -> None:
    async def run() -> None:
        levels = _levels(60)
        low = levels.levels["global-default"]
        lent = sum(level.lendable for level in levels.levels.values() if level is not low)
        held = await _enter(levels, low, low.nominal + lent)
        assert low.used == low.nominal + lent
        node = levels.levels["node-high"]
        own = node.nominal
        await _enter(levels, node, own)  # a lender's own requests do not wait for borrowers
        waiting = asyncio.ensure_future(levels.enter(low, "s", "s/u", 1))
        await asyncio.sleep(0)
        assert not waiting.done()
        for request in held[:node.nominal + 1]:
            levels.leave(low, request, 0.01)
        await waiting
        reject = levels.levels["catch-all"]
        await _enter(levels, reject, reject.nominal)
        reject.most = reject.nominal
        with pytest.raises(TooManyRequests) as caught:
            await levels.enter(reject, "catch-all", "u", 1)
        assert caught.value.retry_after == 1

    asyncio.run(run())


def test_who_waits_too_long_is_refused_and_leaves_no_trace() -> None:
    async def run() -> None:
        levels = _levels(10, wait=0.01)
        low = levels.levels["workload-low"]
        low.most = low.nominal
        held = await _enter(levels, low, low.nominal)
        with pytest.raises(TooManyRequests):
            await levels.enter(low, "s", "s/u", 1)
        assert low.queues is not None
        assert low.queues.length == 0
        for request in held:
            levels.leave(low, request, 0.0)
        assert low.used == 0

    asyncio.run(run())


@pytest.mark.parametrize(("work", "most"), [pytest.param(0.0, 64, id="cheap requests"), pytest.param(0.004, 20, id="costly requests")])
async def test_a_level_begins_few_requests_in_one_round_of_the_loop(work: float, most: int) -> None:
    """However many come at once, so that the loop soon comes to what others ask; fewer when they are costly."""
    levels = Levels(600, SystemClock(), 10)
    levels.configure({obj["metadata"]["name"]: obj for obj in flowcontrol.priority_levels()})
    level, begun, rounds = levels.levels["global-default"], [0], []
    loop, done = asyncio.get_running_loop(), asyncio.Event()

    def count() -> None:
        rounds.append(begun[0])
        begun[0] = 0
        if not done.is_set():
            loop.call_soon(count)

    async def one(number: int) -> None:
        request = await levels.enter(level, "global-default", f"user-{number}", 1)
        begun[0] += 1
        end = loop.time() + work
        while loop.time() < end:
            pass
        levels.leave(level, request, work)

    loop.call_soon(count)
    await asyncio.gather(*map(one, range(200)))
    done.set()
    assert max(rounds) <= 64
    assert min(size for size in rounds if size) <= most
    assert level.used == 0
