"""Volumes that are scrubbed when their claim has gone."""
from __future__ import annotations

from pathlib import Path

import pytest
from rig import Rig

from kubepy.api.resource import EVENTS, PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, PODS
from kubepy.api.types import Object
from kubepy.controllers.volume import binder
from kubepy.controllers.volume.recycle import Recycling, Scrubbing, pod_for, read_template


def volume(name: str = "v", size: str = "1Gi", **source: object) -> Object:
    return {"metadata": {"name": name}, "spec": {
        "capacity": {"storage": size}, "accessModes": ["ReadWriteOnce"], "persistentVolumeReclaimPolicy": "Recycle",
        **(source or {"hostPath": {"path": "/data"}})}}


@pytest.mark.parametrize(("obj", "seconds", "source"), [
    (volume(), 60, {"hostPath": {"path": "/data"}}),
    (volume(size="10Gi"), 300, {"hostPath": {"path": "/data"}}),
    (volume(nfs={"server": "s", "path": "/p"}), 300, {"nfs": {"server": "s", "path": "/p"}}),
    (volume(size="20Gi", nfs={"server": "s", "path": "/p"}), 600, {"nfs": {"server": "s", "path": "/p"}}),
], ids=["a small directory", "a large directory", "small NFS", "large NFS"])
def test_the_pod_that_scrubs(obj: Object, seconds: int, source: Object) -> None:
    pod = pod_for(obj, Recycling())
    assert pod is not None
    assert pod["spec"]["activeDeadlineSeconds"] == seconds
    assert pod["spec"]["volumes"] == [{"name": "vol", **source}]
    assert (pod["metadata"]["name"], pod["metadata"]["namespace"]) == ("recycler-for-v", "default")


def test_templates(tmp_path: Path) -> None:
    file = tmp_path / "pod.yaml"
    file.write_text("{metadata: {namespace: ops, labels: {a: b}}, spec: {containers: [{name: c, image: i}], volumes: [{name: x}]}}")
    pod = pod_for(volume(), Recycling(host_path=Scrubbing(read_template(str(file)), 10, 1)))
    assert pod is not None
    assert (pod["metadata"]["namespace"], pod["metadata"]["labels"], pod["spec"]["volumes"][0]["name"]) == ("ops", {"a": "b"}, "x")
    file.write_text("{spec: {containers: [{name: c}]}}")
    with pytest.raises(ValueError, match=r"does not contain any volume\(s\)"):
        read_template(str(file))
    with pytest.raises(OSError, match="No such file"):
        read_template(str(tmp_path / "none"))


async def released(rig: Rig, obj: Object) -> None:
    """The volume, bound and then left by its claim."""
    client = rig.client
    await client.create(PERSISTENT_VOLUMES, obj)
    await client.create(PERSISTENT_VOLUME_CLAIMS, {"metadata": {"name": "c", "namespace": "default"}, "spec": {
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}})
    await rig.settle()
    assert phase(rig) == "Bound"
    await client.delete(PERSISTENT_VOLUME_CLAIMS, "c", "default")
    await rig.settle()


def phase(rig: Rig) -> str:
    [found] = rig.client.all(PERSISTENT_VOLUMES)
    return str(found["status"]["phase"])


def recyclers(rig: Rig) -> list[Object]:
    return [pod for pod in rig.client.all(PODS) if pod["metadata"]["name"] == "recycler-for-v"]


async def end(rig: Rig, how: str, **status: str) -> None:
    await rig.client.patch(PODS, "recycler-for-v", {"status": {"phase": how, **status}}, "default", subresource="status")
    await rig.settle()


async def test_it_is_free_again_when_the_pod_has_done_its_work() -> None:
    async with Rig(binder.controller) as rig:
        await released(rig, volume())
        [pod] = recyclers(rig)
        assert phase(rig) == "Released"
        await rig.client.create(EVENTS, {"metadata": {"name": "e", "namespace": "default"}, "type": "Normal", "reason": "Pulled",
                                         "message": "Pulled it",
                                         "involvedObject": {"kind": "Pod", "name": "recycler-for-v", "uid": pod["metadata"]["uid"]}})
        await rig.settle()
        await end(rig, "Succeeded")
        assert phase(rig) == "Available"
        assert recyclers(rig) == []
        assert {("RecyclerPod", "Recycler pod: Pulled it"), ("VolumeRecycled", "Volume recycled")} <= set(rig.events())
        assert "claimRef" not in rig.client.all(PERSISTENT_VOLUMES)[0]["spec"]


async def test_a_failure_is_told_and_tried_again() -> None:
    async with Rig(binder.controller) as rig:
        await released(rig, volume())
        await end(rig, "Failed", message="no such directory")
        assert phase(rig) == "Failed"
        assert ("VolumeFailedRecycle", "Recycle failed: failed to recycle volume: no such directory") in rig.events()
        made = set()
        for _ in range(40):
            made |= {pod["metadata"]["uid"] for pod in recyclers(rig)}
            if recyclers(rig):
                await end(rig, "Failed")
            await rig.settle(1)
        assert 4 <= len(made) <= 7, "tried again, more and more seldom"
        await rig.settle(130)
        await end(rig, "Succeeded")
        assert phase(rig) == "Available"


async def test_a_pod_that_somebody_else_has_made_is_not_believed() -> None:
    async with Rig(binder.controller) as rig:
        await rig.client.create(PODS, {"metadata": {"name": "recycler-for-v", "namespace": "default"}, "spec": {"containers": []}})
        await end(rig, "Succeeded")
        await released(rig, volume())
        assert phase(rig) == "Failed"
        assert ("VolumeFailedRecycle", "Recycle failed: old recycler pod found, will retry later") in rig.events()
        await rig.settle(20)
        assert recyclers(rig)
        await rig.restart()
        await rig.settle(40)
        assert phase(rig) == "Failed"
        await end(rig, "Succeeded")
        assert phase(rig) == "Available"


async def test_what_is_neither_a_directory_nor_nfs_cannot_be_scrubbed() -> None:
    async with Rig(binder.controller) as rig:
        await released(rig, volume(csi={"driver": "d", "volumeHandle": "h"}))
        assert phase(rig) == "Failed"
        assert ("VolumeFailedRecycle", "No recycler plugin found for the volume!") in rig.events()
