"""Resource claims: made from templates once, freed and removed with their pods; the policies' status; all nodes silent."""
from __future__ import annotations

import pytest
from rig import Rig

from kubepy.api.resource import PODS
from kubepy.api.types import Object
from kubepy.controllers import policystatus, resourceclaim
from kubepy.controllers.node import health
from kubepy.controllers.resourceclaim import CLAIMS, TEMPLATES


async def test_a_pod_gets_a_claim_of_its_own_which_goes_when_the_pod_has_ended() -> None:
    async with Rig(resourceclaim.controller) as rig:
        await rig.client.create(PODS, {"metadata": {"name": "p", "namespace": "default"}, "spec": {
            "containers": [], "resourceClaims": [{"name": "gpu", "resourceClaimTemplateName": "t"}]}})
        await rig.settle()
        assert ("FailedResourceClaimCreation", 'PodResourceClaim gpu: resourceclaimtemplate.resource.k8s.io "t" not found') in rig.events()
        await rig.client.create(TEMPLATES, {"metadata": {"name": "t", "namespace": "default"}, "spec": {
            "metadata": {"labels": {"a": "b"}}, "spec": {"devices": {}}}})
        await rig.settle(31)
        [claim] = rig.client.all(CLAIMS)
        assert (claim["metadata"]["labels"], claim["spec"]) == ({"a": "b"}, {"devices": {}})
        name = claim["metadata"]["name"]
        assert rig.client.all(PODS)[0]["status"]["resourceClaimStatuses"] == [{"name": "gpu", "resourceClaimName": name}]
        await rig.client.patch(PODS, "p", {"status": {"phase": "Succeeded"}}, "default", subresource="status")
        await rig.settle()
        assert rig.client.all(CLAIMS) == []


def claim(*uids: str, deleted: bool = False) -> Object:
    return {"metadata": {"name": "c", **({"deletionTimestamp": "x"} if deleted else {})}, "status": {
        "allocation": {"devices": {}}, "reservedFor": [{"resource": "pods", "name": uid, "uid": uid} for uid in uids]}}


@pytest.mark.parametrize(("item", "gone", "expected"), [
    pytest.param(claim("a"), set(), None, id="in use"),
    pytest.param(claim("a", "b"), {"a"}, ["b"], id="one of two is gone"),
    pytest.param(claim("a"), {"a"}, [], id="the last is gone: its devices are free"),
    pytest.param(claim(), set(), None, id="allocated for a pod to come"),
    pytest.param(claim(deleted=True), set(), [], id="allocated and being deleted"),
])
def test_freeing(item: Object, gone: set[str], expected: list[str] | None) -> None:
    status = resourceclaim.freed(item, gone)
    if expected is None:
        assert status is None
    else:
        assert status is not None
        assert [entry["uid"] for entry in status.get("reservedFor", [])] == expected
        assert ("allocation" in status) is bool(expected)


async def test_a_pod_bound_without_the_scheduler_is_among_the_consumers_of_its_allocated_claims() -> None:
    async with Rig(resourceclaim.controller) as rig:
        for name in ("free", "allocated"):
            await rig.client.create(CLAIMS, {"metadata": {"name": name, "namespace": "default"}, "spec": {}})
        await rig.client.patch(CLAIMS, "allocated", {"status": {"allocation": {"devices": {}}}}, "default", subresource="status")
        await rig.client.create(PODS, {"metadata": {"name": "p", "namespace": "default"}, "spec": {
            "containers": [], "nodeName": "n", "resourceClaims": [
                {"name": "a", "resourceClaimName": "free"}, {"name": "b", "resourceClaimName": "allocated"}]}})
        await rig.settle()
        [pod] = rig.client.all(PODS)

        async def consumers(name: str) -> list[str]:
            return [item["uid"] for item in ((await rig.client.get(CLAIMS, name, "default")).get("status") or {}).get("reservedFor") or ()]

        assert (await consumers("free"), await consumers("allocated")) == ([], [pod["metadata"]["uid"]])
        await rig.client.patch(CLAIMS, "free", {"status": {"allocation": {"devices": {}}}}, "default", subresource="status")
        await rig.settle()
        assert await consumers("free") == [pod["metadata"]["uid"]]
        await rig.client.delete(PODS, "p", "default", grace_period_seconds=0)
        await rig.settle()
        assert (await consumers("free"), await consumers("allocated")) == ([], [])


async def test_policies_learn_that_they_were_looked_at() -> None:
    async with Rig(policystatus.controller) as rig:
        await rig.client.create(policystatus.POLICIES, {"metadata": {"name": "p"}, "spec": {}})
        await rig.settle()
        assert rig.client.all(policystatus.POLICIES)[0]["status"] == {"observedGeneration": 1, "typeChecking": {}}


def test_when_no_node_is_heard_of_pods_are_spared() -> None:
    taint = {"key": health.UNREACHABLE, "effect": "NoExecute"}
    node: Object = {"spec": {"taints": [taint]}, "status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}}
    assert health.plan_no_execute(node, 0.0, spare=True) == ([], False)
    assert health.plan_no_execute(node, 0.0) == (None, False)
