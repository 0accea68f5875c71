"""Lists that many share."""
from __future__ import annotations

import asyncio

import pytest

from kubepy.kubelet.cri import runtime_pb2 as pb
from kubepy.kubelet.cri.fake import FakeRuntime
from kubepy.kubelet.cri.interface import CriError
from kubepy.kubelet.cri.lists import Lists


async def test_many_share_a_list_that_began_after_they_asked() -> None:
    runtime = FakeRuntime()
    lists = Lists(runtime)
    first = asyncio.ensure_future(lists.of("u"))
    await asyncio.sleep(0)  # it is under way
    config = pb.PodSandboxConfig(metadata=pb.PodSandboxMetadata(name="p", uid="u", namespace="d"))
    await runtime.run_sandbox(config)
    others = await asyncio.gather(*(lists.of(uid) for uid in ("u", "u", "v", "u")))
    await first
    assert [len(sandboxes) for sandboxes, _ in others] == [1, 1, 0, 1], "nobody is told of what was before the question"
    assert sum(method == "list_sandboxes" for method, _ in runtime.calls) == 2


async def test_a_failure_is_everybodys_and_the_next_list_is_another() -> None:
    runtime = FakeRuntime()
    lists = Lists(runtime)
    runtime.fail["list_containers"] = CriError("UNAVAILABLE", "gone")
    for result in await asyncio.gather(lists.of("u"), lists.of("v"), return_exceptions=True):
        assert isinstance(result, CriError)
    runtime.fail.clear()
    assert await lists.of("u") == ([], [])
    waiting = asyncio.ensure_future(lists.of("u"))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await lists.of("u") == ([], []), "who goes does not take the list along"
