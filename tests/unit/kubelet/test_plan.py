"""The plan of a pod: what is done next, as tables."""
from __future__ import annotations

from typing import Any

import pytest

from kubepy.kubelet.pod.backoff import KeyedBackoff
from kubepy.kubelet.pod.observed import CREATED, EXITED, RUNNING, UNKNOWN, ContainerView, PodView, SandboxView
from kubepy.kubelet.pod.plan import NOTHING, Kill, Plan, Probed, Start, backoff_key, plan_pod
from kubepy.kubelet.pod.spec import container_hash

NOW = 1000.0


def container(name: str = "c", **fields: Any) -> dict[str, Any]:
    return {"name": name, "image": "busybox", **fields}


def pod(*containers: dict[str, Any], init: list[dict[str, Any]] | None = None, policy: str = "Always", **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "p", "namespace": "default", "uid": "u"},
            "spec": {"containers": list(containers) or [container()], "restartPolicy": policy, **({"initContainers": init} if init else {}),
                     **spec}}


def view(name: str = "c", state: str = RUNNING, *, attempt: int = 0, code: int = 0, finished: float = 0.0, sandbox: str = "s0",
         image: str = "busybox", created: float = 0.0) -> ContainerView:
    return ContainerView(f"{name}-{attempt}", name, sandbox, attempt, state, created_at=created or 100.0 + attempt, exit_code=code,
                         finished_at=finished or (900.0 if state == EXITED else 0.0),
                         hash=container_hash({"name": name, "image": image}))


def seen(*containers: ContainerView, sandboxes: tuple[SandboxView, ...] = (SandboxView("s0", 0, True, 1.0, ("10.0.0.1",)),)) -> PodView:
    return PodView("u", sandboxes, tuple(sorted(containers, key=lambda item: -item.created_at)))


DEAD = (SandboxView("s0", 0, False, 1.0),)
SIDECAR = container("side", restartPolicy="Always")
PROBED_SIDECAR = container("side", restartPolicy="Always", startupProbe={"exec": {}})

ALL: dict[str, Any] = {"restartPolicy": "Never", "restartPolicyRules": [
    {"action": "RestartAllContainers", "exitCodes": {"operator": "In", "values": [9]}}]}

CASES = {
    "a new pod gets a sandbox and all containers": (pod(container("a"), container("b")), PodView("u"), NOTHING,
                                                    Plan(create_sandbox=True, starts=(Start("a", 0), Start("b", 0)))),
    "a new pod with init containers starts the first of them": (pod(init=[container("i"), container("j")]), PodView("u"), NOTHING,
                                                                Plan(create_sandbox=True, starts=(Start("i", 0),))),
    "what runs is left alone": (pod(), seen(view()), NOTHING, Plan()),
    "an ended container is started again at once the first time": (pod(), seen(view(state=EXITED, code=1)), NOTHING,
                                                                   Plan(starts=(Start("c", 1, 900.0),))),
    "an ended container stays under Never, and the pod ends": (pod(policy="Never"), seen(view(state=EXITED, code=1)), NOTHING,
                                                               Plan(end=True)),
    "success ends a pod under OnFailure": (pod(policy="OnFailure"), seen(view(state=EXITED)), NOTHING, Plan(end=True)),
    "failure is retried under OnFailure": (pod(policy="OnFailure"), seen(view(state=EXITED, code=2)), NOTHING,
                                           Plan(starts=(Start("c", 1, 900.0),))),
    "one container ends while the other runs": (pod(container("a"), container("b"), policy="Never"), seen(view("a", EXITED), view("b")),
                                                NOTHING, Plan()),
    "a container that was created but never started is made again": (pod(), seen(view(state=CREATED)), NOTHING,
                                                                     Plan(starts=(Start("c", 1),))),
    "a container in an unknown state is killed first": (
        pod(), seen(view(state=UNKNOWN)), NOTHING,
        Plan(kills=(Kill("c-0", "c", "Container c is in unknown state, try killing it before restart"),))),
    "another image replaces the container": (
        pod(), seen(view(image="old")), NOTHING, Plan(kills=(Kill("c-0", "c", "Container c definition changed, will be restarted"),))),
    "a failed liveness probe kills, to restart": (
        pod(), seen(view()), Probed(liveness={"c-0": False}),
        Plan(kills=(Kill("c-0", "c", "Container c failed liveness probe, will be restarted", "liveness"),))),
    "a failed startup probe kills, for good under Never": (
        pod(policy="Never"), seen(view()), Probed(startup={"c-0": False}),
        Plan(kills=(Kill("c-0", "c", "Container c failed startup probe", "startup"),))),
    "init containers run one after the other": (pod(init=[container("i"), container("j")]), seen(view("i", EXITED)), NOTHING,
                                                Plan(starts=(Start("j", 0),))),
    "a running init container is waited for": (pod(init=[container("i")]), seen(view("i")), NOTHING, Plan()),
    "after the last init container the others start": (pod(init=[container("i")]), seen(view("i", EXITED)), NOTHING,
                                                       Plan(starts=(Start("c", 0),))),
    "a failed init container is retried": (pod(init=[container("i")]), seen(view("i", EXITED, code=1)), NOTHING,
                                           Plan(starts=(Start("i", 1, 900.0),))),
    "a failed init container under Never starts nothing": (pod(init=[container("i")], policy="Never"), seen(view("i", EXITED, code=1)),
                                                           NOTHING, Plan()),  # the phase ends the pod
    "init containers of an initialized pod are not run again": (pod(init=[container("i")]), seen(view()), NOTHING, Plan()),
    "a sidecar that runs lets the next start": (pod(init=[SIDECAR]), seen(view("side")), NOTHING, Plan(starts=(Start("c", 0),))),
    "a sidecar that has not started yet is waited for": (pod(init=[PROBED_SIDECAR]), seen(view("side")), NOTHING, Plan()),
    "a sidecar that ended is restarted while the pod runs": (pod(init=[SIDECAR], policy="Never"), seen(view("side", EXITED), view()),
                                                             NOTHING,
                                                             Plan(starts=(Start("side", 1, 900.0),))),
    "a sidecar alone does not keep the pod": (pod(init=[SIDECAR], policy="Never"), seen(view("side"), view(state=EXITED)), NOTHING,
                                              Plan(end=True)),
    "a lost sandbox is replaced": (pod(), seen(view(state=EXITED, code=137), sandboxes=DEAD), NOTHING,
                                   Plan(create_sandbox=True, attempt=1, starts=(Start("c", 1, 900.0),))),
    "a lost sandbox is not replaced under Never": (pod(policy="Never"), seen(view(state=EXITED, code=137), sandboxes=DEAD), NOTHING,
                                                   Plan(end=True)),
    "a lost sandbox begins with the init containers again": (
        pod(init=[container("i")]), seen(view("i", EXITED), view(state=EXITED, code=137), sandboxes=DEAD), NOTHING,
        Plan(create_sandbox=True, attempt=1, starts=(Start("i", 1),))),
    "init containers of the old sandbox do not count": (
        pod(init=[container("i"), container("j")]),
        seen(view("i", EXITED), view("j", EXITED), view(state=EXITED, code=137), view("i", EXITED, attempt=1, sandbox="s1"),
             sandboxes=(SandboxView("s1", 1, True, 2.0, ("10.0.0.2",)), *DEAD)), NOTHING, Plan(starts=(Start("j", 1),))),
    "a sandbox without an address is replaced": (pod(), seen(sandboxes=(SandboxView("s0", 0, True, 1.0),)), NOTHING,
                                                 Plan(create_sandbox=True, attempt=1, starts=(Start("c", 0),))),
    "an ephemeral container is started once": (pod(ephemeralContainers=[container("debug")]), seen(view()), NOTHING,
                                               Plan(starts=(Start("debug", 0),))),
    "an ephemeral container that ended stays": (pod(ephemeralContainers=[container("debug")]), seen(view(), view("debug", EXITED)), NOTHING,
                                                Plan()),
    "a container's own policy restarts it in a pod that does not": (
        pod(container(restartPolicy="OnFailure"), policy="Never"), seen(view(state=EXITED, code=2)), NOTHING,
        Plan(starts=(Start("c", 1, 900.0),))),
    "a container's own policy leaves it ended in a pod that restarts": (
        pod(container("a", restartPolicy="Never"), container("b")), seen(view("a", EXITED, code=2), view("b")), NOTHING, Plan()),
    "what no rule names follows the container's policy": (
        pod(container(restartPolicyRules=[{"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}], restartPolicy="Never")),
        seen(view(state=EXITED, code=1)), NOTHING, Plan(end=True)),
    "a rule that names all but some codes": (
        pod(container(restartPolicyRules=[{"action": "Restart", "exitCodes": {"operator": "NotIn", "values": [0]}}],
                      restartPolicy="Never")),
        seen(view(state=EXITED, code=7)), NOTHING, Plan(starts=(Start("c", 1, 900.0),))),
    "an init container's own policy retries it in a pod that does not": (
        pod(init=[container("i", restartPolicy="OnFailure")], policy="Never"), seen(view("i", EXITED, code=1)), NOTHING,
        Plan(starts=(Start("i", 1, 900.0),))),
    "a lost sandbox is replaced under Never for a container with a policy of its own": (
        pod(container(restartPolicy="Always"), policy="Never"), seen(view(state=EXITED, code=137), sandboxes=DEAD), NOTHING,
        Plan(create_sandbox=True, attempt=1, starts=(Start("c", 1, 900.0),))),
    "a lost sandbox is not replaced for a sidecar": (
        pod(init=[SIDECAR], policy="Never"), seen(view("side", EXITED), view(state=EXITED, code=137), sandboxes=DEAD), NOTHING,
        Plan(end=True)),
    "a rule restarts all containers: what runs is ended first": (
        pod(container("a", **ALL), container("b"), init=[container("i")]),
        seen(view("i", EXITED), view("a", EXITED, code=9, finished=900.0), view("b")), NOTHING,
        Plan(kills=(Kill("b-0", "b", "Container b is restarted with all containers of the pod"),),
             waiting={"b": ("RestartingAllContainers", "")})),
    "also one that was being started when that container ended": (
        pod(container("a", **ALL), container("b"), init=[container("i")]),
        seen(view("i", EXITED), view("a", EXITED, code=9, finished=900.0), view("b", created=901.0)), NOTHING,
        Plan(kills=(Kill("b-0", "b", "Container b is restarted with all containers of the pod"),),
             waiting={"b": ("RestartingAllContainers", "")})),
    "then the pod begins anew with its init containers": (
        pod(container("a", **ALL), container("b"), init=[container("i")]),
        seen(view("i", EXITED), view("a", EXITED, code=9, finished=900.0), view("b", EXITED, code=137)), NOTHING,
        Plan(starts=(Start("i", 1),))),
    "and goes on with all the others": (
        pod(container("a", **ALL), container("b"), init=[container("i")]),
        seen(view("i", EXITED, attempt=1, created=950.0), view("a", EXITED, code=9, finished=900.0), view("b", EXITED, code=137)), NOTHING,
        Plan(starts=(Start("a", 1, 900.0), Start("b", 1)))),
    "and is left alone once all run again": (
        pod(container("a", **ALL), container("b")),
        seen(view("a", attempt=1, created=950.0), view("a", EXITED, code=9, finished=900.0), view("b", attempt=1, created=951.0)),
        NOTHING, Plan()),
    "a container's own rule restarts it": (
        pod(container(restartPolicyRules=[{"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}], restartPolicy="Never"),
            policy="Never"),
        seen(view(state=EXITED, code=42)), NOTHING, Plan(starts=(Start("c", 1, 900.0),))),
}


@pytest.mark.parametrize(("spec", "state", "probed", "expected"), CASES.values(), ids=CASES.keys())
def test_plan(spec: dict[str, Any], state: PodView, probed: Probed, expected: Plan) -> None:
    assert plan_pod(spec, state, NOW, KeyedBackoff(), probed) == expected


def test_a_crashing_container_backs_off_and_the_plan_says_when_to_look_again() -> None:
    backoff = KeyedBackoff()
    spec = pod()
    backoff.advance(backoff_key(spec, spec["spec"]["containers"][0]), 890.0, 890.0)
    plan = plan_pod(spec, seen(view(state=EXITED, code=1, finished=995.0)), NOW, backoff)
    assert plan.starts == ()
    assert plan.waiting == {"c": ("CrashLoopBackOff", "back-off 10s restarting failed container=c pod=p_default(u)")}
    assert plan.wake == pytest.approx(5.0)
    assert not plan.end


def test_delays_double_up_to_five_minutes_and_are_forgotten_after_ten() -> None:
    backoff, now, delays = KeyedBackoff(), 0.0, []
    for _ in range(7):
        backoff.advance("k", now, now)
        delays.append(backoff.delay("k"))
        now += backoff.delay("k")
    assert delays == [10, 20, 40, 80, 160, 300, 300]
    assert backoff.remaining("k", now + 601, now + 601) == 0
