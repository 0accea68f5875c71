"""What a kubelet asks its runtime for and what it tells the API, told in full: transcripts that are read like prose.

`pytest tests/unit/kubelet/test_transcript.py --update-golden` writes them anew; then read the difference.
"""
from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from kubepy.api.resource import EVENTS, PODS
from kubepy.kubelet.cri.interface import CriError
from tests.unit.kubelet.test_plan import container
from tests.unit.kubelet.test_worker import World, world  # noqa: F401

FOLDER = Path(__file__).with_name("transcripts")
_SILENT = {"list_sandboxes", "list_containers", "sandbox_status", "container_status", "version", "status", "list_images", "image_status",
           "image_fs", "container_stats", "sandbox_stats"}


class Story:
    """Collects what happens, in seconds since the pod was made."""

    def __init__(self, world: World) -> None:  # noqa: F811
        self.world = world
        self.lines: list[str] = []
        self._began = world.clock.now()
        self._calls = len(world.runtime.calls)
        self._events: dict[str, int] = {}
        self._shown: dict[str, str] = {}

    def say(self, text: str) -> None:
        self.lines.append(f"{self.world.clock.now() - self._began:6.1f}  {text}")

    def look(self) -> None:
        for method, about in self.world.runtime.calls[self._calls:]:
            if method not in _SILENT:
                self.say(f"runtime  {method} {about}".rstrip())
        self._calls = len(self.world.runtime.calls)
        for event in self.world.client.all(EVENTS):
            key, count = event["metadata"]["name"], event.get("count") or 1
            if event["involvedObject"]["kind"] == "Pod" and self._events.get(key) != count:
                self._events[key] = count
                message = event["message"].replace(self._uid(), "UID")
                self.say(f"event    {event['type']} {event['reason']}: {message}")
        for pod in self.world.client.all(PODS):
            name, text = pod["metadata"]["name"], shown(pod.get("status") or {})
            if self._shown.get(name) != text:
                self._shown[name] = text
                self.say(f"status   {text}")
        present = {pod["metadata"]["name"] for pod in self.world.client.all(PODS)}
        for name in set(self._shown) - present:
            del self._shown[name]
            self.say("status   gone")

    def _uid(self) -> str:
        return next((pod["metadata"]["uid"] for pod in self.world.client.all(PODS)), "\0")

    async def passes(self, seconds: float) -> None:
        for _ in range(int(seconds / 0.5)):
            await self.world.passes(0.5)
            self.look()

    async def create(self, *containers: dict[str, Any], **spec: Any) -> None:
        self.say("---      the pod is created")
        await self.world.create("p", *containers, **spec)
        self.look()
        await self.passes(3)

    async def delete(self, **options: Any) -> None:
        self.say(f"---      the pod is deleted {options or ''}".rstrip())
        await self.world.client.delete(PODS, "p", "default", **options)
        await self.passes(1)

    def exit(self, name: str, code: int) -> None:
        self.say(f"---      {name} ends with {code}")
        self.world.runtime.exit(name, code)


def shown(status: dict[str, Any]) -> str:
    parts = [status.get("phase", "")]
    if status.get("reason"):
        parts.append(status["reason"])
    for key in ("initContainerStatuses", "containerStatuses"):
        for entry in status.get(key) or ():
            kind, detail = next(iter(entry["state"].items()), ("", {}))
            text = f"{entry['name']}={kind}"
            if detail.get("reason"):
                text += f":{detail['reason']}"
            if "exitCode" in detail:
                text += f"({detail['exitCode']})"
            parts.append(text + (f"×{entry['restartCount']}" if entry["restartCount"] else "") + ("+ready" if entry["ready"] else ""))
    return " ".join(part for part in parts if part)


async def a_pod_runs_and_is_deleted(story: Story) -> None:
    await story.create(container("c"))
    await story.delete()
    await story.passes(6)


async def a_container_crashes_and_backs_off(story: Story) -> None:
    await story.create(container("c"))
    for _ in range(3):
        story.exit("c", 1)
        await story.passes(25)


async def init_containers_sidecars_and_a_job_that_completes(story: Story) -> None:
    await story.create(container("main"), restartPolicy="Never", initContainers=[
        {**container("init"), "imagePullPolicy": "IfNotPresent"},
        {**container("side", restartPolicy="Always"), "imagePullPolicy": "IfNotPresent"}])
    story.exit("init", 0)
    await story.passes(3)
    story.exit("side", 7)
    await story.passes(3)
    story.exit("main", 0)
    await story.passes(4)


async def sidecars_end_after_what_they_serve_the_last_one_first(story: Story) -> None:
    hook = {"lifecycle": {"preStop": {"sleep": {"seconds": 2}}}}
    await story.create(container("main", **hook), terminationGracePeriodSeconds=10, initContainers=[
        {**container("first", restartPolicy="Always"), "imagePullPolicy": "IfNotPresent"},
        {**container("second", restartPolicy="Always"), "imagePullPolicy": "IfNotPresent"}])
    await story.delete()
    await story.passes(6)


async def an_image_cannot_be_pulled_at_first(story: Story) -> None:
    await story.create(container("c", image="example.com/app:1"))
    await story.passes(12)
    story.world.runtime.remote.add("example.com/app:1")
    story.say("---      the registry has the image now")
    await story.passes(25)


async def the_sandbox_dies(story: Story) -> None:
    await story.create(container("c"))
    story.say("---      the pause process is killed")
    story.world.runtime.kill_sandbox()
    await story.passes(4)


async def the_runtime_is_away_while_the_pod_is_deleted(story: Story) -> None:
    await story.create(container("c"))
    down = CriError("UNAVAILABLE", "connection refused")
    for method in ("list_sandboxes", "list_containers", "stop_container", "stop_sandbox", "version", "status"):
        story.world.runtime.fail[method] = down
    story.say("---      the runtime is gone")
    await story.delete(grace_period_seconds=2)
    await story.passes(5)
    story.world.runtime.fail.clear()
    story.say("---      the runtime is back")
    await story.passes(12)


async def a_pod_is_evicted(story: Story) -> None:
    await story.create(container("c"))
    worker = story.world.kubelet.pods.find("default", "p")
    assert worker is not None
    story.say("---      the node is low on memory")
    worker.end(failed=("Evicted", "The node was low on resource: memory."))
    await story.passes(5)


async def a_rule_restarts_one_exit_code_only(story: Story) -> None:
    rule = {"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}
    await story.create(container("c", restartPolicy="Never", restartPolicyRules=[rule]), restartPolicy="Never")
    story.exit("c", 42)
    await story.passes(3)
    story.exit("c", 1)
    await story.passes(4)


STORIES: tuple[Callable[[Story], Awaitable[None]], ...] = (
    a_pod_runs_and_is_deleted, a_container_crashes_and_backs_off, init_containers_sidecars_and_a_job_that_completes,
    sidecars_end_after_what_they_serve_the_last_one_first,
    an_image_cannot_be_pulled_at_first, the_sandbox_dies, the_runtime_is_away_while_the_pod_is_deleted, a_pod_is_evicted,
    a_rule_restarts_one_exit_code_only)


@pytest.mark.parametrize("tell", STORIES, ids=[story.__name__ for story in STORIES])
async def test_transcript(world: World, tell: Callable[[Story], Awaitable[None]], request: pytest.FixtureRequest) -> None:  # noqa: F811
    story = Story(world)
    await tell(story)
    told = "\n".join(story.lines) + "\n"
    file = FOLDER / f"{tell.__name__}.txt"
    if request.config.getoption("--update-golden"):
        FOLDER.mkdir(exist_ok=True)
        file.write_text(told)
    assert told == file.read_text()
