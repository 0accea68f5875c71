"""The built-in provider's routes in a real kernel, in a network namespace of the test's own."""
from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator

import pytest

from tests.apiserver import ROOT

pytestmark = pytest.mark.root

SCRIPT = """
import asyncio
from kubepy.controllers.cloud.kernelroute import KernelRoutes
from kubepy.controllers.cloud.provider import ProviderError, Route

ROUTES = [Route("10.244.1.0/24", "192.0.2.2"), Route("10.244.9.9/32", "192.0.2.2"), Route("fd00:2::/64", "fd00:1::2")]


async def main():
    kernel = KernelRoutes()
    assert await kernel.all() == []
    for route in ROUTES * 2:
        await kernel.make(route)
    assert sorted(await kernel.all()) == sorted(ROUTES)
    try:
        await kernel.make(Route("10.244.2.0/24", "203.0.113.9"))
    except ProviderError as error:
        assert "invalid gateway" in str(error) or "unreachable" in str(error), error
    else:
        raise AssertionError("a gateway that cannot be reached was taken")
    await kernel.remove(ROUTES[0])
    assert sorted(await kernel.all()) == sorted(ROUTES[1:])


asyncio.run(main())
"""


@pytest.fixture
def namespace() -> Iterator[str]:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    name = f"kubepy-route-{uuid.uuid4().hex[:8]}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    for command in ("link add d0 type veth peer name d1", "link set d0 up", "link set d1 up", "addr add 192.0.2.1/24 dev d0",
                    "addr add fd00:1::1/64 dev d0 nodad"):
        subprocess.run(["ip", "-n", name, *command.split()], check=True)
    yield name
    subprocess.run(["ip", "netns", "del", name], check=False)


def test_routes_are_made_listed_and_removed_and_others_left_alone(namespace: str) -> None:
    subprocess.run(["ip", "-n", namespace, "route", "add", "10.244.7.0/24", "via", "192.0.2.2"], check=True)
    done = subprocess.run(["nsenter", f"--net=/run/netns/{namespace}", sys.executable, "-c", SCRIPT], check=False, text=True,
                          capture_output=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stderr
    left = subprocess.run(["ip", "-n", namespace, "route"], check=True, text=True, capture_output=True).stdout
    assert "10.244.7.0/24 via 192.0.2.2" in left
    assert "10.244.1.0/24" not in left
