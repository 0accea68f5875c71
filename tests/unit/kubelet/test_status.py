"""A pod's status from what runs: phases, container states, conditions."""
from __future__ import annotations

from typing import Any

import pytest

from kubepy.kubelet.pod.observed import EXITED, RUNNING, ContainerView, PodView, SandboxView
from kubepy.kubelet.pod.reporter import difference
from kubepy.kubelet.pod.status import Facts, Node, pod_status
from tests.unit.kubelet.test_plan import container, pod, seen, view

NODE = Node(("192.0.2.1",))
SIDECAR = container("side", restartPolicy="Always")


def status(spec: dict[str, Any], state: PodView, facts: Facts | None = None) -> dict[str, Any]:
    return pod_status(spec, state, 1000.0, NODE, facts or Facts())


def condition(found: dict[str, Any], kind: str) -> tuple[str, str, str]:
    entry = next(item for item in found["conditions"] if item["type"] == kind)
    return entry["status"], entry.get("reason", ""), entry.get("message", "")


PHASES = {
    "nothing runs yet": (pod(), PodView("u"), Facts(), "Pending"),
    "all run": (pod(), seen(view()), Facts(), "Running"),
    "an init container runs": (pod(init=[container("i")]), seen(view("i")), Facts(), "Pending"),
    "an init container has failed and is retried": (pod(init=[container("i")]), seen(view("i", EXITED, code=1)), Facts(), "Pending"),
    "an init container has failed for good": (pod(init=[container("i")], policy="Never"), seen(view("i", EXITED, code=1)), Facts(),
                                              "Failed"),
    "an init container has failed and its own policy retries it": (
        pod(init=[container("i", restartPolicy="OnFailure")], policy="Never"), seen(view("i", EXITED, code=1)), Facts(), "Pending"),
    "a container that its own rule restarts has not ended the pod": (
        pod(container(restartPolicyRules=[{"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}], restartPolicy="Never")),
        seen(view(state=EXITED, code=42)), Facts(), "Running"),
    "a container that no rule restarts has": (
        pod(container(restartPolicyRules=[{"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}], restartPolicy="Never")),
        seen(view(state=EXITED, code=1)), Facts(), "Failed"),
    "a crash loop counts as running": (pod(), seen(view(state=EXITED, code=1)), Facts({"c": ("CrashLoopBackOff", "back-off")}), "Running"),
    "success for good": (pod(policy="Never"), seen(view(state=EXITED)), Facts(), "Succeeded"),
    "failure for good": (pod(policy="Never"), seen(view(state=EXITED, code=1)), Facts(), "Failed"),
    "one of two has ended": (pod(container("a"), container("b"), policy="Never"), seen(view("a", EXITED), view("b")), Facts(), "Running"),
    "one of two cannot start": (pod(container("a"), container("b")), seen(view("a")), Facts({"b": ("ErrImagePull", "x")}), "Pending"),
    "a sidecar has not started": (pod(init=[container("side", restartPolicy="Always", startupProbe={})]), seen(view("side")),
                                  Facts(started={"side-0": False}), "Pending"),
    "the main container is done, the sidecar still runs": (pod(init=[SIDECAR], policy="Never"), seen(view("side"), view(state=EXITED)),
                                                           Facts(), "Succeeded"),
    "killed by the kubelet": (pod(), seen(view(state=EXITED, code=137)), Facts(failed=("Evicted", "low on memory"), ended=True), "Failed"),
    "deleted while running": (pod(), seen(view(state=EXITED, code=0)), Facts(terminating=True, ended=True), "Succeeded"),
    "deleted before it ran": (pod(), PodView("u"), Facts(terminating=True, ended=True), "Failed"),
}


@pytest.mark.parametrize(("spec", "state", "facts", "phase"), PHASES.values(), ids=PHASES.keys())
def test_phase(spec: dict[str, Any], state: PodView, facts: Facts, phase: str) -> None:
    assert status(spec, state, facts)["phase"] == phase


def test_a_running_pod_shows_addresses_states_and_conditions() -> None:
    found = status(pod(), seen(view()))
    assert found["podIPs"] == [{"ip": "10.0.0.1"}]
    assert found["hostIPs"] == [{"ip": "192.0.2.1"}]
    entry = found["containerStatuses"][0]
    assert (entry["ready"], entry["started"], entry["restartCount"]) == (True, True, 0)
    assert entry["containerID"] == "containerd://c-0"
    assert {kind: condition(found, kind)[0] for kind in ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady")} == \
        dict.fromkeys(("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady"), "True")


def test_a_failed_readiness_probe_is_named() -> None:
    found = status(pod(), seen(view()), Facts(ready={"c-0": False}))
    assert condition(found, "Ready") == ("False", "ContainersNotReady", "containers with unready status: [c]")


def test_readiness_gates_hold_the_pod_back() -> None:
    spec = pod(readinessGates=[{"conditionType": "example.com/x"}])
    assert condition(status(spec, seen(view())), "Ready") == (
        "False", "ReadinessGatesNotReady", 'corresponding condition of pod readiness gate "example.com/x" does not exist.')
    spec["status"] = {"conditions": [{"type": "example.com/x", "status": "True"}]}
    found = status(spec, seen(view()))
    assert condition(found, "Ready")[0] == "True"
    assert found["conditions"][-1] == {"type": "example.com/x", "status": "True"}


def test_transition_times_stay_while_a_condition_does() -> None:
    spec = pod()
    first = status(spec, seen(view()))
    spec["status"] = first
    later = pod_status(spec, seen(view()), 2000.0, NODE, Facts())
    assert later == first


def test_a_crash_loop_waits_with_the_last_state() -> None:
    found = status(pod(), seen(view(state=EXITED, code=1), view(attempt=1, state=EXITED, code=2)),
                   Facts({"c": ("CrashLoopBackOff", "wait")}))
    entry = found["containerStatuses"][0]
    assert entry["state"] == {"waiting": {"reason": "CrashLoopBackOff", "message": "wait"}}
    assert entry["lastState"]["terminated"]["exitCode"] == 2
    assert entry["restartCount"] == 1


def test_a_terminal_phase_never_changes() -> None:
    spec = pod(policy="Never")
    spec["status"] = {"phase": "Failed", "reason": "Evicted"}
    found = status(spec, seen(view()))
    assert (found["phase"], found["reason"]) == ("Failed", "Evicted")


def test_containers_that_vanished_are_reported_as_unknown_when_the_pod_ends() -> None:
    spec = pod()
    spec["status"] = status(spec, seen(view()))
    found = status(spec, PodView("u"), Facts(terminating=True, ended=True))
    assert found["containerStatuses"][0]["state"]["terminated"]["reason"] == "ContainerStatusUnknown"
    assert found["podIP"] == "10.0.0.1"


def test_termination_messages_and_host_network() -> None:
    spec = pod(hostNetwork=True, policy="Never")
    state = PodView("u", sandboxes=(SandboxView("s0", host_network=True),), containers=(ContainerView("c-0", "c", "s0", state=EXITED),))
    found = status(spec, state, Facts(messages={"c-0": "bye"}))
    assert found["podIP"] == "192.0.2.1"
    assert found["containerStatuses"][0]["state"]["terminated"]["message"] == "bye"


def test_only_differences_are_written() -> None:
    spec = pod()
    first = status(spec, seen(view()))
    assert difference(first, first) == {}
    second = status(spec, seen(view()), Facts(ready={"c-0": False}))
    patch = difference(first, second)
    assert set(patch) == {"containerStatuses", "conditions"}
    gone = difference({**first, "message": "x", "podIPs": [{"ip": "10.0.0.9"}]}, first)
    assert gone["message"] is None
    assert gone["podIPs"] == [{"ip": "10.0.0.1"}, {"$patch": "delete", "ip": "10.0.0.9"}]


def test_the_state_of_an_unstarted_sidecar_is_not_ready() -> None:
    found = status(pod(init=[SIDECAR]), seen(view("side", RUNNING)), Facts(started={"side-0": False}))
    assert (found["initContainerStatuses"][0]["started"], found["initContainerStatuses"][0]["ready"]) == (False, False)
