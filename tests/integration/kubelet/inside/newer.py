"""What only newer containerds can: events, images as volumes, telling what their handlers are able to do."""
from __future__ import annotations

import os
import signal
import tarfile
import time
from pathlib import Path

import orjson
import pytest

from kubepy.api.resource import NODES, PODS
from kubepy.base.clock import SystemClock
from kubepy.kubelet.server.app import App
from kubepy.kubelet.server.listener import Listener
from tests import images
from tests.integration.kubelet.inside.serve import ask
from tests.integration.kubelet.inside.world import FOREVER, World, pod, sh

pytestmark = [pytest.mark.root, pytest.mark.asyncio(loop_scope="session")]


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


async def test_a_container_is_checkpointed(fresh: World) -> None:
    if not (Path(os.environ["KUBEPY_CONTAINERD"]).parent / "criu").exists():
        pytest.skip("no criu beside this containerd: deploy/containerd-versions fetches it")
    app = App(fresh.settings, fresh.kubelet.pods, fresh.runtime, fresh.kubelet.statistics, SystemClock(), None)
    listener = Listener(app)
    port = await listener.start("127.0.0.1", 0, None)
    await fresh.until(lambda: fresh.all_ready("quick"))
    before = await fresh.container("quick")
    answer = await ask(port, "POST /checkpoint/default/quick/c?timeout=60 HTTP/1.1\nconnection: close\ncontent-length: 0\n")
    await listener.stop()
    assert answer.startswith(b"HTTP/1.1 200 "), answer
    [path] = orjson.loads(answer.partition(b"\r\n\r\n")[2])["items"]
    assert Path(path).name.startswith("checkpoint-quick_default-c-")
    with tarfile.open(path) as archive:
        assert "checkpoint/inventory.img" in archive.getnames()
    assert await fresh.container("quick") == before, "it goes on"


async def test_nothing_is_left(fresh: World) -> None:
    for entry in fresh.client.all(PODS):
        await fresh.client.delete(PODS, entry["metadata"]["name"], "default")

    async def empty() -> bool:
        return not fresh.client.all(PODS) and not await fresh.runtime.list_sandboxes() and not fresh.kubelet.cgroups.pods()

    await fresh.until(empty)
