"""Pods that share a volume with SELinux labels or policies that do not go together are told."""
from __future__ import annotations

import pytest
from rig import Rig

from kubepy.api.resource import CSI_DRIVERS, PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, PODS
from kubepy.api.types import Object
from kubepy.controllers import selinux
from kubepy.controllers.selinux import MOUNT, RECURSIVE, Use, conflicts

LABEL = "system_u:system_r:container_t:s0:c1,c2"


@pytest.mark.parametrize(("one", "other", "properties"), [
    pytest.param((LABEL, MOUNT), (LABEL, MOUNT), [], id="the same"),
    pytest.param((LABEL, MOUNT), (":::s0:c1,c2", MOUNT), [], id="parts that are filled in on the node"),
    pytest.param((LABEL, MOUNT), (":::s0:c98,c99", MOUNT), ["SELinuxLabel"], id="another level"),
    pytest.param((LABEL, MOUNT), ("::spc_t:", MOUNT), ["SELinuxLabel"], id="another type"),
    pytest.param((LABEL, RECURSIVE), ("::spc_t:", RECURSIVE), [], id="both relabel every file"),
    pytest.param((LABEL, MOUNT), ("::spc_t:", RECURSIVE), ["SELinuxChangePolicy"], id="one of them relabels every file"),
])
def test_what_conflicts(one: tuple[str, str], other: tuple[str, str], properties: list[str]) -> None:
    found = conflicts(Use("default/a", *one), [Use("default/a", *one), Use("default/b", *other)])
    assert sorted({item.what for item in found}) == properties
    assert len(found) == 2 * len(properties)


def pod(name: str, level: str) -> Object:
    return {"metadata": {"name": name, "namespace": "default"}, "spec": {
        "nodeName": "n", "securityContext": {"seLinuxOptions": {"level": level}},
        "containers": [{"name": "c", "volumeMounts": [{"name": "data", "mountPath": "/data"}]}],
        "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]}}


async def test_both_pods_are_told_and_the_metric_shows_it_while_it_lasts() -> None:
    async with Rig(selinux.controller) as rig:
        client = rig.client
        await client.create(CSI_DRIVERS, {"metadata": {"name": "csi.example"}, "spec": {"seLinuxMount": True}})
        client.load(PERSISTENT_VOLUMES, {"metadata": {"name": "pv"}, "spec": {
            "csi": {"driver": "csi.example"}, "claimRef": {"namespace": "default", "name": "data"}}})
        await client.create(PERSISTENT_VOLUME_CLAIMS, {"metadata": {"name": "data", "namespace": "default"}, "spec": {"volumeName": "pv"}})
        for name, level in (("a", "s0:c1,c2"), ("b", "s0:c8,c9"), ("c", "")):
            await client.create(PODS, pod(name, level))
        await rig.settle()
        assert sorted(rig.events()) == [
            ("SELinuxLabelConflict", f'SELinuxLabel ":::{mine}" conflicts with pod {other} that uses the same volume as this pod with '
             f'SELinuxLabel ":::{theirs}". If both pods land on the same node, only one of them may access the volume')
            for mine, other, theirs in (("s0:c1,c2", "b", "s0:c8,c9"), ("s0:c8,c9", "a", "s0:c1,c2"))]
        [family] = selinux.SHOWN.collect()
        assert [sample.labels["pod1_name"] + sample.labels["pod2_name"] for sample in family.samples] == ["ab", "ba"]
        await client.patch(PODS, "b", {"status": {"phase": "Succeeded"}}, "default", subresource="status")
        await rig.settle()
        [family] = selinux.SHOWN.collect()
        assert not family.samples
