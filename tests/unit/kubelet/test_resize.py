"""In-place resizes: what is changed, what must wait, what can never be, and how it is told."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kubepy.api.resource import EVENTS, PODS
from kubepy.kubelet.cri.interface import CriError
from kubepy.kubelet.pod.allocation import Allocations
from kubepy.kubelet.pod.resize import Resize, pending, plan_resize
from kubepy.kubelet.pod.resizer import summary
from tests.unit.kubelet.test_plan import container, pod, seen, view
from tests.unit.kubelet.test_worker import World, world  # noqa: F401

NODE = {"cpu": 4000, "memory": 4 << 30}


def asks(cpu: str, **fields: Any) -> dict[str, Any]:
    return container(resources={"requests": {"cpu": cpu}}, **fields)


def other(cpu: str) -> dict[str, Any]:
    return pod(container(resources={"requests": {"cpu": cpu}}))


RESTART = {"resizePolicy": [{"resourceName": "cpu", "restartPolicy": "RestartContainer"}]}
STATIC = {**pod(asks("2")), "metadata": {"name": "p", "uid": "u", "annotations": {"kubernetes.io/config.source": "file"}}}
INFEASIBLE = "Resize is infeasible for Guaranteed Pods alongside {} Manager static policy"
PENDING: dict[str, tuple[dict[str, Any], list[dict[str, Any]], dict[str, bool], tuple[str, str] | None]] = {
    "more, where there is room": (pod(asks("2")), [other("1")], {}, None),
    "more than is left now": (pod(asks("2")), [other("3")], {}, (
        "Deferred", "Node didn't have enough resource: cpu, requested: 2000, used: 3000, capacity: 4000")),
    "more than there ever is": (pod(asks("5")), [], {}, (
        "Infeasible", "Node didn't have enough capacity: cpu, requested: 5000, capacity: 4000")),
    "a static pod": (STATIC, [], {}, ("Infeasible", "In-place resize of static-pods is not supported")),
    "a pod with CPUs of its own": (pod(asks("2")), [], {"exclusive_cpus": True}, ("Infeasible", INFEASIBLE.format("CPU"))),
    "a pod with memory of its own": (pod(asks("2")), [], {"exclusive_memory": True}, ("Infeasible", INFEASIBLE.format("Memory"))),
}


@pytest.mark.parametrize(("spec", "others", "own", "expected"), PENDING.values(), ids=PENDING.keys())
def test_what_can_be_given(spec: dict[str, Any], others: list[dict[str, Any]], own: dict[str, bool], expected: Any) -> None:
    found = pending(spec, others, NODE, **own)
    assert (found and found[:2]) == expected


WHOLE = {**pod(asks("1")), "spec": {**pod(asks("1"))["spec"], "resources": {"requests": {"cpu": "3"}}}}
CASES: dict[str, tuple[dict[str, Any], Resize]] = {
    "what has not changed": (pod(asks("1")), Resize()),
    "more": (pod(asks("2")), Resize(updates=(view(),))),
    "a container that wants to be restarted for it": (pod(asks("2", **RESTART)), Resize(restarts=(view(),))),
    "the pod as a whole": (WHOLE, Resize(whole=True)),
}


@pytest.mark.parametrize(("spec", "expected"), CASES.values(), ids=CASES.keys())
def test_plan(spec: dict[str, Any], expected: Resize) -> None:
    actual = {"c-0": {"requests": {"cpu": "1"}}, **({"": {"requests": {"cpu": "2"}}} if "resources" in spec["spec"] else {})}
    assert plan_resize(spec, seen(view()), actual) == expected


def test_what_was_given_outlives_a_restart(tmp_path: Path) -> None:
    first = Allocations(str(tmp_path))
    first.admit(WHOLE)
    first.apply("u", {"c-0": {"requests": {"cpu": "1"}}})
    asked = {**WHOLE, "spec": {**WHOLE["spec"], "resources": {"requests": {"cpu": "4"}}, "containers": [asks("2")]}}
    first.admit(asked)
    first.save()
    again = Allocations(str(tmp_path))
    again.load()
    assert again.resized(asked)
    assert again.of(asked) == WHOLE
    assert again.applied("u") == {"c-0": {"requests": {"cpu": "1"}}}
    again.give(asked)
    assert not again.resized(asked)
    assert again.of(asked) is asked
    again.release(lambda uid: False)
    assert again.of(WHOLE) is WHOLE


def test_events_tell_the_resources_of_all_containers() -> None:
    spec = pod(container("c", resources={"limits": {"memory": "1Gi", "cpu": "2"}}),
               init=[container("i"), container("s", restartPolicy="Always")])
    spec["metadata"]["generation"] = 2
    assert summary(spec, "no") == (
        '{"initContainers":[{"name":"s","resources":{}}],"containers":[{"name":"c","resources":{"limits":{"cpu":"2","memory":"1Gi"}}}],'
        '"generation":2,"error":"no"}')


async def test_a_resize_waits_for_room_then_is_made_and_a_runtime_that_cannot_is_asked_again(world: World) -> None:  # noqa: F811
    cpus = world.kubelet.machine.cpus
    for name in ("grows", "full"):
        await world.create(name, container(name, resources={"requests": {"cpu": str(cpus / 2)}}))

    async def running() -> bool:
        return sorted(world.runtime.running()) == ["full", "grows"]

    async def conditions() -> dict[str, dict[str, Any]]:
        return {entry["type"]: entry for entry in (await world.status("grows"))["conditions"]}

    async def resize(cpu: str) -> None:
        found = await world.client.get(PODS, "grows", "default")
        found["spec"]["containers"][0]["resources"] = {"requests": {"cpu": cpu}}
        await world.client.update(PODS, found)
        await world.passes(2)

    await world.until(running)
    await resize(str(cpus * 2))
    assert (await conditions())["PodResizePending"]["reason"] == "Infeasible"
    await resize(str(cpus))
    assert (await conditions())["PodResizePending"]["reason"] == "Deferred"
    assert (await world.entry("grows"))["allocatedResources"] == {"cpu": str(cpus / 2)}, "it keeps what it has"

    await world.restart()
    await world.passes(2)
    assert (await world.entry("grows"))["allocatedResources"] == {"cpu": str(cpus / 2)}, "also when the kubelet starts again"
    assert (await conditions())["PodResizePending"]["reason"] == "Deferred"

    world.runtime.fail["update_container"] = CriError("UNKNOWN", "the cgroup is stuck")
    await world.client.delete(PODS, "full", "default", grace_period_seconds=1)

    async def stuck() -> bool:
        found = (await conditions()).get("PodResizeInProgress", {})
        return (found.get("reason"), found.get("message")) == ("Error", "the cgroup is stuck")

    await world.until(stuck, 30)
    world.runtime.fail.clear()

    async def done() -> bool:
        return not {"PodResizePending", "PodResizeInProgress"} & set(await conditions())

    await world.until(done, 60)
    assert (await world.entry("grows"))["allocatedResources"] == {"cpu": str(cpus)}
    assert (await world.entry("grows"))["restartCount"] == 0
    reasons = [entry["reason"] for entry in world.client.all(EVENTS) if entry["reason"].startswith("Resize")]
    assert set(reasons) == {"ResizeInfeasible", "ResizeDeferred", "ResizeStarted", "ResizeError", "ResizeCompleted"}
