"""Pods leave devices that get a NoExecute taint they do not tolerate, or no longer."""
from __future__ import annotations

from typing import Any

import pytest
from rig import Rig

from kubepy.api.resource import PODS, RESOURCE_CLAIMS, RESOURCE_SLICES
from kubepy.api.types import Object
from kubepy.base.clock import format_time
from kubepy.controllers import devicetaint
from kubepy.controllers.devicetaint import evict_at, no_execute

BROKEN: Object = {"key": "broken", "effect": "NoExecute", "timeAdded": "1970-01-01T00:01:40Z"}
DEVICE = ("d", "p", "gpu")


def result(*tolerations: Object, device: str = "gpu") -> Object:
    return {"driver": "d", "pool": "p", "device": device, "request": "r", "tolerations": list(tolerations)}


def tolerated(**more: Any) -> Object:
    return {"key": "broken", "operator": "Exists", **more}


@pytest.mark.parametrize(("results", "moment"), [
    pytest.param([result()], 0.0, id="not tolerated: now"),
    pytest.param([result(tolerated())], None, id="tolerated: never"),
    pytest.param([result({"operator": "Exists"})], None, id="everything tolerated: never"),
    pytest.param([result(tolerated(tolerationSeconds=30))], 130.0, id="tolerated for a time, from when the taint was added"),
    pytest.param([result(tolerated(tolerationSeconds=30)), result(tolerated(tolerationSeconds=20))], 120.0, id="the shortest counts"),
    pytest.param([result(tolerated(tolerationSeconds=30)), result()], 0.0, id="one of two devices is not tolerated"),
    pytest.param([result(tolerated(effect="NoSchedule"))], 0.0, id="another effect is tolerated"),
    pytest.param([result(device="other")], None, id="another device"),
])
def test_when_it_must_go(results: list[Object], moment: float | None) -> None:
    assert evict_at(results, {DEVICE: [BROKEN]}) == moment


def slice_of(generation: int, *taints: Object, name: str = "s") -> Object:
    return {"metadata": {"name": name}, "spec": {"driver": "d", "pool": {"name": "p", "generation": generation, "resourceSliceCount": 1},
                                                 "devices": [{"name": "gpu", "taints": list(taints)}]}}


def test_only_what_evicts_in_the_newest_generation_counts() -> None:
    quiet = {"key": "worn", "effect": "NoSchedule"}
    assert no_execute([slice_of(1, BROKEN, quiet)]) == {DEVICE: [BROKEN]}
    assert no_execute([slice_of(1, BROKEN), slice_of(2, quiet)]) == {}


async def test_a_pod_goes_when_its_time_is_over_unless_the_taint_goes_first() -> None:
    async with Rig(devicetaint.controller) as rig:
        client = rig.client
        await client.create(RESOURCE_SLICES, slice_of(1))
        for name, seconds in (("now", 0), ("later", 60), ("never", None)):
            pod = await client.create(PODS, {"metadata": {"name": name, "namespace": "default"}, "spec": {
                "nodeName": "n", "containers": [], "resourceClaims": [{"name": "c", "resourceClaimName": name}]}})
            toleration = tolerated(tolerationSeconds=seconds) if seconds else tolerated()
            client.load(RESOURCE_CLAIMS, {"metadata": {"name": name, "namespace": "default"}, "spec": {}, "status": {
                "reservedFor": [{"resource": "pods", "name": name, "uid": pod["metadata"]["uid"]}],
                "allocation": {"devices": {"results": [result(*([toleration] if seconds != 0 else []))]}}}})
        await rig.settle(5)
        assert len(client.all(PODS)) == 3
        taint = {**BROKEN, "timeAdded": format_time(rig.clock.now())}
        fresh = await client.get(RESOURCE_SLICES, "s")
        await client.update(RESOURCE_SLICES, {**fresh, "spec": slice_of(2, taint)["spec"]})
        await rig.settle()
        gone = [pod for pod in client.all(PODS) if pod["metadata"].get("deletionTimestamp")]
        assert [pod["metadata"]["name"] for pod in gone] == ["now"]
        assert gone[0]["status"]["conditions"][0]["reason"] == "DeletionByDeviceTaintManager"
        fresh = await client.get(RESOURCE_SLICES, "s")
        await client.update(RESOURCE_SLICES, {**fresh, "spec": slice_of(3)["spec"]})
        await rig.settle(100)
        assert ("DeviceTaintManagerEviction", "Cancelling deletion") in rig.events()
        fresh = await client.get(RESOURCE_SLICES, "s")
        await client.update(RESOURCE_SLICES, {**fresh, "spec": slice_of(4, taint)["spec"]})
        await rig.settle()
        assert sorted(pod["metadata"]["name"] for pod in client.all(PODS) if pod["metadata"].get("deletionTimestamp")) == ["later", "now"]
