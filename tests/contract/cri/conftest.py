"""The runtimes the contract runs against: the fake, and a private containerd (root)."""
from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from kubepy.kubelet.cri.client import GrpcRuntime
from kubepy.kubelet.cri.fake import FakeRuntime
from kubepy.kubelet.cri.interface import Runtime
from tests.containerd import containerd  # noqa: F401
from tests.images import BUSYBOX

asyncio_fixture = pytest_asyncio.fixture


@asyncio_fixture(params=["fake", pytest.param("containerd", marks=pytest.mark.root)])
async def runtime(request: pytest.FixtureRequest) -> AsyncIterator[Runtime]:
    if request.param == "fake":
        fake = FakeRuntime(events_supported=False)
        fake.add_image(BUSYBOX)
        fake.ignores_term.add("stubborn")
        fake.on_exec = lambda name, command: (3 if "exit 3" in command else 0, b"hi\n" if "echo hi" in command else b"")
        yield fake
        return
    private = request.getfixturevalue("containerd")
    client = GrpcRuntime(private.endpoint)
    yield client
    for sandbox in await client.list_sandboxes():
        await client.stop_sandbox(sandbox.id)
        await client.remove_sandbox(sandbox.id)
    await client.close()
    await asyncio.sleep(0)
