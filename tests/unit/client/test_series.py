"""Events of events.k8s.io/v1: bursts, and what becomes of the same event again."""
from __future__ import annotations

from kubepy.api.resource import EVENTS_V1
from kubepy.base.clock import VirtualClock, settle
from kubepy.base.task import Tasks
from kubepy.client.events import QUEUE_SIZE
from kubepy.client.memory import MemoryClient
from kubepy.client.series import SeriesRecorder


def pod(name="a"):
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "default", "name": name, "uid": f"uid-{name}"}}


class Recorded:
    async def __aenter__(self):
        self.client, self.clock, self.tasks = MemoryClient(), VirtualClock(), Tasks("test")
        self.recorder = SeriesRecorder(self.client, "default-scheduler", "host", self.clock)
        self.recorder.start(self.tasks)
        return self

    async def __aexit__(self, *_):
        await self.tasks.stop()

    async def events(self):
        await settle(200)
        return (await self.client.list(EVENTS_V1, "default"))["items"]


async def test_an_event_says_who_did_what_to_which_object_with_which_other():
    async with Recorded() as world:
        world.recorder.event(pod(), "Normal", "Preempted", "gone", action="Preempting", related=pod("b"), component="mine")
        [event] = await world.events()
        assert event["regarding"] == {"apiVersion": "v1", "kind": "Pod", "namespace": "default", "name": "a", "uid": "uid-a"}
        assert event["related"]["name"] == "b"
        assert (event["reportingController"], event["reportingInstance"], event["action"]) == ("mine", "mine-host", "Preempting")
        assert event["note"] == "gone"
        assert len(event["eventTime"]) == len("2030-01-01T00:00:00.000000Z")


async def test_the_same_again_is_a_series_written_the_second_time_and_at_its_end():
    async with Recorded() as world:
        for _ in range(50):
            world.recorder.event(pod(), "Warning", "FailedScheduling", "no", action="Scheduling")
            await settle(5)
        [event] = await world.events()
        assert 2 <= event["series"]["count"] <= 50
        patches = sum(action.verb == "patch" for action in world.client.actions)
        assert patches == 1
        for _ in range(9):
            await world.clock.advance(60)
        [event] = await world.events()
        assert event["series"]["count"] == 50
        assert sum(action.verb == "patch" for action in world.client.actions) == 2
        world.recorder.event(pod(), "Warning", "FailedScheduling", "no", action="Scheduling")
        assert len(await world.events()) == 2  # the old series is over


async def test_a_burst_as_long_as_the_queue_is_kept_and_more_is_dropped():
    async with Recorded() as world:
        for number in range(QUEUE_SIZE + 500):
            world.recorder.event(pod(f"p{number}"), "Normal", "Scheduled", "there", action="Binding")
        assert world.recorder.dropped == 500
        await settle(3000)
        assert len(await world.events()) == QUEUE_SIZE
        world.recorder.event(pod("p1400"), "Normal", "Scheduled", "there", action="Binding")  # dropped before: not taken for a repetition
        assert len(await world.events()) == QUEUE_SIZE + 1
