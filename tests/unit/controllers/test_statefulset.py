"""StatefulSets: order, identity, claims, partitions."""
from __future__ import annotations

from typing import Any

from rig import Rig, workload

from kubepy.api.resource import PERSISTENT_VOLUME_CLAIMS, PODS, STATEFUL_SETS
from kubepy.api.types import Object
from kubepy.controllers.statefulset import reconcile


def image(name: str) -> Object:
    return {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": name}]}}}}


async def make(rig: Rig, **spec: Any) -> None:
    await rig.client.create(STATEFUL_SETS, workload("StatefulSet", serviceName="web", **spec))
    await rig.settle()


def pods(rig: Rig) -> dict[str, str]:
    return {pod["metadata"]["name"]: pod["spec"]["containers"][0]["image"] for pod in rig.client.all(PODS)}


async def run(rig: Rig, passes: int = 6) -> None:
    for _ in range(passes):
        await rig.run_pods()
        await rig.settle()


async def test_pods_start_in_order_each_after_the_one_before_is_ready() -> None:
    async with Rig(reconcile.controller) as rig:
        await make(rig, replicas=3)
        assert list(pods(rig)) == ["web-0"]
        await run(rig, 1)
        assert list(pods(rig)) == ["web-0", "web-1"]
        await run(rig)
        assert list(pods(rig)) == ["web-0", "web-1", "web-2"]
        pod = rig.client.all(PODS)[0]
        assert (pod["spec"]["hostname"], pod["spec"]["subdomain"]) == ("web-0", "web")
        assert pod["metadata"]["labels"]["statefulset.kubernetes.io/pod-name"] == "web-0"
        assert pod["metadata"]["labels"]["apps.kubernetes.io/pod-index"] == "0"
        status = rig.client.all(STATEFUL_SETS)[0]["status"]
        assert (status["readyReplicas"], status["currentReplicas"], status["updatedReplicas"]) == (3, 3, 3)
        assert status["currentRevision"] == status["updateRevision"]


async def test_parallel_pods_start_at_once_from_their_first_ordinal() -> None:
    async with Rig(reconcile.controller) as rig:
        await make(rig, replicas=3, podManagementPolicy="Parallel", ordinals={"start": 5})
        assert list(pods(rig)) == ["web-5", "web-6", "web-7"]


async def test_scaling_down_goes_from_the_top() -> None:
    async with Rig(reconcile.controller) as rig:
        await make(rig, replicas=3)
        await run(rig)
        await rig.client.patch(PODS, "web-1", {"metadata": {"finalizers": ["hold"]}}, "default")
        await rig.client.patch(STATEFUL_SETS, "web", {"spec": {"replicas": 0}}, "default")
        await run(rig)
        assert list(pods(rig)) == ["web-0", "web-1"]
        await rig.client.patch(PODS, "web-1", {"metadata": {"finalizers": None}}, "default")
        await run(rig)
        assert pods(rig) == {}


async def test_an_update_goes_from_the_top_to_the_partition() -> None:
    async with Rig(reconcile.controller) as rig:
        await make(rig, replicas=3, updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"partition": 1}})
        await run(rig)
        await rig.client.patch(STATEFUL_SETS, "web", image("b"), "default")
        await rig.settle()
        assert pods(rig)["web-1"] == "a"
        await run(rig, 10)
        assert pods(rig) == {"web-0": "a", "web-1": "b", "web-2": "b"}
        await rig.client.delete(PODS, "web-0", "default", grace_period_seconds=0)
        await run(rig)
        assert pods(rig)["web-0"] == "a"
        await rig.client.patch(STATEFUL_SETS, "web", {"spec": {"updateStrategy": {"rollingUpdate": {"partition": 0}}}}, "default")
        await run(rig, 10)
        assert set(pods(rig).values()) == {"b"}
        status = rig.client.all(STATEFUL_SETS)[0]["status"]
        assert status["currentRevision"] == status["updateRevision"]


async def test_claims_are_made_kept_and_removed_as_the_policy_says() -> None:
    async with Rig(reconcile.controller) as rig:
        await make(rig, replicas=2, podManagementPolicy="Parallel", persistentVolumeClaimRetentionPolicy={
            "whenDeleted": "Delete", "whenScaled": "Delete"},
            volumeClaimTemplates=[{"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}])
        await run(rig)
        found = rig.client.all(PERSISTENT_VOLUME_CLAIMS)
        assert [item["metadata"]["name"] for item in found] == ["data-web-0", "data-web-1"]
        assert [ref["kind"] for ref in found[0]["metadata"]["ownerReferences"]] == ["StatefulSet"]
        assert rig.client.all(PODS)[0]["spec"]["volumes"] == [{"name": "data", "persistentVolumeClaim": {"claimName": "data-web-0"}}]
        await rig.client.patch(PODS, "web-1", {"metadata": {"finalizers": ["hold"]}}, "default")
        await rig.client.patch(STATEFUL_SETS, "web", {"spec": {"replicas": 1}}, "default")
        await rig.settle()
        found = rig.client.all(PERSISTENT_VOLUME_CLAIMS)
        assert [ref["kind"] for ref in found[1]["metadata"]["ownerReferences"]] == ["Pod"]


async def test_an_evicted_pod_is_made_again_with_its_name() -> None:
    async with Rig(reconcile.controller) as rig:
        await make(rig, replicas=1)
        await run(rig, 1)
        before = rig.client.all(PODS)[0]["metadata"]["uid"]
        await rig.client.patch(PODS, "web-0", {"status": {"phase": "Failed", "reason": "Evicted"}}, "default", subresource="status")
        await run(rig, 2)
        [pod] = rig.client.all(PODS)
        assert pod["metadata"]["name"] == "web-0"
        assert pod["metadata"]["uid"] != before
        assert ("RecreatingFailedPod", "StatefulSet default/web is recreating failed Pod web-0") in rig.events()


async def test_an_update_and_its_undo_go_from_the_top_and_halt_at_a_pod_that_is_not_ready() -> None:
    async with Rig(reconcile.controller) as rig:
        await make(rig, replicas=3, updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"partition": 0}})
        await run(rig)
        before = rig.client.all(STATEFUL_SETS)[0]["status"]["currentRevision"]
        await rig.client.patch(STATEFUL_SETS, "web", image("bad"), "default")
        for _ in range(8):  # nothing becomes ready
            await rig.settle()
        assert pods(rig) == {"web-0": "a", "web-1": "a", "web-2": "bad"}
        await rig.client.patch(STATEFUL_SETS, "web", image("a"), "default")
        await rig.settle()
        assert pods(rig)["web-2"] == "bad"  # it never became ready: whoever uses this order waits for it, or removes it by hand
        await rig.client.delete(PODS, "web-2", "default", grace_period_seconds=0)
        await run(rig)
        assert set(pods(rig).values()) == {"a"}
        status = rig.client.all(STATEFUL_SETS)[0]["status"]
        assert status["currentRevision"] == status["updateRevision"] == before


async def test_as_many_are_updated_at_once_as_may_be_unavailable() -> None:
    async with Rig(reconcile.controller) as rig:
        await make(rig, replicas=5, updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 2}})
        await run(rig, 8)
        await rig.client.patch(STATEFUL_SETS, "web", image("b"), "default")
        await rig.settle()
        assert sorted(pods(rig).values()) == ["a", "a", "a", "b"]  # two are gone, the first of them is back and not ready
        await run(rig, 10)
        assert set(pods(rig).values()) == {"b"}
        assert len(pods(rig)) == 5


async def test_a_claim_that_was_deleted_is_made_again_for_a_pod_that_waits() -> None:
    async with Rig(reconcile.controller) as rig:
        template = {"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}
        await make(rig, replicas=1, volumeClaimTemplates=[template])
        await rig.client.delete(PERSISTENT_VOLUME_CLAIMS, "data-web-0", "default")
        await rig.client.patch(PODS, "web-0", {"metadata": {"labels": {"touched": "yes"}}}, "default")
        await rig.settle()
        assert [item["metadata"]["name"] for item in rig.client.all(PERSISTENT_VOLUME_CLAIMS)] == ["data-web-0"]
