"""Pods live, end, wait, and are what they asked to be."""
from __future__ import annotations

import orjson
import pytest

from kubepy.api.resource import CONFIGMAPS, PODS
from tests import images
from tests.integration.kubelet.inside.world import FOREVER, World

pytestmark = [pytest.mark.root, pytest.mark.asyncio(loop_scope="session")]

SEARCH = "search default.svc.cluster.local svc.cluster.local cluster.local"

ENDS = {
    "ok": ("Succeeded", {"exitCode": 0, "reason": "Completed"}),
    "bad": ("Failed", {"exitCode": 3, "reason": "Error", "message": "oops\n"}),
    "fallback": ("Failed", {"exitCode": 1, "message": "from the log\n"}),
    "onfail": ("Succeeded", {"exitCode": 0}),
    "badcmd": ("Failed", {"exitCode": 128, "reason": "StartError"}),
    "oom": ("Failed", {"exitCode": 137, "reason": "OOMKilled"}),
    "sidecar": ("Succeeded", {"exitCode": 0}),
    "deadline": ("Failed", {}),
}


@pytest.mark.parametrize("name", ENDS)
async def test_a_pod_that_ends(world: World, name: str) -> None:
    phase, expected = ENDS[name]

    async def ended() -> bool:
        return (await world.status(name)).get("phase") in ("Succeeded", "Failed") and "terminated" in (await world.container(name))["state"]

    await world.until(ended)
    assert (await world.status(name))["phase"] == phase
    state = (await world.container(name))["state"]["terminated"]
    assert {key: state.get(key) for key in expected} == expected


WAITS = {"never": "ErrImageNeverPull", "missing": "CreateContainerConfigError", "missvol": "ContainerCreating", "crash": "CrashLoopBackOff",
         "live": "CrashLoopBackOff", "nonroot": "CreateContainerConfigError"}


@pytest.mark.parametrize("name", WAITS)
async def test_a_pod_that_waits(world: World, name: str) -> None:
    async def waits() -> bool:
        return ((await world.container(name)).get("state") or {}).get("waiting", {}).get("reason") == WAITS[name]

    await world.until(waits)


async def test_what_shall_run_runs_and_is_ready(world: World) -> None:
    names = ("init", "volumes", "ready", "web", "limits", "hostnet", "share", "hook")
    await world.until(lambda: world.all_ready(*names))
    assert (await world.status("hostnet"))["podIP"] == "198.51.100.1"

    heard: list[str] = []

    async def said() -> bool:  # a container without a probe is ready before it has said anything
        heard[:] = [world.logs("init"), world.logs("hostnet"), world.logs("share", "a")]
        return heard[:2] == ["from-init", "1"] and "/pause" in heard[2]

    await world.until(said)
    assert (await world.status("initfail"))["phase"] == "Failed"
    assert (world.directory / "hook" / "post").exists()


async def test_volumes_environment_and_names_are_as_asked(world: World) -> None:
    await world.until(lambda: world.all_ready("volumes"))

    async def said() -> bool:
        return len(world.logs("volumes").splitlines()) >= 9

    await world.until(said)
    lines = world.logs("volumes").splitlines()
    ip = (await world.status("volumes"))["podIP"]
    assert lines == ['1hunterapp="volumes"two', "440 2000", "1", f"x-y hunter {ip}", "1000", "1000 2000 50000", "myhost",
                     f"{ip}\tmyhost.sub.default.svc.cluster.local\tmyhost", SEARCH]


async def test_a_changed_config_map_reaches_its_volume(world: World) -> None:
    await world.until(lambda: world.all_ready("volumes"))
    await world.client.patch(CONFIGMAPS, "cm", {"data": {"a": "changed"}}, "default")

    async def seen() -> bool:
        return await world.execute("volumes", "cat /cm/a") == "changed"

    await world.until(seen)


async def test_limits_reach_the_kernel_and_are_resized_in_place(world: World) -> None:
    await world.until(lambda: world.all_ready("limits"))
    read = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/cpu/cpu.cfs_quota_us 2>/dev/null || " \
           "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/cpu.max"
    assert (await world.execute("limits", read)).split()[:2] == [str(64 << 20), "20000"]
    found = await world.client.get(PODS, "limits", "default")
    found["spec"]["containers"][0]["resources"] = {"limits": {"cpu": "300m", "memory": "96Mi"}, "requests": {"cpu": "150m",
                                                                                                             "memory": "48Mi"}}
    await world.client.update(PODS, found)

    async def resized() -> bool:
        return (await world.execute("limits", read)).split()[:2] == [str(96 << 20), "30000"]

    await world.until(resized)
    assert (await world.container("limits"))["restartCount"] == 0


async def test_an_ephemeral_container_is_started(world: World) -> None:
    await world.until(lambda: world.all_ready("web"))
    found = await world.client.get(PODS, "web", "default")
    found["spec"]["ephemeralContainers"] = [{"name": "debug", "image": images.BUSYBOX, "command": ["sh", "-c", FOREVER]}]
    await world.client.update(PODS, found)

    async def runs() -> bool:
        return any("running" in entry["state"] for entry in (await world.status("web")).get("ephemeralContainerStatuses") or ())

    await world.until(runs)


async def test_static_pods_run_and_are_shown_by_mirrors(world: World) -> None:
    manifest = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "static"}, "spec": {
        "terminationGracePeriodSeconds": 1, "containers": [{"name": "c", "image": images.BUSYBOX, "command": ["sh", "-c", FOREVER]}]}}
    file = world.directory / "static" / "static.yaml"
    file.write_bytes(orjson.dumps(manifest))

    async def mirrored() -> bool:
        return any(entry["metadata"]["name"] == "static-n1" and entry.get("status", {}).get("phase") == "Running"
                   for entry in world.client.all(PODS))

    await world.until(mirrored)
    file.unlink()

    async def gone() -> bool:
        return not any(entry["metadata"]["name"] == "static-n1" for entry in world.client.all(PODS))

    await world.until(gone)
