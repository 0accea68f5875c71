"""The runtimes the contract runs against: the fake, a private containerd of this system, and newer ones where they were unpacked.

`deploy/containerd-versions` unpacks them; `KUBEPY_CONTAINERDS` names another directory than `.cache/containerd` for them.
"""
from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from kubepy.kubelet.cri.client import GrpcRuntime
from kubepy.kubelet.cri.fake import FakeRuntime
from kubepy.kubelet.cri.interface import Runtime
from tests import containerd as private
from tests import images, leftover
from tests.containerd import containerd  # noqa: F401
from tests.images import BUSYBOX

asyncio_fixture = pytest_asyncio.fixture
NEWER = Path(os.environ.get("KUBEPY_CONTAINERDS") or Path(__file__).resolve().parents[3] / ".cache" / "containerd")


def _newer(suite: str) -> Iterator[private.Containerd]:
    binary = NEWER / suite / "usr" / "bin" / "containerd"
    if not binary.exists():
        pytest.skip(f"no containerd of Debian {suite}: deploy/containerd-versions fetches it")
    directory = leftover.directory("ctd")
    runtime = private.start(directory, binary=str(binary))
    try:
        for archive in images.archives().values():
            runtime.ctr("images", "import", "-", data=archive)
        yield runtime
    finally:
        private.stop(runtime)
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def containerd_trixie() -> Iterator[private.Containerd]:
    """1.7: it has events."""
    yield from _newer("trixie")


@pytest.fixture(scope="session")
def containerd_sid() -> Iterator[private.Containerd]:
    """2.x: it also says which cgroup driver it uses, and mounts images."""
    yield from _newer("sid")


@asyncio_fixture(params=["fake", "fake-1.6", *(pytest.param(name, marks=pytest.mark.root)
                                              for name in ("containerd", "containerd_trixie", "containerd_sid"))])
async def runtime(request: pytest.FixtureRequest) -> AsyncIterator[Runtime]:
    if request.param.startswith("fake"):
        fake = FakeRuntime(events_supported=request.param == "fake")
        fake.add_image(BUSYBOX)
        fake.ignores_term.add("stubborn")
        fake.on_exec = lambda name, command: (3 if "exit 3" in command else 0, b"hi\n" if "echo hi" in command else b"")
        yield fake
        return
    client = GrpcRuntime(request.getfixturevalue(request.param).endpoint)
    yield client
    for sandbox in await client.list_sandboxes():
        await client.stop_sandbox(sandbox.id)
        await client.remove_sandbox(sandbox.id)
    await client.close()
    await asyncio.sleep(0)
