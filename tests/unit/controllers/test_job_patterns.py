"""Jobs from their first pod to their last condition, by what their pods come to."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from rig import Rig, workload

from kubepy.api.resource import JOBS, PODS
from kubepy.api.types import Object
from kubepy.controllers.job import index
from kubepy.controllers.job import reconcile as job

Outcome = Callable[[int, int], str]
"""(index, failures of it so far) -> what becomes of the pod: done, a word for how it fails, or runs."""


class Case(NamedTuple):
    spec: Object
    outcome: Outcome
    ending: str
    """The last condition's type and reason."""
    completed: str = ""
    failed: str = ""


def rule(action: str, **match: Any) -> Object:
    return {"action": action, **match}


CODE_42: Object = {"onExitCodes": {"operator": "In", "values": [42]}}
DISRUPTED: Object = {"onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
CASES: dict[str, Case] = {
    "every index succeeds": Case({}, lambda number, failures: "done", "Complete CompletionsReached", "0-3"),
    "some fail once": Case({"backoffLimit": 6}, lambda number, failures: "done" if failures or number % 2 else "exit 1",
                           "Complete CompletionsReached", "0-3"),
    "one fails too often": Case({"backoffLimit": 1}, lambda number, failures: "exit 1" if number == 2 else "done",
                                "Failed BackoffLimitExceeded", "0,1,3"),
    "an exit code fails the Job": Case(
        {"podFailurePolicy": {"rules": [rule("FailJob", **CODE_42)]}},
        lambda number, failures: "exit 42" if number == 1 else "runs", "Failed PodFailurePolicy"),
    "a disruption does not count": Case(
        {"backoffLimit": 0, "podFailurePolicy": {"rules": [rule("Ignore", **DISRUPTED)]}},
        lambda number, failures: "disrupted" if not failures else "done", "Complete CompletionsReached", "0-3"),
    "odd indexes fail, the others go on": Case(
        {"backoffLimitPerIndex": 1}, lambda number, failures: "exit 1" if number % 2 else "done", "Failed FailedIndexes", "0,2", "1,3"),
    "too many indexes fail": Case(
        {"backoffLimitPerIndex": 0, "maxFailedIndexes": 1}, lambda number, failures: "exit 1",
        "Failed MaxFailedIndexesExceeded", "", "0,1"),
    "an exit code fails its index at once": Case(
        {"backoffLimitPerIndex": 5, "podFailurePolicy": {"rules": [rule("FailIndex", **CODE_42)]}},
        lambda number, failures: "exit 42" if number == 3 else "done", "Failed FailedIndexes", "0-2", "3"),
    "with a success policy all succeed": Case(
        {"successPolicy": {"rules": [{"succeededIndexes": "0-3"}]}}, lambda number, failures: "done", "Complete SuccessPolicy", "0-3"),
    "enough indexes succeed": Case(
        {"successPolicy": {"rules": [{"succeededCount": 2}]}}, lambda number, failures: "done" if number > 1 else "runs",
        "Complete SuccessPolicy", "2,3"),
    "enough succeed, and those that are stopped then fail nothing": Case(
        {"backoffLimit": 0, "successPolicy": {"rules": [{"succeededCount": 1}]}},
        lambda number, failures: "done" if number == 0 else "runs", "Complete SuccessPolicy", "0"),
    "the leader succeeds": Case(
        {"successPolicy": {"rules": [{"succeededIndexes": "0"}]}}, lambda number, failures: "done" if number == 0 else "runs",
        "Complete SuccessPolicy", "0"),
}


async def play(rig: Rig, outcome: Outcome) -> None:
    """Kubelets let every pod come to what it comes to; deleted ones end."""
    failures: dict[int, int] = {}
    for _ in range(40):
        for pod in rig.client.all(PODS):
            metadata, number = pod["metadata"], index.of(pod)
            if pod["status"].get("phase") not in ("Pending", "Running"):
                continue
            if metadata.get("deletionTimestamp"):
                await end(rig, pod, {"phase": "Failed"})
                await rig.client.delete(PODS, metadata["name"], metadata["namespace"], grace_period_seconds=0)
                continue
            assert number is not None
            ending = outcome(number, failures.get(number, 0))
            if ending == "runs":
                await end(rig, pod, {"phase": "Running"})
                continue
            if ending == "done":
                await end(rig, pod, {"phase": "Succeeded"})
                continue
            failures[number] = failures.get(number, 0) + 1
            status: Object = {"phase": "Failed"}
            if ending == "disrupted":
                status["conditions"] = [{"type": "DisruptionTarget", "status": "True"}]
            else:
                terminated = {"exitCode": int(ending.split()[1]), "finishedAt": rig.now()}
                status["containerStatuses"] = [{"name": "c", "state": {"terminated": terminated}}]
            await end(rig, pod, status)
        await rig.settle(15)


async def end(rig: Rig, pod: Object, status: Object) -> None:
    await rig.client.patch(PODS, pod["metadata"]["name"], {"status": status}, pod["metadata"]["namespace"], subresource="status")


def body(**spec: Any) -> Object:
    found = workload("Job", "sum", api="batch/v1", **{"completionMode": "Indexed", "completions": 4, "parallelism": 2, **spec})
    found["spec"]["template"]["spec"]["restartPolicy"] = "Never"
    return found


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
async def test_it_ends_when(case: Case) -> None:
    async with Rig(job.controller) as rig:
        parallel = {"parallelism": 4} if "runs" in {case.outcome(number, 0) for number in range(4)} else {}
        await rig.client.create(JOBS, body(**parallel, **case.spec))
        await play(rig, case.outcome)
        status = rig.client.all(JOBS)[0]["status"]
        last = status["conditions"][-1]
        assert f"{last['type']} {last['reason']}" == case.ending
        first = {"Complete": "SuccessCriteriaMet", "Failed": "FailureTarget"}[last["type"]]
        assert [item["type"] for item in status["conditions"]] == [first, last["type"]]
        assert (status.get("completedIndexes") or "", status.get("failedIndexes") or "") == (case.completed, case.failed)
        assert not status.get("active")
        assert not status["uncountedTerminatedPods"]
        assert ("completionTime" in status) is (last["type"] == "Complete")
        assert not any(pod["metadata"].get("finalizers") for pod in rig.client.all(PODS))


@pytest.mark.parametrize(("policy", "pods"), [
    pytest.param("TerminatingOrFailed", 2, id="at once"),
    pytest.param("Failed", 1, id="after its end"),
])
async def test_a_terminating_pod_is_replaced(policy: str, pods: int) -> None:
    async with Rig(job.controller) as rig:
        await rig.client.create(JOBS, body(completions=1, parallelism=1, podReplacementPolicy=policy))
        await rig.settle()
        [pod] = rig.client.all(PODS)
        await rig.client.create(PODS, {"target": {"name": "n"}}, "default", name=pod["metadata"]["name"], subresource="binding")
        await end(rig, pod, {"phase": "Running"})
        await rig.client.delete(PODS, pod["metadata"]["name"], "default")
        await rig.settle(30)
        assert len(rig.client.all(PODS)) == pods
        assert rig.client.all(JOBS)[0]["status"]["terminating"] == 1
        await end(rig, pod, {"phase": "Failed"})
        await rig.settle(30)
        assert len([item for item in rig.client.all(PODS) if item["status"]["phase"] == "Pending"]) == 1


async def test_a_job_that_another_manages_is_left_alone() -> None:
    async with Rig(job.controller) as rig:
        await rig.client.create(JOBS, body(managedBy="example.com/other"))
        await rig.settle(5)
        assert rig.client.all(PODS) == []
        assert "status" not in rig.client.all(JOBS)[0]


async def test_resuming_starts_the_clock_anew() -> None:
    async with Rig(job.controller) as rig:
        await rig.client.create(JOBS, body(activeDeadlineSeconds=100))
        await rig.settle()
        started = rig.client.all(JOBS)[0]["status"]["startTime"]
        await rig.client.patch(JOBS, "sum", {"spec": {"suspend": True}}, "default")
        await rig.settle(200)
        status = rig.client.all(JOBS)[0]["status"]
        assert "startTime" not in status
        assert rig.client.all(PODS) == []
        await rig.client.patch(JOBS, "sum", {"spec": {"suspend": False}}, "default")
        await rig.settle(50)
        status = rig.client.all(JOBS)[0]["status"]
        assert status["startTime"] > started
        assert [(item["type"], item["status"]) for item in status["conditions"]] == [("Suspended", "False")]
        assert len(rig.client.all(PODS)) == 2
        await rig.settle(80)
        conditions = {item["type"]: item.get("reason") for item in rig.client.all(JOBS)[0]["status"]["conditions"]}
        assert conditions.get("FailureTarget") == "DeadlineExceeded"
