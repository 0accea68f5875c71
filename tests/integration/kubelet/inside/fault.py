"""What goes wrong: the node comes back to what was asked for, nothing runs twice, nothing is lost."""
from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from kubepy.api.resource import CONFIGMAPS, EVENTS, PODS
from kubepy.client.memory import Action
from tests import containerd as private
from tests import images
from tests.integration.kubelet.inside.world import FOREVER, World, pod, sh

pytestmark = [pytest.mark.root, pytest.mark.asyncio(loop_scope="session")]

async def test_a_restarted_kubelet_disturbs_nothing(world: World) -> None:
    names = ("init", "ready", "web", "hook")
    await world.until(lambda: world.all_ready(*names))
    before = {name: (await world.container(name))["containerID"] for name in names}
    await world.kubelet.stop()
    await world.new_kubelet()
    end = time.monotonic() + 4
    while time.monotonic() < end:
        for name in names:
            entry = await world.container(name)
            assert (entry["containerID"], entry["ready"], entry["restartCount"]) == (before[name], True, 0)
        await asyncio.sleep(0.1)


async def test_a_killed_container_is_restarted(world: World) -> None:
    entry = await world.container("ready")
    os.kill(world.pid_of(entry["containerID"].rpartition("/")[2]), signal.SIGKILL)

    async def again() -> bool:
        now = await world.container("ready")
        return bool(now["restartCount"] == 1 and "running" in now["state"] and now["lastState"]["terminated"]["exitCode"] == 137)

    await world.until(again)


async def test_a_killed_pause_process_gives_a_new_sandbox(world: World) -> None:
    worker = world.kubelet.pods.find("default", "hook")
    assert worker is not None
    sandbox = (await world.kubelet.actor.observer.observe(worker.uid)).sandbox
    assert sandbox is not None
    os.kill(world.pid_of(sandbox.id), signal.SIGKILL)

    async def again() -> bool:
        now = await world.container("hook")
        return bool(now["restartCount"] == 1 and now["ready"])

    await world.until(again)
    assert any(event["reason"] == "SandboxChanged" for event in world.client.all(EVENTS))


async def test_pods_outlive_a_killed_containerd_and_what_ended_meanwhile_is_seen(world: World) -> None:
    before = {name: (await world.container(name))["containerID"] for name in ("init", "web", "ready")}
    ending = world.pid_of(before["ready"].rpartition("/")[2])
    world.containerd.process.kill()
    world.containerd.process.wait()
    os.kill(ending, signal.SIGKILL)
    await asyncio.sleep(1)
    world.containerd = private.resume(world.containerd)

    async def again() -> bool:
        now = await world.container("ready")
        return bool("running" in now["state"] and now["containerID"] != before["ready"])

    await world.until(again)
    for name in ("init", "web"):
        entry = await world.container(name)
        assert (entry["containerID"], "running" in entry["state"]) == (before[name], True)


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


async def test_a_killed_shim_takes_its_pod_along_and_it_is_made_again_once(world: World) -> None:
    entry = await world.container("web")
    shim = parent_of(world.pid_of(entry["containerID"].rpartition("/")[2]))
    os.kill(shim, signal.SIGKILL)

    async def again() -> bool:
        now = await world.container("web")
        return bool(now["containerID"] != entry["containerID"] and now["ready"])

    await world.until(again, 180)
    worker = world.kubelet.pods.find("default", "web")
    assert worker is not None

    async def once() -> bool:
        view = await world.kubelet.actor.observer.observe(worker.uid)
        return sum(sandbox.ready for sandbox in view.sandboxes) == 1 and sum(one.name == "c" for one in view.running()) == 1

    await world.until(once)


async def test_while_the_api_server_is_away_pods_are_kept_and_statuses_come_later(world: World) -> None:
    entry = await world.container("ready")

    def away(action: Action) -> None:
        raise ConnectionError("connection refused")

    world.client.before = away
    world.client.drop_watches()
    os.kill(world.pid_of(entry["containerID"].rpartition("/")[2]), signal.SIGKILL)
    worker = world.kubelet.pods.find("default", "ready")
    assert worker is not None

    async def restarted() -> bool:
        view = (await world.kubelet.actor.observer.observe(worker.uid)).newest("c")
        return view is not None and view.attempt > entry["restartCount"] and view.state == "running"

    await world.until(restarted)
    stored = next(one for one in world.client.all(PODS) if one["metadata"]["name"] == "ready")
    assert stored["status"]["containerStatuses"][0]["restartCount"] == entry["restartCount"], "nobody could be told"
    world.client.before = None

    async def told() -> bool:
        return bool((await world.container("ready"))["restartCount"] > entry["restartCount"])

    await world.until(told)


async def test_a_probe_that_hangs_fails_in_its_time_and_holds_up_nobody(world: World) -> None:
    probe = {"exec": {"command": ["sleep", "3600"]}, "periodSeconds": 1, "timeoutSeconds": 1, "failureThreshold": 1}
    await world.client.create(PODS, pod("hung", sh(FOREVER, livenessProbe=probe)), "default")

    async def restarted() -> bool:
        return bool((await world.container("hung")).get("restartCount", 0) >= 1)

    await world.until(restarted)
    await world.until(lambda: world.said("Liveness probe failed: command timed out"))
    await world.client.delete(PODS, "hung", "default")
    await world.until(lambda: world.gone("hung"))


async def test_an_image_pull_that_is_cut_off_is_tried_again(world: World) -> None:
    """A registry that sends half of an answer and hangs up."""
    asked = 0

    async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked += 1
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/vnd.oci.image.manifest.v1+json\r\ncontent-length: 900\r\n\r\n{")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(half, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    image = f"127.0.0.1:{port}/half:1"
    await world.client.create(PODS, pod("pull", sh(FOREVER, image=image, imagePullPolicy="Always")), "default")

    async def waits() -> bool:
        return ((await world.container("pull")).get("state") or {}).get("waiting", {}).get("reason") == "ImagePullBackOff"

    await world.until(waits)
    first = asked
    world.containerd.ctr("images", "tag", images.BUSYBOX, image)  # as if the registry had been mended
    found = await world.client.get(PODS, "pull", "default")
    found["spec"]["containers"][0]["imagePullPolicy"] = "IfNotPresent"
    await world.client.update(PODS, found)
    await world.until(lambda: world.all_ready("pull"))
    assert first >= 1
    server.close()
    await world.client.delete(PODS, "pull", "default")


async def test_a_volume_that_is_in_use_does_not_keep_its_pod_for_ever(world: World) -> None:
    await world.client.create(PODS, pod("busy", sh(FOREVER, volumeMounts=[{"name": "m", "mountPath": "/m"}]),
                                        volumes=[{"name": "m", "emptyDir": {"medium": "Memory"}}]), "default")
    await world.until(lambda: world.all_ready("busy"))
    worker = world.kubelet.pods.find("default", "busy")
    assert worker is not None
    point = world.directory / "root" / "pods" / worker.uid / "volumes" / "kubernetes.io~empty-dir" / "m"
    with open(point / "held", "w") as held:  # the mount is busy for as long as this is open
        held.write("x")
        held.flush()
        await world.client.delete(PODS, "busy", "default")
        await world.until(lambda: world.gone("busy"))
    assert not point.exists()


async def test_a_clock_that_jumps_ends_nobody_and_starts_nobody_twice(world: World) -> None:
    """An hour on, then back: deadlines, back-offs and token renewals go by it, running containers do not."""
    before = {name: (await world.container(name))["containerID"] for name in ("init", "web", "hostnet")}
    real = time.time
    try:
        for jump in (3600.0, -3600.0):
            time.time = lambda jump=jump: real() + jump  # type: ignore[assignment,misc]
            world.kubelet.pods.wake_all()
            await asyncio.sleep(2)
            for name, container_id in before.items():
                entry = await world.container(name)
                assert (entry["containerID"], "running" in entry["state"]) == (container_id, True)
    finally:
        time.time = real


async def test_a_pod_deleted_while_the_kubelet_was_away_ends_and_nothing_is_left_of_any(world: World) -> None:
    await world.kubelet.stop()
    await world.client.delete(PODS, "hook", "default")
    await world.client.delete(PODS, "limits", "default", grace_period_seconds=0)
    await world.new_kubelet()
    for entry in world.client.all(PODS):
        if not entry["metadata"].get("deletionTimestamp"):
            await world.client.delete(PODS, entry["metadata"]["name"], "default")

    async def empty() -> bool:
        return not world.client.all(PODS)

    await world.until(empty)
    assert (world.directory / "hook" / "pre").exists()

    async def clean() -> bool:
        left = await world.runtime.list_sandboxes()
        directories = [*(world.directory / "root" / "pods").iterdir(), *(world.directory / "logs").iterdir()]
        print("left:", [sandbox.metadata.name for sandbox in left], directories, world.kubelet.cgroups.pods())
        return not left and not directories and not world.kubelet.cgroups.pods()

    await world.until(clean)


async def test_with_a_full_disk_a_pod_waits_and_what_is_to_be_kept_is_kept_later(world: World) -> None:
    """First there is no room for the pod's volumes and the kubelet's state, then none for its logs."""
    root, logs = world.directory / "root", world.directory / "logs"

    def mount(path: Path, *options: str) -> None:
        subprocess.run(["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(path)], check=True)

    mount(root, "size=64k")
    mount(logs, "nr_inodes=1")
    try:
        (root / "hog").write_bytes(bytes(64 << 10))
        await world.client.create(CONFIGMAPS, {"metadata": {"name": "room"}, "data": {"a": "b"}}, "default")
        await world.client.create(PODS, pod("room", sh(f"echo here; {FOREVER}", volumeMounts=[{"name": "m", "mountPath": "/m"}]),
                                            volumes=[{"name": "m", "configMap": {"name": "room"}}]), "default")
        await world.until(lambda: world.said("No space left on device"))
        assert (await world.status("room"))["phase"] == "Pending"
        assert not (root / "allocated_pods_state").exists()
        assert not list(root.glob(".allocated*")), "nothing half written is left"
        (root / "hog").unlink()

        async def kept() -> bool:
            return (root / "allocated_pods_state").exists()

        await world.until(kept)
        await asyncio.sleep(1)
        assert (await world.status("room"))["phase"] == "Pending", "there is still no room for its log"
        subprocess.run(["mount", "-o", "remount,nr_inodes=1000", str(logs)], check=True)
        await world.until(lambda: world.all_ready("room"))

        async def logged() -> bool:
            return any("here" in file.read_text() for file in logs.glob("*room*/c/0.log"))

        await world.until(logged)
        await world.client.delete(PODS, "room", "default")
        await world.until(lambda: world.gone("room"))

        async def clean() -> bool:
            return not [*(root / "pods").iterdir(), *logs.iterdir()]

        await world.until(clean)
    finally:
        for path in (root, logs):
            subprocess.run(["umount", "-l", str(path)], check=True)
