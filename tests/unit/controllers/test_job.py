"""Jobs: intervals, policies, verdicts in tables; whole runs on the memory API, each pod counted once."""
from __future__ import annotations

from typing import Any

import pytest
from rig import Rig

from kubepy.api.errors import ServiceUnavailable
from kubepy.api.resource import JOBS, PODS
from kubepy.api.types import Object
from kubepy.client.memory import Action
from kubepy.controllers.job import index, plan, policy, reconcile, ttl
from kubepy.controllers.job.snapshot import Snapshot, take


@pytest.mark.parametrize(("numbers", "text"), [
    ([], ""), ([0], "0"), ([0, 1], "0,1"), ([0, 1, 2], "0-2"), ([1, 3, 4, 5, 7, 8], "1,3-5,7,8"),
])
def test_intervals(numbers: list[int], text: str) -> None:
    assert index.write(numbers) == text
    assert index.parse(text, 100) == set(numbers)


def job(**spec: Any) -> Object:
    return {"metadata": {"name": "j", "namespace": "default"}, "spec": {
        "selector": {"matchLabels": {"job": "j"}}, "backoffLimit": 6,
        "template": {"metadata": {"labels": {"job": "j"}}, "spec": {"restartPolicy": "Never", "containers": [{"name": "c"}]}}, **spec}}


def failed_pod(code: int = 1, condition: str = "") -> Object:
    return {"metadata": {"name": "p", "namespace": "ns"}, "status": {
        "phase": "Failed", "conditions": [{"type": condition, "status": "True"}] if condition else [],
        "containerStatuses": [{"name": "main", "state": {"terminated": {"exitCode": code}}}]}}


RULES = {"podFailurePolicy": {"rules": [
    {"action": "FailJob", "onExitCodes": {"containerName": "main", "operator": "In", "values": [42]}},
    {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]},
    {"action": "FailIndex", "onExitCodes": {"operator": "NotIn", "values": [1, 2]}}]}}


@pytest.mark.parametrize(("pod", "action", "message"), [
    pytest.param(failed_pod(42), "FailJob", "Container main for pod ns/p failed with exit code 42 matching FailJob rule at index 0",
                 id="code"),
    pytest.param(failed_pod(1, "DisruptionTarget"), "Ignore", "Pod ns/p has condition DisruptionTarget matching Ignore rule at index 1",
                 id="condition"),
    pytest.param(failed_pod(3), "FailIndex", "Container main for pod ns/p failed with exit code 3 matching FailIndex rule at index 2",
                 id="not in"),
    pytest.param(failed_pod(1), "Count", "", id="no rule"),
])
def test_failure_policy(pod: Object, action: str, message: str) -> None:
    assert policy.judge(job(**RULES), pod) == (action, message)


@pytest.mark.parametrize(("spec", "found", "expected"), [
    pytest.param({}, Snapshot(failed=6), None, id="at the limit it goes on"),
    pytest.param({}, Snapshot(failed=7), "BackoffLimitExceeded", id="beyond the limit it fails"),
    pytest.param({}, Snapshot(fail_job="because"), "PodFailurePolicy", id="policy"),
    pytest.param({"completionMode": "Indexed", "completions": 3, "backoffLimitPerIndex": 0},
                 Snapshot(failed_indexes={0}, succeeded_indexes={1, 2}), "FailedIndexes", id="all indexes are done and one failed"),
    pytest.param({"completionMode": "Indexed", "completions": 3, "backoffLimitPerIndex": 0, "maxFailedIndexes": 1},
                 Snapshot(failed_indexes={0, 1}), "MaxFailedIndexesExceeded", id="too many indexes failed"),
])
def test_failure(spec: Object, found: Snapshot, expected: str | None) -> None:
    verdict = plan.failure(job(**spec), found, 0)
    assert (verdict.reason if verdict else None) == expected


def living(number: int | None = None, name: str = "x") -> Object:
    annotations = {} if number is None else {index.ANNOTATION: str(number)}
    return {"metadata": {"name": name, "creationTimestamp": name, "annotations": annotations}, "status": {"phase": "Running"}}


@pytest.mark.parametrize(("spec", "found", "create", "delete"), [
    pytest.param({"parallelism": 3, "completions": 2}, Snapshot(), [None, None], 0, id="never more than completions"),
    pytest.param({"parallelism": 2, "completions": 5}, Snapshot(active=[living()], succeeded=1), [None], 0, id="as many as may run"),
    pytest.param({"parallelism": 2}, Snapshot(succeeded=1, active=[living()]), [], 0, id="a work queue is not refilled after a success"),
    pytest.param({"parallelism": 1}, Snapshot(active=[living(), living()]), [], 1, id="lowered parallelism"),
    pytest.param({"parallelism": 2, "suspend": True}, Snapshot(active=[living()]), [], 1, id="suspended"),
    pytest.param({"parallelism": 3, "completions": 5, "completionMode": "Indexed"},
                 Snapshot(active=[living(1)], succeeded=1, succeeded_indexes={0}), [2, 3], 0, id="the lowest free indexes"),
    pytest.param({"parallelism": 3, "completions": 3, "completionMode": "Indexed"},
                 Snapshot(active=[living(0, "a"), living(0, "b"), living(1)]), [2], 1, id="a duplicate index goes"),
])
def test_work(spec: Object, found: Snapshot, create: list[int | None], delete: int) -> None:
    todo = plan.work(job(**spec), found)
    assert todo.indexes == create
    assert len(todo.delete) == delete


def test_an_ended_pod_is_taken_once() -> None:
    pod = {"metadata": {"uid": "u", "finalizers": ["batch.kubernetes.io/job-tracking"]}, "status": {"phase": "Succeeded"}}
    assert take(job(), [pod], set()).succeeded == 1
    noted = {**job(), "status": {"uncountedTerminatedPods": {"succeeded": ["u"]}}}
    assert take(noted, [pod], set()).succeeded == 1
    assert take(noted, [pod], {"u"}).settled == {"succeeded": ["u"], "failed": []}
    assert take({**job(), "status": {"succeeded": 1}}, [pod], {"u"}).succeeded == 1


async def end(rig: Rig, phase: str, count: int = 99) -> None:
    for pod in rig.client.all(PODS):
        if count and pod["status"]["phase"] == "Pending":
            count -= 1
            await rig.set_ready(pod, ready=False, phase=phase)
    await rig.settle(2)


def status(rig: Rig) -> Object:
    return rig.client.all(JOBS)[0]["status"]


def ended(rig: Rig) -> list[tuple[str, str]]:
    return [(item["type"], item["reason"]) for item in status(rig).get("conditions", [])]


async def test_a_job_runs_to_its_completions() -> None:
    async with Rig(reconcile.controller, ttl.controller) as rig:
        await rig.client.create(JOBS, job(parallelism=2, completions=3, ttlSecondsAfterFinished=60))
        await rig.settle()
        assert len(rig.client.all(PODS)) == 2
        await end(rig, "Succeeded")
        assert (status(rig)["succeeded"], status(rig)["active"]) == (2, 1)
        await end(rig, "Succeeded")
        assert ended(rig) == [("SuccessCriteriaMet", "CompletionsReached"), ("Complete", "CompletionsReached")]
        assert status(rig)["succeeded"] == 3
        assert all(not pod["metadata"].get("finalizers") for pod in rig.client.all(PODS))
        assert ("Completed", "Job completed") in rig.events()
        await rig.settle(70)
        assert rig.client.all(JOBS)[0]["metadata"]["deletionTimestamp"]


async def test_failures_are_retried_later_and_later_up_to_the_limit() -> None:
    async with Rig(reconcile.controller) as rig:
        await rig.client.create(JOBS, job(parallelism=1, completions=1, backoffLimit=2))
        await rig.settle()
        await end(rig, "Failed")
        assert len(rig.client.all(PODS)) == 1
        await rig.settle(10)
        assert len(rig.client.all(PODS)) == 2
        await end(rig, "Failed")
        await rig.settle(10)
        assert len(rig.client.all(PODS)) == 2
        await rig.settle(10)
        assert len(rig.client.all(PODS)) == 3
        await end(rig, "Failed")
        assert ended(rig) == [("FailureTarget", "BackoffLimitExceeded"), ("Failed", "BackoffLimitExceeded")]
        assert status(rig)["failed"] == 3


async def test_an_indexed_job_finishes_each_index() -> None:
    async with Rig(reconcile.controller) as rig:
        await rig.client.create(JOBS, job(parallelism=2, completions=4, completionMode="Indexed"))
        await rig.settle()
        pod = rig.client.all(PODS)[0]
        assert pod["spec"]["hostname"] == "j-0"
        assert pod["spec"]["containers"][0]["env"][0]["name"] == "JOB_COMPLETION_INDEX"
        await end(rig, "Succeeded", 1)
        assert status(rig)["completedIndexes"] == "0"
        await end(rig, "Succeeded")
        await end(rig, "Succeeded")
        assert status(rig)["completedIndexes"] == "0-3"
        assert ended(rig)[-1] == ("Complete", "CompletionsReached")


async def test_a_suspended_job_has_no_pods_and_resumes() -> None:
    async with Rig(reconcile.controller) as rig:
        await rig.client.create(JOBS, job(parallelism=2, completions=2, suspend=True))
        await rig.settle()
        assert rig.client.all(PODS) == []
        assert ended(rig) == [("Suspended", "JobSuspended")]
        await rig.client.patch(JOBS, "j", {"spec": {"suspend": False}}, "default")
        await rig.settle(2)
        assert len(rig.client.all(PODS)) == 2
        assert ended(rig) == [("Suspended", "JobResumed")]


async def test_the_deadline_ends_a_job_and_its_pods() -> None:
    async with Rig(reconcile.controller) as rig:
        await rig.client.create(JOBS, job(parallelism=1, completions=1, activeDeadlineSeconds=30))
        await rig.settle()
        await rig.settle(32)
        assert rig.client.all(PODS) == [] or all(pod["metadata"].get("deletionTimestamp") for pod in rig.client.all(PODS))
        await rig.settle(5)
        assert ended(rig)[-1] == ("Failed", "DeadlineExceeded")


async def test_pods_are_counted_once_though_writes_fail() -> None:
    async with Rig(reconcile.controller) as rig:
        await rig.client.create(JOBS, job(parallelism=5, completions=5))
        await rig.settle()
        turn = 0

        def flaky(action: Action) -> None:
            nonlocal turn
            if action.verb in ("update", "patch") and not (action.resource == PODS and action.subresource == "status"):
                turn += 1
                if turn % 3 == 0:
                    raise ServiceUnavailable("down")

        rig.client.before = flaky
        await end(rig, "Succeeded")
        await rig.settle(100)
        assert status(rig)["succeeded"] == 5
        assert ended(rig)[-1] == ("Complete", "CompletionsReached")
        assert len(rig.client.all(PODS)) == 5


async def test_an_index_that_fails_waits_by_itself_and_others_go_on() -> None:
    async with Rig(reconcile.controller) as rig:
        spec = {"completionMode": "Indexed", "completions": 3, "parallelism": 2, "backoffLimitPerIndex": 1, "backoffLimit": 2**31 - 1}
        await rig.client.create(JOBS, job(**spec))
        await rig.settle()
        first = next(pod for pod in rig.client.all(PODS) if index.of(pod) == 0)
        second = next(pod for pod in rig.client.all(PODS) if index.of(pod) == 1)
        await rig.set_ready(first, False, phase="Failed")
        await rig.set_ready(second, False, phase="Succeeded")
        await rig.settle()
        living = [index.of(pod) for pod in rig.client.all(PODS) if pod["status"]["phase"] == "Pending"]
        assert living == [2]  # index 0 has to wait, index 2 need not
        await rig.settle(11)
        again = [pod for pod in rig.client.all(PODS) if index.of(pod) == 0 and pod["status"]["phase"] == "Pending"]
        assert [index.failures(pod) for pod in again] == [1]
        for pod in rig.client.all(PODS):
            if pod["status"]["phase"] == "Pending":
                await rig.set_ready(pod, False, phase="Failed" if index.of(pod) == 0 else "Succeeded")
        await rig.settle(5)
        found = rig.client.all(JOBS)[0]["status"]
        assert (found["completedIndexes"], found["failedIndexes"]) == ("1,2", "0")
        assert ("Failed", "FailedIndexes") in [(item["type"], item["reason"]) for item in found["conditions"]]
