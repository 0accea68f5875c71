"""The work queue: one worker a key, back-off, delays."""
from __future__ import annotations

import asyncio

import pytest

from kubepy.base.clock import VirtualClock, settle
from kubepy.client.queue import ShutDown, WorkQueue


async def test_a_key_added_twice_is_handed_out_once() -> None:
    queue = WorkQueue[str]("q1")
    queue.add("a")
    queue.add("a")
    assert len(queue) == 1
    assert await queue.get() == "a"
    assert len(queue) == 0


async def test_a_key_added_while_worked_on_comes_back_only_when_done() -> None:
    queue = WorkQueue[str]("q2")
    queue.add("a")
    key = await queue.get()
    queue.add("a")
    assert len(queue) == 0
    queue.done(key)
    assert len(queue) == 1


async def test_backoff_doubles_until_forgotten() -> None:
    clock = VirtualClock()
    queue = WorkQueue[str]("q3", clock)
    for delay in (0.005, 0.01, 0.02):
        queue.add_rate_limited("a")
        await settle()
        await clock.advance(delay - 0.001)
        assert len(queue) == 0
        await clock.advance(0.0011)
        assert len(queue) == 1
        queue.done(await queue.get())
    queue.forget("a")
    assert queue.failures("a") == 0
    await queue.shut_down()


async def test_of_several_delayed_adds_the_earliest_counts() -> None:
    clock = VirtualClock()
    queue = WorkQueue[str]("q4", clock)
    queue.add_after("a", 10)
    await settle()
    queue.add_after("b", 5)
    queue.add_after("a", 1)
    await settle()
    await clock.advance(1)
    assert await queue.get() == "a"
    queue.done("a")
    await clock.advance(4)
    assert await queue.get() == "b"
    await clock.advance(20)
    assert len(queue) == 0
    await queue.shut_down()


async def test_shut_down_ends_waiting_workers() -> None:
    queue = WorkQueue[str]("q5")
    waiting = [asyncio.ensure_future(queue.get()) for _ in range(3)]
    await settle()
    await queue.shut_down()
    for result in await asyncio.gather(*waiting, return_exceptions=True):
        assert isinstance(result, ShutDown)


async def test_a_cancelled_worker_hands_its_wake_up_on() -> None:
    queue = WorkQueue[str]("q6")
    first, second = asyncio.ensure_future(queue.get()), asyncio.ensure_future(queue.get())
    await settle()
    queue.add("a")
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert await second == "a"


async def test_a_delayed_add_can_be_taken_back() -> None:
    clock = VirtualClock()
    queue = WorkQueue[str]("q7", clock)
    queue.add_after("a", 10)
    queue.add_after("b", 20)
    await settle()
    queue.drop_later("a")
    queue.add_after("a", 30)
    await settle()
    await clock.advance(21)
    assert [await queue.get() for _ in range(len(queue))] == ["b"]
    await clock.advance(10)
    assert [await queue.get() for _ in range(len(queue))] == ["a"]
    await queue.shut_down()
