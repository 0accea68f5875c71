"""Local-path volumes, ephemeral claims, attachments, expansion."""
from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from rig import Rig

from kubepy.api.errors import ApiError, Conflict
from kubepy.api.resource import NODES, PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, PODS, STORAGE_CLASSES, VOLUME_ATTACHMENTS
from kubepy.api.types import Object
from kubepy.controllers.kit.option import Options
from kubepy.controllers.localpath import plan as localpath
from kubepy.controllers.localpath import reconcile as provisioner
from kubepy.controllers.volume import attach, binder, ephemeral, expand

CLASS: Object = {"metadata": {"name": "local-path"}, "provisioner": localpath.PROVISIONER, "reclaimPolicy": "Delete",
                 "volumeBindingMode": "WaitForFirstConsumer", "allowVolumeExpansion": True}


def claim(**spec: Any) -> Object:
    return {"metadata": {"name": "data", "namespace": "default", "annotations": {localpath.SELECTED_NODE: "n"}}, "spec": {
        "accessModes": ["ReadWriteOnce"], "storageClassName": "local-path", "resources": {"requests": {"storage": "1Mi"}}, **spec}}


async def until(cluster: Rig, check: Callable[[], object]) -> None:
    """File operations run in threads, which the virtual clock does not wait for."""
    for _ in range(3000):
        await cluster.settle()
        if check():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come to be")


def rig(directory: Path, *more: Any) -> Rig:
    return Rig(binder.controller, provisioner.controller, *more,
               options=Options(local_path_node="n", local_path_directory=str(directory)))


async def test_a_directory_is_made_grown_and_removed_with_its_claim(tmp_path: Path) -> None:
    async with rig(tmp_path, expand.controller) as cluster:
        client = cluster.client
        await client.create(STORAGE_CLASSES, CLASS)
        await client.create(PERSISTENT_VOLUME_CLAIMS, claim())
        await until(cluster, lambda: client.all(PERSISTENT_VOLUME_CLAIMS)[0].get("status", {}).get("phase") == "Bound")
        found = client.all(PERSISTENT_VOLUME_CLAIMS)[0]
        volume = client.all(PERSISTENT_VOLUMES)[0]
        path = Path(volume["spec"]["local"]["path"])
        assert (found["status"]["phase"], volume["status"]["phase"]) == ("Bound", "Bound")
        assert path.parent == tmp_path
        assert list(os.scandir(path)) == []
        (path / "file").write_text("x")
        await client.patch(PERSISTENT_VOLUME_CLAIMS, "data", {"spec": {"resources": {"requests": {"storage": "2Mi"}}}}, "default")
        await until(cluster, lambda: client.all(PERSISTENT_VOLUME_CLAIMS)[0]["status"]["capacity"] == {"storage": "2Mi"})
        assert client.all(PERSISTENT_VOLUME_CLAIMS)[0]["status"]["capacity"] == {"storage": "2Mi"}
        assert client.all(PERSISTENT_VOLUMES)[0]["spec"]["capacity"] == {"storage": "2Mi"}
        await client.delete(PERSISTENT_VOLUME_CLAIMS, "data", "default")
        await until(cluster, lambda: not client.all(PERSISTENT_VOLUMES))
        assert os.listdir(tmp_path) == []
        reasons = [reason for reason, _ in cluster.events()]
        assert {"ProvisioningSucceeded", "ExternalExpanding"} <= set(reasons)


@pytest.mark.parametrize(("change", "why"), [
    pytest.param({"accessModes": ["ReadWriteMany"]}, "access modes", id="many writers"),
    pytest.param({"volumeMode": "Block"}, "block", id="a block device"),
    pytest.param({"selector": {}, "resources": {"requests": {"storage": "900Pi"}}}, "are free", id="more than there is room for"),
])
async def test_what_cannot_be_is_told_and_the_scheduler_asked_for_another_node(tmp_path: Path, change: Object, why: str) -> None:
    async with rig(tmp_path) as cluster:
        await cluster.client.create(STORAGE_CLASSES, CLASS)
        await cluster.client.create(PERSISTENT_VOLUME_CLAIMS, claim(**change))
        await until(cluster, lambda: any(reason == "ProvisioningFailed" for reason, _ in cluster.events()))
        assert cluster.client.all(PERSISTENT_VOLUMES) == []
        assert any(reason == "ProvisioningFailed" and why in message for reason, message in cluster.events())
        assert localpath.SELECTED_NODE not in cluster.client.all(PERSISTENT_VOLUME_CLAIMS)[0]["metadata"]["annotations"]



class Kubelet:
    """Answers, one after the other, what it is told to."""

    def __init__(self, *answers: ApiError | bytes) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, str]] = []
        self.url, self.closed = "", 0

    def __call__(self, url: str) -> Any:
        self.url = url
        return self

    async def raw(self, method: str, path: str) -> bytes:
        self.asked.append((method, path))
        answer = self.answers.pop(0)
        if isinstance(answer, ApiError):
            raise answer
        return answer

    async def close(self) -> None:
        self.closed += 1


FAR: Object = {"metadata": {"name": "far", "labels": {localpath.HOSTNAME: "far"}}, "spec": {}, "status": {
    "addresses": [{"type": "InternalIP", "address": "192.0.2.7"}], "daemonEndpoints": {"kubeletEndpoint": {"Port": 10251}}}}


async def test_the_kubelet_of_another_node_removes_the_directory_it_made(tmp_path: Path) -> None:
    cluster = rig(tmp_path)
    kubelet = cluster.env.kubelet = Kubelet(Conflict("it is used by a pod"), b'{"removed": true}')
    async with cluster:
        client = cluster.client
        client.load(NODES, FAR)
        await client.create(STORAGE_CLASSES, CLASS)
        body = claim()
        body["metadata"]["annotations"] = {localpath.SELECTED_NODE: "far"}
        await client.create(PERSISTENT_VOLUME_CLAIMS, body)
        for _ in range(3):
            await cluster.settle()
        [volume] = client.all(PERSISTENT_VOLUMES)
        await client.delete(PERSISTENT_VOLUME_CLAIMS, "data", "default")
        await cluster.settle()
        assert any(reason == "VolumeFailedDelete" and "it is used by a pod" in message for reason, message in cluster.events())
        await cluster.clock.advance(61)
        assert client.all(PERSISTENT_VOLUMES) == []
        assert kubelet.url == "https://192.0.2.7:10251"
        name = volume["metadata"]["name"]
        query = urlencode({"path": volume["spec"]["hostPath"]["path"]})
        assert kubelet.asked == [("DELETE", f"/localVolumes/{name}?{query}")] * 2
        assert kubelet.closed == 2


async def test_on_other_nodes_the_kubelet_makes_the_directory_and_the_volume_goes_with_the_node(tmp_path: Path) -> None:
    async with rig(tmp_path) as cluster:
        client = cluster.client
        await client.create(NODES, {"metadata": {"name": "far", "labels": {localpath.HOSTNAME: "far"}}, "spec": {}})
        await client.create(STORAGE_CLASSES, CLASS)
        body = claim()
        body["metadata"]["annotations"] = {localpath.SELECTED_NODE: "far"}
        await client.create(PERSISTENT_VOLUME_CLAIMS, body)
        for _ in range(3):
            await cluster.settle()
        [volume] = client.all(PERSISTENT_VOLUMES)
        assert volume["spec"]["hostPath"]["type"] == "DirectoryOrCreate"
        assert os.listdir(tmp_path) == []
        await client.delete(PERSISTENT_VOLUME_CLAIMS, "data", "default")
        await cluster.settle()
        assert len(client.all(PERSISTENT_VOLUMES)) == 1
        assert any(reason == "VolumeFailedDelete" and "on node far" in message for reason, message in cluster.events())
        await client.delete(NODES, "far")
        await cluster.settle()
        assert client.all(PERSISTENT_VOLUMES) == []


@pytest.mark.parametrize(("path", "host", "expected"), [
    pytest.param("/base/pvc-1_default_data", "n", True, id="its own"),
    pytest.param("/base/pvc-1_default_data", "m", False, id="another node's"),
    pytest.param("/base/../etc", "n", False, id="a path that leads out"),
    pytest.param("/etc", "n", False, id="not in its directory"),
    pytest.param("/base/other", "n", False, id="not its kind of name"),
])
def test_only_own_directories_are_removed(path: str, host: str, expected: bool) -> None:
    volume: Object = {"metadata": {"annotations": {localpath.PROVISIONED_BY: localpath.PROVISIONER}}, "spec": {
        "local": {"path": path}, "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [
            {"key": localpath.HOSTNAME, "operator": "In", "values": [host]}]}]}}}}
    assert localpath.is_ours(volume, "n", Path("/base")) is expected


async def test_ephemeral_volumes_get_claims_of_their_pod_and_no_others() -> None:
    async with Rig(ephemeral.controller) as cluster:
        pod: Object = {"metadata": {"name": "p", "namespace": "default"}, "spec": {"containers": [], "volumes": [
            {"name": "scratch", "ephemeral": {"volumeClaimTemplate": {"metadata": {"labels": {"a": "b"}}, "spec": {"x": "y"}}}}]}}
        await cluster.client.create(PODS, pod)
        await cluster.client.create(PERSISTENT_VOLUME_CLAIMS, {"metadata": {"name": "q-scratch", "namespace": "default"}, "spec": {}})
        await cluster.client.create(PODS, {**pod, "metadata": {"name": "q", "namespace": "default"}})
        await cluster.settle()
        made = {item["metadata"]["name"]: item for item in cluster.client.all(PERSISTENT_VOLUME_CLAIMS)}
        assert (made["p-scratch"]["spec"], made["p-scratch"]["metadata"]["labels"]) == ({"x": "y"}, {"a": "b"})
        assert made["p-scratch"]["metadata"]["ownerReferences"][0]["controller"] is True
        assert ("FailedBinding", "PVC default/q-scratch was not created for pod default/q (pod is not owner)") in cluster.events()


def csi_volume(*modes: str) -> Object:
    return {"metadata": {"name": "v"}, "spec": {"csi": {"driver": "d", "volumeHandle": "h"},
                                                "accessModes": list(modes or ("ReadWriteOnce",)),
                                                "claimRef": {"namespace": "default", "name": "data"}}}


def attachment(node: str) -> Object:
    return {"metadata": {"name": node, "uid": node}, "spec": {"nodeName": node, "attacher": "d", "source": {"persistentVolumeName": "v"}}}


POD: Object = {"metadata": {"name": "p", "namespace": "default", "uid": "p"}}
IN_USE: Object = {"metadata": {"name": "n"}, "spec": {}, "status": {"volumesInUse": ["kubernetes.io/csi/d^h"]}}
TAINTED: Object = {**IN_USE, "spec": {"taints": [{"key": attach.OUT_OF_SERVICE, "effect": "NoExecute"}]}}
IDLE: Object = {"metadata": {"name": "n"}, "spec": {}}


@pytest.mark.parametrize(("node", "modes", "needed", "there", "since", "expected"), [
    pytest.param(IDLE, (), True, [], 0, (1, 0, 0), id="needed: attached"),
    pytest.param(IDLE, (), True, ["n"], 0, (0, 0, 0), id="attached already"),
    pytest.param(IDLE, (), True, ["m"], 0, (0, 0, 1), id="exclusively attached elsewhere"),
    pytest.param(IDLE, ("ReadWriteMany",), True, ["m"], 0, (1, 0, 0), id="shared"),
    pytest.param(IDLE, (), False, ["n"], 0, (0, 1, 0), id="not needed any more"),
    pytest.param(IN_USE, (), False, ["n"], 0, (0, 0, 0), id="the node still uses it"),
    pytest.param(IN_USE, (), False, ["n"], 400, (0, 1, 0), id="for too long"),
    pytest.param(TAINTED, (), False, ["n"], 0, (0, 1, 0), id="the node is out of service"),
    pytest.param(None, (), False, ["n"], 0, (0, 1, 0), id="the node is gone"),
])
def test_attachments(node: Object | None, modes: tuple[str, ...], needed: bool, there: list[str], since: float,
                     expected: tuple[int, int, int]) -> None:
    volume = csi_volume(*modes)
    found = attach.plan(node, "n", [attach.Need(volume, POD)] if needed else [], [attachment(name) for name in there], {"v": volume},
                        {"v": 1000.0 - since}, 1000.0)
    assert (len(found.attach), len(found.detach), len(found.blocked)) == expected


def test_without_force_a_node_has_all_the_time_it_needs() -> None:
    found = attach.plan(IN_USE, "n", [], [attachment("n")], {"v": csi_volume()}, {"v": 0.0}, 1000.0, force=False)
    assert (found.detach, found.wait) == ([], None)


async def test_a_pod_gets_its_volume_attached_and_the_node_learns_of_it() -> None:
    async with Rig(attach.controller) as cluster:
        client = cluster.client
        await client.create(NODES, {"metadata": {"name": "n"}, "spec": {}, "status": {}})
        await client.create(PERSISTENT_VOLUMES, csi_volume())
        await client.create(PERSISTENT_VOLUME_CLAIMS, {"metadata": {"name": "data", "namespace": "default"}, "spec": {"volumeName": "v"}})
        client.load(PODS, {**POD, "spec": {"nodeName": "n", "containers": [], "volumes": [
            {"name": "d", "persistentVolumeClaim": {"claimName": "data"}}]}, "status": {"phase": "Pending"}})
        await cluster.settle()
        [made] = client.all(VOLUME_ATTACHMENTS)
        await client.patch(VOLUME_ATTACHMENTS, made["metadata"]["name"], {"status": {"attached": True}}, subresource="status")
        await cluster.settle()
        assert client.all(NODES)[0]["status"]["volumesAttached"] == [{"name": "kubernetes.io/csi/d^h", "devicePath": ""}]
        assert ("SuccessfulAttachVolume", 'AttachVolume.Attach succeeded for volume "v" ') in cluster.events()
        await client.delete(PODS, "p", "default", grace_period_seconds=0)
        await cluster.settle()
        assert client.all(VOLUME_ATTACHMENTS) == []
        assert "volumesAttached" not in client.all(NODES)[0]["status"]
