"""A kubelet without a machine: fake runtime, API in memory, virtual clock. What happens when, told as a story."""
from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from kubepy.api.resource import EVENTS, NODES, PODS
from kubepy.base.clock import VirtualClock
from kubepy.client.memory import MemoryClient
from kubepy.kubelet.agent import Kubelet
from kubepy.kubelet.cri.fake import FakeRuntime
from kubepy.kubelet.cri.interface import CriError
from kubepy.kubelet.node.shutdown import CRITICAL, REASON, Class
from kubepy.kubelet.probe import prober
from kubepy.kubelet.settings import Settings
from tests.unit.kubelet.test_plan import container
from tests.unit.kubelet.world import World

IMAGE = "docker.io/library/busybox:latest"


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    async def at_once(function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        return function(*arguments, **named)

    monkeypatch.setattr(asyncio, "to_thread", at_once)  # threads know nothing of virtual time
    clock = VirtualClock()
    client, runtime = MemoryClient(clock), FakeRuntime(clock)
    runtime.add_image(IMAGE)
    (tmp_path / "cgroup").mkdir()
    (tmp_path / "cgroup" / "cgroup.controllers").write_text("cpu memory pids")
    settings = Settings(node_name="n1", node_ip="192.0.2.1", root_dir=str(tmp_path / "root"), pod_logs_dir=str(tmp_path / "logs"),
                        container_logs_dir=str(tmp_path / "links"))
    kubelet = Kubelet(settings, client, runtime, clock)
    kubelet.cgroups.root, kubelet.cgroups.v2 = tmp_path / "cgroup", True
    await kubelet.start()
    made = World(clock, client, runtime, kubelet)
    await made.passes(1.0)
    yield made
    await made.kubelet.stop()


async def test_the_node_registers_and_becomes_ready(world: World) -> None:
    node = world.client.all(NODES)[0]
    assert {entry["type"]: entry["status"] for entry in node["status"]["conditions"]}["Ready"] == "True"
    said = {entry["reason"] for entry in world.client.all(EVENTS) if entry["involvedObject"]["kind"] == "Node"}
    assert said == {"Starting", "NodeAllocatableEnforced", "NodeHasSufficientMemory", "NodeHasNoDiskPressure", "NodeHasSufficientPID",
                    "NodeReady"}


async def test_a_pod_runs_ends_and_is_removed(world: World) -> None:
    await world.create("p", container("a"), container("b"))

    async def running() -> bool:
        return (await world.status()).get("phase") == "Running"

    await world.until(running)
    assert world.runtime.running() == ["a", "b"]
    await world.client.delete(PODS, "p", "default")

    async def gone() -> bool:
        return not world.client.all(PODS)

    await world.until(gone)
    await world.passes(5.0)
    assert await world.runtime.list_containers() == []
    assert await world.runtime.list_sandboxes() == []
    assert world.reasons().count("Killing") == 2


async def test_a_start_reads_the_runtime_three_times_and_is_told_twice(world: World) -> None:
    world.runtime.calls.clear()
    world.client.actions.clear()
    await world.create("p")

    async def running() -> bool:
        return (await world.status()).get("phase") == "Running"

    await world.until(running)
    await world.passes(5.0)
    asked = [method for method, _ in world.runtime.calls]
    assert {method: asked.count(method) for method in ("sandbox_status", "container_status", "image_status")} == {
        "sandbox_status": 1, "container_status": 1, "image_status": 1}
    assert sum(action.subresource == "status" and action.name == "p" for action in world.client.actions) == 2


async def test_a_crash_loop_backs_off_ten_then_twenty_seconds(world: World) -> None:
    await world.create("p")

    async def running() -> bool:
        return world.runtime.running() == ["c"]

    await world.until(running)
    waits = []
    for _ in range(3):
        world.runtime.exit("c", 1)
        waits.append(await world.until(running, 60.0))
    assert waits == [pytest.approx(expected, abs=1.6) for expected in (0.5, 10.0, 20.0)]
    assert (await world.entry())["restartCount"] == 3
    world.runtime.exit("c", 1)
    await world.passes(2.0)
    entry = await world.entry()
    assert entry["state"]["waiting"]["reason"] == "CrashLoopBackOff"
    assert entry["lastState"]["terminated"]["exitCode"] == 1
    assert (await world.status())["phase"] == "Running"


async def test_a_failing_pull_backs_off_and_succeeds_when_the_image_is_there(world: World) -> None:
    await world.create("p", container(image="example.com/app:1"))

    async def failed() -> bool:
        return bool((await world.entry()).get("state", {}).get("waiting", {}).get("reason") in ("ErrImagePull", "ImagePullBackOff"))

    await world.until(failed)
    await world.passes(4.0)
    assert (await world.entry())["state"]["waiting"]["reason"] in ("ErrImagePull", "ImagePullBackOff")
    world.runtime.remote.add("example.com/app:1")

    async def running() -> bool:
        return world.runtime.running() == ["c"]

    await world.until(running)
    assert [call for call in world.runtime.calls if call[0] == "pull_image"] == [("pull_image", "example.com/app:1")] * 2
    assert {"Pulling", "Failed", "Pulled"} <= set(world.reasons())


async def test_a_pod_that_comes_while_the_runtime_lists_what_it_has_is_no_orphan(world: World) -> None:
    lists, volumes = world.runtime.list_sandboxes, world.kubelet.volumes
    late: list[str] = ["late"]

    async def slowly(*arguments: Any) -> Any:
        if late:
            await world.create(late.pop())
        return await lists(*arguments)

    unmounted: list[str] = []
    unmount = volumes.unmount

    async def watched(uid: str) -> None:
        unmounted.append(uid)
        await unmount(uid)

    volumes.unmount = watched  # type: ignore[method-assign]
    world.runtime.list_sandboxes = slowly  # type: ignore[method-assign]
    await world.kubelet.pods.clean()
    await world.passes(5.0)
    assert world.runtime.running() == ["c"]
    assert not [call for call in world.runtime.calls if call[0] in ("stop_container", "stop_sandbox", "remove_sandbox")]
    assert not unmounted


async def test_a_failed_liveness_probe_restarts_after_its_threshold(world: World) -> None:
    world.runtime.on_exec = lambda name, command: (1, b"sick")
    await world.create("p", container(livenessProbe={"exec": {"command": ["check"]}, "periodSeconds": 10, "failureThreshold": 3}))

    async def restarted() -> bool:
        return (await world.entry()).get("restartCount") == 1

    took = await world.until(restarted, 60.0)
    assert 20.0 <= took <= 24.0
    assert world.reasons().count("Unhealthy") == 1  # counted, not repeated
    assert "Container c failed liveness probe, will be restarted" in [entry["message"] for entry in world.client.all(EVENTS)]


async def test_a_probe_that_is_sent_to_another_host_succeeds_with_a_warning(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def elsewhere(*_: Any, **__: Any) -> tuple[int, str]:
        return 302, '<a href="http://0.0.0.0/">Found</a>.'

    monkeypatch.setattr(prober, "http_get", elsewhere)
    await world.create("p", container(livenessProbe={"httpGet": {"path": "/", "port": 80}, "periodSeconds": 1, "failureThreshold": 1}))
    await world.passes(5.0)
    assert (await world.entry())["restartCount"] == 0
    assert [entry["message"] for entry in world.client.all(EVENTS) if entry["reason"] == "ProbeWarning"] == [
        'Liveness probe warning: Probe terminated redirects, Response body: <a href="http://0.0.0.0/">Found</a>.']


async def test_readiness_follows_its_probe(world: World) -> None:
    answers = {"code": 1}
    world.runtime.on_exec = lambda name, command: (answers["code"], b"")
    await world.create("p", container(readinessProbe={"exec": {"command": ["check"]}, "periodSeconds": 1, "failureThreshold": 1}))
    await world.passes(3.0)
    assert (await world.entry())["ready"] is False
    answers["code"] = 0
    await world.passes(3.0)
    assert (await world.entry())["ready"] is True
    answers["code"] = 1
    await world.passes(3.0)
    assert (await world.entry())["ready"] is False


async def test_a_shorter_grace_period_takes_the_place_of_a_longer_one(world: World) -> None:
    world.runtime.ignores_term.add("c")
    await world.create("p", terminationGracePeriodSeconds=600)
    await world.passes(1.0)
    await world.client.delete(PODS, "p", "default")
    await world.passes(5.0)
    assert world.runtime.running() == ["c"]
    await world.client.delete(PODS, "p", "default", grace_period_seconds=5)

    async def ended() -> bool:
        return world.runtime.running() == []

    assert await world.until(ended, 20.0) <= 8.0


async def test_a_minute_without_the_api_server_disturbs_no_pod_and_the_news_come_later(world: World) -> None:
    """A container that ends is restarted, one that fails its probe too; nothing else happens, and then all of it is told."""
    probe = {"exec": {"command": ["check"]}, "periodSeconds": 1, "failureThreshold": 2}
    await world.create("p")
    await world.create("probed", container("sick", livenessProbe=probe))
    await world.create("steady", container("steady"))
    await world.passes(3.0)
    steady = await world.entry("steady")

    def away(action: Any) -> None:
        raise ConnectionError("away")

    world.client.before = away
    world.client.drop_watches()
    world.runtime.exit("c", 7)
    await world.passes(30.0)
    world.runtime.on_exec = lambda name, command: (1, b"sick")
    await world.passes(4.0)
    world.runtime.on_exec = lambda name, command: (0, b"")
    await world.passes(30.0)
    assert sorted(world.runtime.running()) == ["c", "sick", "steady"]
    assert [(await world.entry(name))["restartCount"] for name in ("p", "probed")] == [0, 0], "nobody could be told"
    world.client.before = None

    async def told() -> bool:
        p, probed = [(await world.entry(name))["restartCount"] for name in ("p", "probed")]
        return p == 1 and probed >= 1

    assert await world.until(told, 30.0) <= 15.0
    assert (await world.entry("p"))["lastState"]["terminated"]["exitCode"] == 7
    assert (await world.entry("steady")) == steady


async def test_an_absent_runtime_makes_the_node_unready_until_it_is_back(world: World) -> None:
    def ready() -> str:
        return next(entry["status"] for entry in world.client.all(NODES)[0]["status"]["conditions"] if entry["type"] == "Ready")

    gone = CriError("UNAVAILABLE", "connection refused")
    world.runtime.fail = dict.fromkeys(("status", "list_sandboxes", "list_containers", "version"), gone)
    await world.kubelet.node.look()
    await world.kubelet.node.report()
    assert ready() == "False"
    world.runtime.fail = {}
    await world.kubelet.node.look()
    await world.kubelet.node.report()
    assert ready() == "True"


async def test_a_pod_that_does_not_fit_is_rejected(world: World) -> None:
    await world.create("p", container(resources={"requests": {"cpu": "1000"}}))
    await world.passes(1.0)
    status = await world.status()
    assert (status["phase"], status["reason"]) == ("Failed", "OutOfcpu")
    assert world.runtime.running() == []


async def test_a_container_that_cannot_be_made_is_not_tried_again_by_its_own_report(world: World) -> None:
    count = 0

    async def create(*arguments: Any) -> str:
        nonlocal count
        count += 1
        raise CriError("UNKNOWN", f"failed to generate container {count}")  # another message each time

    world.runtime.create_container = create  # type: ignore[method-assign]
    await world.create("p")
    await world.passes(9.0)
    assert count == 1
    await world.client.patch(PODS, "p", {"metadata": {"annotations": {"try": "again"}}}, "default")
    await world.passes(1.0)
    assert count == 2
    await world.passes(11.0)
    assert count == 3


@pytest.mark.parametrize("dead", [False, True], ids=["but lives", "and is dead"])
async def test_a_container_whose_sandbox_the_runtime_did_not_find_has_not_failed(world: World, dead: bool) -> None:
    start, asked = world.runtime.start_container, 0

    async def lost_once(container_id: str) -> None:
        nonlocal asked
        asked += 1
        if asked == 1:
            if dead:
                world.runtime.kill_sandbox()
            raise CriError("UNKNOWN", "OCI runtime create failed: runc create failed: unable to create new parent process: namespace path: "
                                      "lstat /proc/0/ns/ipc: no such file or directory: unknown")
        await start(container_id)

    world.runtime.start_container = lost_once  # type: ignore[method-assign]
    await world.create("p", restartPolicy="Never")

    async def running() -> bool:
        return (await world.status()).get("phase") == "Running"

    assert await world.until(running) <= 5
    assert (await world.entry())["restartCount"] == 0
    assert sum(method == "run_sandbox" for method, _ in world.runtime.calls) == 1 + dead


async def test_when_the_machine_goes_down_pods_end_and_new_ones_are_refused(world: World) -> None:
    await world.create("app")
    await world.create("vital", priority=2_000_000_001)

    async def running() -> bool:
        return all([(await world.status(name)).get("phase") == "Running" for name in ("app", "vital")])

    await world.until(running)
    shutdown = world.kubelet.shutdown
    shutdown._classes = [Class(0, 20), Class(CRITICAL, 10)]
    going = asyncio.ensure_future(shutdown.begin())

    async def ended() -> bool:
        return going.done()

    await world.until(ended, 60)
    await world.passes(2)
    status = await world.status("app")
    assert (status["phase"], status["reason"], status["message"]) == ("Failed", *REASON)
    assert any(entry["type"] == "DisruptionTarget" and entry["reason"] == "TerminationByKubelet" for entry in status["conditions"])
    ready = next(entry for entry in world.client.all(NODES)[0]["status"]["conditions"] if entry["type"] == "Ready")
    assert (ready["status"], ready["message"]) == ("False", "node is shutting down")
    await world.create("late")
    late = await world.status("late")
    assert (late["phase"], late["reason"]) == ("Failed", "NodeShutdown")


async def test_a_critical_pod_waits_for_those_that_make_room_for_it(world: World) -> None:
    half = {"requests": {"cpu": str(max(1, world.kubelet.machine.cpus // 2))}}
    for name in ("a", "b"):
        await world.create(name, container(name, resources=half))
    world.runtime.ignores_term.add("b")

    async def running() -> bool:
        return sorted(world.runtime.running()) == ["a", "b"]

    await world.until(running)
    await world.create("vital", container("vital", resources=half), priority=2_000_000_001)
    await world.passes(3)
    gone = {"a", "b"} - set(world.runtime.running())
    assert len(gone) <= 1

    async def vital() -> bool:
        return "vital" in world.runtime.running()

    await world.until(vital, 60)
    failed = [name for name in ("a", "b") if (await world.status(name)).get("phase") == "Failed"]
    assert len(failed) == 1
    status = await world.status(failed[0])
    assert (status["reason"], status["message"]) == ("Preempting", "Preempted in order to admit critical pod")
    assert any(entry["type"] == "DisruptionTarget" for entry in status["conditions"])
    assert len(world.runtime.running()) == 2
