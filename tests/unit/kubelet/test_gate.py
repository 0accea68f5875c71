"""The order in which the runtime is given work."""
from __future__ import annotations

import asyncio

from kubepy.base.clock import settle
from kubepy.kubelet.cri.gate import BEGIN, FINISH, Gate


async def test_what_finishes_a_pod_goes_before_what_begins_one_and_else_in_order() -> None:
    gate, seen, hold = Gate(1), [], asyncio.Event()

    async def work(name: str, priority: int) -> None:
        async with gate.enter(priority):
            seen.append(name)
            await hold.wait()

    tasks = []
    for name, priority in (("first", BEGIN), ("sandbox 1", BEGIN), ("sandbox 2", BEGIN), ("start", FINISH)):
        tasks.append(asyncio.ensure_future(work(name, priority)))
        await settle()
    hold.set()
    await asyncio.gather(*tasks)
    assert seen == ["first", "start", "sandbox 1", "sandbox 2"]


async def test_one_who_gives_up_waiting_loses_nobodys_turn() -> None:
    gate, hold = Gate(1), asyncio.Event()

    async def work() -> None:
        async with gate.enter(BEGIN):
            await hold.wait()

    first, second, third = (asyncio.ensure_future(work()) for _ in range(3))
    await settle()
    second.cancel()
    await settle()
    first.cancel()  # hands the turn to the third
    await settle()
    hold.set()
    await third
    async with asyncio.timeout(30), gate.enter(BEGIN):
        pass


async def test_a_call_that_hangs_does_not_hold_up_the_others() -> None:
    gate = Gate(1, patience=0.01)
    async with gate.enter(BEGIN), asyncio.timeout(30), gate.enter(BEGIN):
        pass
