"""Disks and volumes: eviction, rotation, CSI drivers."""
from __future__ import annotations

import asyncio
import hashlib
import subprocess
from dataclasses import replace

import orjson
import pytest

from kubepy.api.resource import (
    CSI_DRIVERS,
    CSI_NODES,
    NODES,
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    PODS,
    SERVICE_ACCOUNTS,
    VOLUME_ATTACHMENTS,
)
from kubepy.base.clock import SystemClock
from kubepy.kubelet.eviction.manager import Eviction
from kubepy.kubelet.pod.logrotate import LogRotation
from tests.csi import HostPathDriver
from tests.integration.kubelet.inside.world import FOREVER, World, pod, sh

pytestmark = [pytest.mark.root, pytest.mark.asyncio(loop_scope="session")]

async def test_a_full_disk_evicts_the_pod_that_fills_it(world: World) -> None:
    probe = {"exec": {"command": ["test", "-s", "/fill"]}, "periodSeconds": 1}
    await world.client.create(PODS, pod("hog", sh("dd if=/dev/zero of=/fill bs=1M count=24; " + FOREVER, readinessProbe=probe)), "default")
    await world.until(lambda: world.all_ready("hog", "web"))
    small = world.directory / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(small)], check=True)
    settings = replace(world.settings, root_dir=str(small), eviction_hard={"nodefs.available": "50%"})
    kubelet = world.kubelet
    eviction = Eviction(settings, kubelet.pods, kubelet.statistics, kubelet.events, SystemClock(), nothing_to_collect)
    await eviction.look()
    assert not eviction.pressures()

    async def counted() -> bool:  # the snapshotter does that every ten seconds
        used = {entry["podRef"]["name"]: entry["containers"][0]["rootfs"]["usedBytes"] for entry in
                (await kubelet.statistics.summary())["pods"] if entry["containers"]}
        return used.get("hog", 0) > 20 << 20

    await world.until(counted)
    (small / "data").write_bytes(bytes(12 << 20))

    await eviction.look()

    async def evicted() -> bool:
        return (await world.status("hog")).get("reason") == "Evicted"

    await world.until(evicted)
    status = await world.status("hog")
    assert status["phase"] == "Failed"
    assert status["message"].startswith("The node was low on resource: ephemeral-storage. Threshold quantity: 8Mi")
    assert eviction.pressures() == {"DiskPressure"}

    async def disrupted() -> bool:
        return "DisruptionTarget" in {entry["type"] for entry in (await world.status("hog"))["conditions"]}

    await world.until(disrupted)
    (small / "data").unlink()
    subprocess.run(["umount", str(small)], check=True)


async def nothing_to_collect() -> int:
    return 0


async def test_logs_are_rotated(world: World) -> None:
    await world.client.create(PODS, pod("chatty", sh("while :; do echo 0123456789012345678901234567890123456789; sleep 0.001; done")),
                              "default")
    await world.until(lambda: world.all_ready("chatty"))
    folder = next((world.directory / "logs").glob("default_chatty_*/c"))

    async def long_enough() -> bool:
        return (folder / "0.log").stat().st_size > 1000

    rotation = LogRotation(replace(world.settings, container_log_max_size=1000, container_log_max_files=3), world.runtime, SystemClock())
    for _ in range(4):
        await world.until(long_enough)
        await rotation.look()
        await asyncio.sleep(1.1)  # rotated files are named by the second
    names = sorted(path.name for path in folder.iterdir())
    assert names[0] == "0.log"
    assert len(names) == 3
    assert names[1].endswith(".gz")
    await world.client.delete(PODS, "chatty", "default")


async def test_volumes_of_a_csi_driver_are_staged_published_and_taken_down(world: World) -> None:
    root, client = world.directory / "root", world.client
    driver = HostPathDriver(world.directory / "csi", root)
    await driver.start()

    async def registered() -> bool:
        known = [entry["name"] for node in client.all(CSI_NODES) for entry in node["spec"]["drivers"]]
        return driver.status is not None and driver.name in known

    await world.until(registered)
    assert driver.status is not None
    assert driver.status.plugin_registered
    node = await client.get(NODES, "n1")
    assert node["metadata"]["labels"]["topology.test.kubepy.io/node"] == "n1"
    assert client.all(CSI_NODES)[0]["spec"]["drivers"] == [
        {"name": driver.name, "nodeID": "node-1", "topologyKeys": ["topology.test.kubepy.io/node"], "allocatable": {"count": 7}}]
    client.load(CSI_DRIVERS, {"apiVersion": "storage.k8s.io/v1", "kind": "CSIDriver", "metadata": {"name": driver.name}, "spec": {
        "attachRequired": True, "podInfoOnMount": True, "volumeLifecycleModes": ["Persistent", "Ephemeral"], "fsGroupPolicy": "File"}})
    client.load(PERSISTENT_VOLUMES, {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "pv1"}, "spec": {
        "accessModes": ["ReadWriteOnce"], "csi": {"driver": driver.name, "volumeHandle": "vol-1", "volumeAttributes": {"a": "b"}}}})
    client.load(PERSISTENT_VOLUME_CLAIMS, {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {
        "name": "claim", "namespace": "default"}, "spec": {"volumeName": "pv1"}, "status": {"phase": "Bound"}})
    mounts = [{"name": "v", "mountPath": "/v"}, {"name": "e", "mountPath": "/e"}]
    for name in ("csi-a", "csi-b"):
        volumes = [{"name": "v", "persistentVolumeClaim": {"claimName": "claim"}}, {"name": "e", "csi": {"driver": driver.name}}]
        await client.create(PODS, pod(name, sh(f"echo {name} >> /v/who; echo x > /e/x; stat -c %g /v/who; " + FOREVER, volumeMounts=mounts),
                                      securityContext={"fsGroup": 3000}, volumes=volumes), "default")
    await world.until(lambda: world.said("is not attached to this node"))
    name = "csi-" + hashlib.sha256(f"vol-1{driver.name}n1".encode()).hexdigest()
    client.load(VOLUME_ATTACHMENTS, {"apiVersion": "storage.k8s.io/v1", "kind": "VolumeAttachment", "metadata": {"name": name},
                                     "status": {"attached": True, "attachmentMetadata": {"lun": "5"}}})
    await world.until(lambda: world.all_ready("csi-a", "csi-b"))

    async def written() -> bool:
        return sorted((world.directory / "csi" / "vol-1" / "who").read_text().split()) == ["csi-a", "csi-b"] and \
            world.logs("csi-a") == "3000"

    await world.until(written)
    publish = next(request for kind, request in driver.calls if kind == "publish" and request.volume_id == "vol-1")
    assert dict(publish.publish_context) == {"lun": "5"}
    assert publish.volume_context["a"] == "b"
    assert publish.volume_context["csi.storage.k8s.io/pod.name"] in ("csi-a", "csi-b")
    assert world.kubelet.csi.in_use() == [f"kubernetes.io/csi/{driver.name}^vol-1"]
    await client.delete(PODS, "csi-a", "default")
    await world.until(lambda: world.gone("csi-a"))
    assert not any(kind == "unstage" for kind, _ in driver.calls), "the other pod still uses it"
    await client.delete(PODS, "csi-b", "default")
    await world.until(lambda: world.gone("csi-b"))
    kinds = [kind for kind, request in driver.calls if request.volume_id == "vol-1"]
    assert (kinds.count("unpublish"), kinds[-1]) == (2, "unstage")
    assert not world.kubelet.csi.in_use()
    assert (world.directory / "csi" / "vol-1" / "who").exists(), "what was written stays"
    await driver.stop()
    await world.until(lambda: _no_drivers(world))


async def test_a_csi_volume_grows_is_measured_and_published_again_and_a_raw_one_is_a_device(world: World) -> None:
    root, client = world.directory / "root", world.client
    driver = HostPathDriver(world.directory / "csi2", root)
    await driver.start()
    name = driver.name
    client.load(SERVICE_ACCOUNTS, {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": "default"}})
    client.load(CSI_DRIVERS, {"apiVersion": "storage.k8s.io/v1", "kind": "CSIDriver", "metadata": {"name": name}, "spec": {
        "attachRequired": False, "requiresRepublish": True, "tokenRequests": [{"audience": "vault", "expirationSeconds": 600}]}})
    for volume, mode in (("grow", "Filesystem"), ("raw", "Block")):
        client.load(PERSISTENT_VOLUMES, {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": f"pv-{volume}"}, "spec": {
            "accessModes": ["ReadWriteOnce"], "volumeMode": mode, "capacity": {"storage": "1Gi"},
            "csi": {"driver": name, "volumeHandle": volume}}})
        client.load(PERSISTENT_VOLUME_CLAIMS, {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {
            "name": volume, "namespace": "default"}, "spec": {"volumeName": f"pv-{volume}"}, "status": {
                "phase": "Bound", "capacity": {"storage": "1Gi"}}})
    await client.create(PODS, pod("csi-c", sh("test -b /dev/xvda && echo device; " + FOREVER,
                                              volumeMounts=[{"name": "v", "mountPath": "/v"}],
                                              volumeDevices=[{"name": "r", "devicePath": "/dev/xvda"}]),
                                  volumes=[{"name": "v", "persistentVolumeClaim": {"claimName": "grow"}},
                                           {"name": "r", "persistentVolumeClaim": {"claimName": "raw"}}]), "default")
    await world.until(lambda: world.all_ready("csi-c"))

    async def device() -> bool:
        return world.logs("csi-c") == "device"

    await world.until(device)
    publish = next(request for kind, request in driver.calls if kind == "publish" and request.volume_id == "grow")
    tokens = orjson.loads(publish.volume_context["csi.storage.k8s.io/serviceAccount.tokens"])
    assert set(tokens["vault"]) == {"token", "expirationTimestamp"}

    await world.kubelet.volume_statistics.measure()
    usage = {entry["name"]: entry for entry in (await world.kubelet.statistics.summary())["pods"] if entry["podRef"]["name"] == "csi-c"
             for entry in entry["volume"]}["v"]
    assert (usage["capacityBytes"], usage["usedBytes"], usage["inodesFree"], usage["pvcRef"]) == (
        1000, 400, 7, {"name": "grow", "namespace": "default"})
    samples = [sample for family in world.kubelet.volume_statistics.collect() for sample in family.samples
               if sample.name == "kubelet_volume_stats_used_bytes"]
    assert [(sample.labels["persistentvolumeclaim"], sample.value) for sample in samples if sample.value == 400] != []

    await client.patch(PERSISTENT_VOLUMES, "pv-grow", {"spec": {"capacity": {"storage": "2Gi"}}})
    before = sum(kind == "publish" for kind, _ in driver.calls)
    world.kubelet.pods.wake_all()

    async def grown() -> bool:
        claim = await client.get(PERSISTENT_VOLUME_CLAIMS, "grow", "default")
        return bool(claim["status"]["capacity"]["storage"] == "2Gi")

    await world.until(grown)
    await world.until(lambda: world.said('MountVolume.NodeExpandVolume succeeded for volume "pv-grow"'))
    expand = next(request for kind, request in driver.calls if kind == "expand")
    assert (expand.volume_id, expand.capacity_range.required_bytes) == ("grow", 2 << 30)
    assert sum(kind == "publish" for kind, _ in driver.calls) > before, "the driver wants to be asked again and again"
    await client.delete(PODS, "csi-c", "default")
    await world.until(lambda: world.gone("csi-c"))
    assert {request.volume_id for kind, request in driver.calls if kind == "unstage"} == {"grow", "raw"}
    assert not list((root / "plugins" / "kubernetes.io" / "csi" / "volumeDevices").rglob("*/raw"))
    await driver.stop()
    await world.until(lambda: _no_drivers(world))


async def _no_drivers(world: World) -> bool:
    return not any(node["spec"]["drivers"] for node in world.client.all(CSI_NODES))
