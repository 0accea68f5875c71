"""Requests whose time is over end, the others go on."""
from __future__ import annotations

import asyncio

import pytest

from kubepy.apiserver.filters import time
from kubepy.apiserver.filters.time import Deadlines


@pytest.mark.parametrize(("seconds", "over"), [pytest.param(0.0, True, id="time over"), pytest.param(60.0, False, id="time left")])
def test_deadlines(seconds: float, over: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "SWEEP_SECONDS", 0.001)

    async def go() -> tuple[bool, bool]:
        deadlines = Deadlines()
        waiting = asyncio.Event()

        async def request() -> tuple[bool, bool]:
            task = asyncio.current_task()
            assert task is not None
            deadlines.add(task, seconds)
            try:
                await waiting.wait()
            except asyncio.CancelledError:
                return deadlines.remove(task), task.uncancel() == 0
            return deadlines.remove(task), False

        task = asyncio.create_task(request())
        if not over:
            await asyncio.sleep(0.005)  # it is looked at a few times
            waiting.set()
        return await task

    assert asyncio.run(go()) == (over, over)
