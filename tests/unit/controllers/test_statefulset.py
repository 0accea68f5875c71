"""StatefulSets: order, identity, claims, partitions."""
from __future__ import annotations

from typing import Any

import pytest
from rig import Rig, workload

from kubepy.api.resource import PERSISTENT_VOLUME_CLAIMS, PODS, STATEFUL_SETS
from kubepy.api.types import Object
from kubepy.controllers.kit.adoption import owner_reference
from kubepy.controllers.kit.revision import HASH_LABEL
from kubepy.controllers.statefulset import identity, plan, reconcile


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


OWNER: Object = {"metadata": {"name": "web", "namespace": "default", "uid": "set"}, "spec": {}}
REPLICA: Object = {"metadata": {"name": "web-1", "uid": "pod"}}
OTHER = {"apiVersion": "v1", "kind": "Backup", "name": "b", "uid": "b"}
FORMER = {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "web", "uid": "former", "controller": True}


@pytest.mark.parametrize(("deleted", "scaled", "condemned", "present", "expected"), [
    pytest.param("Retain", "Retain", True, [], [], id="kept by both"),
    pytest.param("Delete", "Retain", False, [], ["set"], id="goes with its set"),
    pytest.param("Delete", "Retain", True, [], ["set"], id="goes with its set only"),
    pytest.param("Retain", "Delete", False, [], [], id="kept while its replica is wanted"),
    pytest.param("Retain", "Delete", True, [], ["pod"], id="goes with its replica"),
    pytest.param("Delete", "Delete", False, [], ["set"], id="goes with its set while its replica is wanted"),
    pytest.param("Delete", "Delete", True, ["set"], ["pod"], id="goes with its replica before its set"),
    pytest.param("Delete", "Delete", False, ["pod"], ["set"], id="its replica is wanted again"),
    pytest.param("Retain", "Retain", False, ["set"], [], id="the policy changed its mind"),
    pytest.param("Delete", "Retain", False, [OTHER], ["b", "set"], id="what others tied stays"),
    pytest.param("Delete", "Retain", False, [{**OTHER, "controller": True}, "set"], ["b"], id="what another controls is left alone"),
    pytest.param("Delete", "Retain", False, [FORMER], ["former"], id="what a former set of this name left behind is not taken over"),
])
def test_whose_a_claim_is(deleted: str, scaled: str, condemned: bool, present: list[Any], expected: list[str]) -> None:
    own = {"set": owner_reference(OWNER, STATEFUL_SETS), "pod": owner_reference(REPLICA, PODS)}
    refs = [own.get(item, item) if isinstance(item, str) else item for item in present]
    owner = {**OWNER, "spec": {"persistentVolumeClaimRetentionPolicy": {"whenDeleted": deleted, "whenScaled": scaled}}}
    claim: Object = {"metadata": {"name": "data-web-1", "ownerReferences": refs}}
    found = identity.claim_owners(owner, REPLICA, claim, condemned=condemned)
    after = refs if found is None else found
    assert [ref["uid"] for ref in after] == expected
    assert identity.claim_owners(owner, REPLICA, {"metadata": {"ownerReferences": after}}, condemned=condemned) is None
    assert all(ref == own[ref["uid"]] for ref in after if ref["uid"] in own)


def replica(number: int, revision: str = "new", *, ready: bool = True, phase: str = "Running", leaving: bool = False) -> Object:
    return {"metadata": {"name": f"web-{number}", "labels": {HASH_LABEL: revision}, **({"deletionTimestamp": "x"} if leaving else {})},
            "status": {"phase": phase, "conditions": [{"type": "Ready", "status": "True" if ready else "False"}]}}


def rolling(**strategy: Any) -> Object:
    return {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": strategy}}


OLD = [replica(number, "old") for number in range(5)]


@pytest.mark.parametrize(("spec", "pods", "create", "delete"), [
    pytest.param({}, [], [0], [], id="the first comes first"),
    pytest.param({}, [replica(0, ready=False)], [], [], id="the next waits for the one before"),
    pytest.param({"podManagementPolicy": "Parallel"}, [replica(0, ready=False)], [1, 2, 3, 4], [], id="in parallel nobody waits"),
    pytest.param({"ordinals": {"start": 3}}, [replica(3)], [4], [], id="from its first ordinal"),
    pytest.param({"ordinals": {"start": 1}}, [*[replica(n) for n in range(6)]], [], [0], id="an ordinal below the first goes"),
    pytest.param({"replicas": 2}, [*[replica(n) for n in range(5)]], [], [4], id="one at a time goes, from the top"),
    pytest.param({"replicas": 2, "podManagementPolicy": "Parallel"}, [replica(n) for n in range(5)], [], [4, 3, 2], id="or all at once"),
    pytest.param({"replicas": 2}, [*[replica(n) for n in range(4)], replica(4, leaving=True)], [], [], id="one leaves already"),
    pytest.param({}, [replica(0, phase="Failed"), replica(1)], [], [0], id="a failed one is removed, to be made again"),
    pytest.param({"updateStrategy": {"type": "OnDelete"}}, OLD, [], [], id="updates by hand only"),
    pytest.param(rolling(), OLD, [], [4], id="updates from the top"),
    pytest.param(rolling(partition=4), [*OLD[:4], replica(4)], [], [], id="not below the partition"),
    pytest.param(rolling(partition=9), OLD, [], [], id="a partition beyond all"),
    pytest.param(rolling(), [*OLD[:4], replica(4, ready=False)], [], [], id="one that is not ready holds an update up"),
    pytest.param({**rolling(maxUnavailable=2)}, OLD, [], [4, 3], id="two may be away"),
    pytest.param({**rolling(maxUnavailable="50%")}, OLD, [], [4, 3], id="half of five, rounded down"),
    pytest.param({**rolling(maxUnavailable="10%")}, OLD, [], [4], id="a tenth of five is still one"),
    pytest.param({**rolling(maxUnavailable=2), "podManagementPolicy": "Parallel"}, [*OLD[:4], replica(4, ready=False)], [], [3],
                 id="one that is away already counts"),
    pytest.param({**rolling(maxUnavailable=2, partition=4)}, OLD, [], [4], id="two may be away, but one is above the partition"),
    pytest.param({**rolling(), "minReadySeconds": 10}, [*OLD[:4], replica(4)], [], [], id="ready for too short a time"),
])
def test_the_next_steps(spec: Object, pods: list[Object], create: list[int], delete: list[int]) -> None:
    owner = {**OWNER, "spec": {"replicas": 5, **spec}}
    found = plan.next_steps(owner, pods, "old", "new", 0.0)
    assert [number for number, _ in found.create] == create
    assert [int(pod["metadata"]["name"].rpartition("-")[2]) for pod in found.delete] == delete


@pytest.mark.parametrize(("spec", "status", "revisions"), [
    pytest.param(rolling(partition=2), {}, ["old", "old", "new", "new"], id="below the partition the old one"),
    pytest.param({}, {"currentReplicas": 3}, ["old", "old", "old", "new"], id="as far as the update has not come"),
    pytest.param({"ordinals": {"start": 2}, **rolling(partition=1)}, {}, ["old", "new", "new", "new"], id="counted from the first ordinal"),
    pytest.param({"updateStrategy": {"type": "OnDelete"}}, {}, ["new", "new", "new", "new"], id="by hand always the new one"),
])
def test_the_revision_of_a_replica_that_is_made(spec: Object, status: Object, revisions: list[str]) -> None:
    owner = {**OWNER, "spec": {"replicas": 4, "podManagementPolicy": "Parallel", **spec}, "status": status}
    assert [revision for _, revision in plan.next_steps(owner, [], "old", "new", 0.0).create] == revisions
