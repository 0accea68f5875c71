"""What is news to a pod's worker, and what is only what it has done or read itself."""
from __future__ import annotations

import pytest

from kubepy.base.clock import VirtualClock
from kubepy.kubelet.cri import runtime_pb2 as pb
from kubepy.kubelet.cri.fake import FakeRuntime
from kubepy.kubelet.pod import spec as podspec
from kubepy.kubelet.pod.observed import EXITED, RUNNING, ContainerView, PodView, SandboxView, Seen
from kubepy.kubelet.pod.observer import Observer
from kubepy.kubelet.pod.pleg import Pleg

VIEW = PodView("u", sandboxes=(SandboxView("s", read=10.0),), containers=(ContainerView("c", "c", "s", state=RUNNING, read=20.0),))
CASES: dict[str, tuple[dict[str, str], float, bool]] = {
    "the same": ({"s": "ready", "c": RUNNING}, 30.0, False),
    "a container has ended": ({"s": "ready", "c": EXITED}, 30.0, True),
    "a look from before it was read": ({"s": "ready", "c": "created"}, 15.0, False),
    "from before it was made": ({"s": "ready"}, 15.0, False),
    "it is gone": ({"s": "ready"}, 30.0, True),
    "the sandbox has died": ({"s": "notready", "c": RUNNING}, 30.0, True),
    "something unknown": ({"s": "ready", "c": RUNNING, "d": RUNNING}, 5.0, True),
    "nothing is left": ({}, 30.0, True),
    "there was nothing then": ({}, 5.0, False),
}


@pytest.mark.parametrize(("states", "at", "news"), CASES.values(), ids=CASES.keys())
def test_news(states: dict[str, str], at: float, news: bool) -> None:
    assert VIEW.differs(Seen(states, at)) is news


def test_what_was_made_joins_the_view() -> None:
    made = VIEW.having(None, [ContainerView("d", "d", "s", created_at=5.0), ContainerView("c", "c", "s", state=EXITED, created_at=1.0)])
    assert [(view.id, view.state) for view in made.containers] == [("d", RUNNING), ("c", EXITED)]
    assert made.having(SandboxView("t"), ()).sandbox == SandboxView("t")


async def test_a_look_at_all_pods_tells_each_change_once() -> None:
    clock = VirtualClock()
    runtime = FakeRuntime(clock)
    runtime.add_image("i")
    told: list[tuple[str, Seen]] = []
    pleg = Pleg(runtime, clock, lambda uid, seen: told.append((uid, seen)))
    assert not pleg.unseen("u"), "nobody has looked yet"
    await clock.advance(1)
    await pleg.relist()
    assert pleg.unseen("u")
    config = pb.PodSandboxConfig(metadata=pb.PodSandboxMetadata(name="p", uid="u", namespace="d"))
    sandbox = await runtime.run_sandbox(config)
    wanted = pb.ContainerConfig(metadata=pb.ContainerMetadata(name="c"), image=pb.ImageSpec(image="i"), labels={podspec.POD_UID: "u"})
    container = await runtime.create_container(sandbox, wanted, config)
    await runtime.start_container(container)
    await pleg.relist()
    await pleg.relist()
    [(uid, seen)] = told
    assert uid == "u"
    assert not pleg.unseen("u")
    observer = Observer(runtime, clock)
    view = await observer.with_containers(await observer.with_sandbox(PodView("u"), sandbox), sandbox, [container])
    assert not view.differs(seen)
    assert view == await observer.observe("u")
    runtime.exit("c", 1)
    await clock.advance(1)
    await pleg.relist()
    assert view.differs(told[-1][1])
    await runtime.remove_sandbox(sandbox)
    await pleg.relist()
    assert [dict(seen.states) for _, seen in told[2:]] == [{}]
