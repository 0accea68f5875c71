"""What the connection to the runtime promises to those who call it."""
from __future__ import annotations

import asyncio
from typing import Any

import pytest

from kubepy.kubelet.cri import runtime_pb2 as pb
from kubepy.kubelet.cri.client import GrpcRuntime
from kubepy.kubelet.cri.interface import CriError


@pytest.mark.parametrize("error", [None, CriError("UNKNOWN", "no such file")], ids=["that works", "that fails"])
async def test_a_start_is_not_broken_off_by_a_caller_who_has_no_time(error: Exception | None) -> None:
    asked, answer, calls = asyncio.Event(), asyncio.Event(), []

    class Runtime(GrpcRuntime):
        async def _call(self, method: str, *_: Any, **__: Any) -> Any:
            asked.set()
            await answer.wait()
            calls.append(method)
            if error:
                raise error
            return pb.StartContainerResponse()

    runtime = Runtime("/nowhere")
    caller = asyncio.ensure_future(runtime.start_container("c"))
    await asked.wait()
    caller.cancel()
    await asyncio.sleep(0)
    assert not caller.done()
    answer.set()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert calls == ["StartContainer"]
    await runtime.close()
