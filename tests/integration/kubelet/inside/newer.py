"""What only newer containerds can: events, images as volumes, telling what their handlers are able to do."""
from __future__ import annotations

import os
import signal
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from kubepy.api.resource import NODES, PODS
from tests import images
from tests.integration.kubelet.inside.world import FOREVER, World, open_world, pod, sh

pytestmark = [pytest.mark.root, pytest.mark.asyncio(loop_scope="session")]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def fresh() -> AsyncIterator[World]:
    async for made in open_world():
        yield made


async def test_an_image_is_a_volume(fresh: World) -> None:
    await fresh.client.create(PODS, pod("image", sh("grep -c hostname /i/www/cgi-bin/index.cgi; touch /i/x; " + FOREVER,
                                                    volumeMounts=[{"name": "i", "mountPath": "/i"}]),
                                        volumes=[{"name": "i", "image": {"reference": images.ECHO}}]), "default")
    await fresh.until(lambda: fresh.all_ready("image"))

    async def said() -> bool:
        return fresh.logs("image").splitlines()[:1] == ["1"] and "Read-only file system" in fresh.logs("image")

    await fresh.until(said)


async def test_events_are_faster_than_looking(fresh: World) -> None:
    """With events the kubelet looks for itself only twice a minute."""
    await fresh.client.create(PODS, pod("quick", sh(FOREVER)), "default")
    await fresh.until(lambda: fresh.all_ready("quick"))
    entry = await fresh.container("quick")
    os.kill(fresh.pid_of(entry["containerID"].rpartition("/")[2]), signal.SIGKILL)
    began = time.monotonic()

    async def again() -> bool:
        now = await fresh.container("quick")
        return bool(now["restartCount"] == 1 and "running" in now["state"])

    await fresh.until(again)
    assert time.monotonic() - began < 25


async def test_the_node_shows_what_its_runtime_can_and_pods_are_refused_what_it_cannot(fresh: World) -> None:
    async def handlers() -> list[dict[str, object]]:
        return (await fresh.client.get(NODES, "n1"))["status"].get("runtimeHandlers") or []

    found = {entry["name"]: entry["features"] for entry in await fresh.until(handlers)}
    assert {"", "runc"} <= set(found)
    await fresh.client.create(PODS, pod("users", sh("cat /proc/self/uid_map; " + FOREVER), hostUsers=False), "default")
    if found[""]["userNamespaces"]:  # type: ignore[index]
        await fresh.until(lambda: fresh.all_ready("users"))

        async def mapped() -> bool:
            return fresh.logs("users").split() == ["0", "65536", "65536"]

        await fresh.until(mapped)
    else:
        await fresh.until(lambda: fresh.said('RuntimeClass handler "" does not support user namespaces'))


async def test_nothing_is_left(fresh: World) -> None:
    for entry in fresh.client.all(PODS):
        await fresh.client.delete(PODS, entry["metadata"]["name"], "default")

    async def empty() -> bool:
        return not fresh.client.all(PODS) and not await fresh.runtime.list_sandboxes() and not fresh.kubelet.cgroups.pods()

    await fresh.until(empty)
