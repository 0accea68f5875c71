"""Events: counting, combining, spam."""
from __future__ import annotations

from kubepy.api.resource import EVENTS
from kubepy.api.types import Object
from kubepy.base.clock import VirtualClock, settle
from kubepy.base.task import Tasks
from kubepy.client.events import EventRecorder
from kubepy.client.memory import MemoryClient

POD: Object = {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "p", "namespace": "ns", "uid": "u1", "resourceVersion": "7"}}


async def record(*messages: str, every: float = 0.0) -> list[Object]:
    clock = VirtualClock()
    client = MemoryClient(clock)
    tasks = Tasks("test", clock)
    recorder = EventRecorder(client, "kubelet", "node-1", clock)
    recorder.start(tasks)
    for message in messages:
        recorder.event(POD, "Normal", "Pulled", message)
        await settle(5)
        await clock.advance(every or 0.001)
    await settle(50)
    await tasks.stop()
    return client.all(EVENTS)


async def test_an_event_names_its_object_and_source() -> None:
    [event] = await record("hello")
    assert event["metadata"]["name"].startswith("p.")
    assert event["metadata"]["namespace"] == "ns"
    assert event["involvedObject"] == {"kind": "Pod", "namespace": "ns", "name": "p", "uid": "u1", "apiVersion": "v1",
                                       "resourceVersion": "7"}
    assert event["source"] == {"component": "kubelet", "host": "node-1"}
    assert (event["count"], event["type"], event["reason"], event["message"]) == (1, "Normal", "Pulled", "hello")
    assert event["reportingComponent"] == "kubelet"


async def test_the_same_event_again_raises_its_count() -> None:
    [event] = await record("hello", "hello", "hello", every=2)
    assert event["count"] == 3
    assert event["lastTimestamp"] > event["firstTimestamp"]


async def test_many_similar_events_are_combined() -> None:
    events = await record(*(f"message {n}" for n in range(15)))
    assert len(events) == 10
    [combined] = [event for event in events if event["message"].startswith("(combined from similar events): ")]
    assert combined["count"] == 6


async def test_an_object_gets_a_burst_of_25_and_then_one_in_five_minutes() -> None:
    [event] = await record(*["again"] * 40)
    assert event["count"] == 25
