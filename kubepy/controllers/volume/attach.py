"""Attaching CSI volumes to nodes and detaching them (`pkg/controller/volume/attachdetach`), by VolumeAttachments.

A key is a node: what its pods need is compared with what is attached to it. A volume stays attached while the node reports it
in use; after six minutes, or at once when the node is tainted out-of-service, it is detached by force once no pod needs it.
Known difference: only CSI volumes are attached (nothing else in the tree can be).
"""
from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from kubepy.api.errors import AlreadyExists, NotFound
from kubepy.api.pod import is_terminal, node_name
from kubepy.api.resource import CSI_DRIVERS, NODES, PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, PODS, VOLUME_ATTACHMENTS
from kubepy.api.types import Object
from kubepy.base.log import get_logger
from kubepy.client.controller import Controller, Watch
from kubepy.controllers.kit.environment import Environment

log = get_logger("attach_detach")

OUT_OF_SERVICE = "node.kubernetes.io/out-of-service"
FORCE_AFTER = 360.0
SHARED = frozenset(("ReadOnlyMany", "ReadWriteMany"))


class Need(NamedTuple):
    volume: Object
    pod: Object


class Plan(NamedTuple):
    """`blocked` are needs whose volume is attached elsewhere; `wait` is seconds until something may be detached by force."""

    attach: list[Need]
    detach: list[Object]
    blocked: list[Need]
    wait: float | None


def attachment_name(volume: Object, node: str) -> str:
    csi = volume["spec"]["csi"]
    return "csi-" + hashlib.sha256(f"{csi['volumeHandle']}{csi['driver']}{node}".encode()).hexdigest()


def unique_name(volume: Object) -> str:
    csi = volume["spec"]["csi"]
    return f"kubernetes.io/csi/{csi['driver']}^{csi['volumeHandle']}"


def claims_of(pod: Object) -> list[str]:
    found = []
    for volume in pod["spec"].get("volumes") or ():
        if volume.get("persistentVolumeClaim"):
            found.append(volume["persistentVolumeClaim"]["claimName"])
        elif volume.get("ephemeral"):
            found.append(f"{pod['metadata']['name']}-{volume['name']}")
    return found


def plan(node: Object | None, name: str, needs: Sequence[Need], attachments: Iterable[Object], volumes: Mapping[str, Object],
         released: Mapping[str, float], now: float, *, force: bool = True) -> Plan:
    """`attachments` are all there are; `released` says since when a volume (by its PV's name) has not been needed here; without `force`
    it is waited for ever until the node says that the volume is free."""
    attach: list[Need] = []
    blocked: list[Need] = []
    detach: list[Object] = []
    wait: float | None = None
    here: dict[str, Object] = {}
    elsewhere: set[str] = set()
    for item in attachments:
        volume = item["spec"]["source"].get("persistentVolumeName") or ""
        if item["spec"]["nodeName"] == name:
            here[volume] = item
        else:
            elsewhere.add(volume)
    wanted = set()
    for need in needs:
        volume = need.volume["metadata"]["name"]
        if volume in wanted:
            continue
        wanted.add(volume)
        if volume in here:
            continue
        if volume in elsewhere and not SHARED & set(need.volume["spec"].get("accessModes") or ()):
            blocked.append(need)
        else:
            attach.append(need)
    in_use = set(((node or {}).get("status") or {}).get("volumesInUse") or ())
    forced = node is None or any(taint["key"] == OUT_OF_SERVICE for taint in (node.get("spec") or {}).get("taints") or ())
    for volume, item in here.items():
        if not volume or volume in wanted or item["metadata"].get("deletionTimestamp") is not None:
            continue
        known = volumes.get(volume)
        if known is not None and unique_name(known) in in_use and not forced:
            if not force:
                continue
            left = released.get(volume, now) + FORCE_AFTER - now
            if left > 0:
                wait = left if wait is None else min(wait, left)
                continue
        detach.append(item)
    return Plan(attach, detach, blocked, wait)


def attached(node: Object, attachments: Iterable[Object], volumes: Mapping[str, Object]) -> list[Object]:
    """`status.volumesAttached`: what the kubelet may mount."""
    found = []
    for item in attachments:
        volume = volumes.get(item["spec"]["source"].get("persistentVolumeName") or "")
        if item["spec"]["nodeName"] == node["metadata"]["name"] and volume is not None and (item.get("status") or {}).get("attached"):
            path = (item["status"].get("attachmentMetadata") or {}).get("devicePath", "")
            found.append({"name": unique_name(volume), "devicePath": path})
    return sorted(found, key=lambda item: item["name"])


class Reconciler:
    def __init__(self, env: Environment) -> None:
        account = "attachdetach-controller"
        self._clock, self._client, self._recorder = env.clock, env.client_for(account), env.recorder(account, account)
        informer = env.informers.informer(PODS)
        informer.add_index("node", lambda pod: [node_name(pod)])
        self.pods, self.claims = informer.lister, env.informers.informer(PERSISTENT_VOLUME_CLAIMS).lister
        self.nodes, self.attachments = env.informers.informer(NODES).lister, env.informers.informer(VOLUME_ATTACHMENTS).lister
        self.volumes, self.drivers = env.informers.informer(PERSISTENT_VOLUMES).lister, env.informers.informer(CSI_DRIVERS).lister
        self._force = env.options.force_detach
        self._released: dict[tuple[str, str], float] = {}
        self._told: set[tuple[str, str]] = set()

    async def reconcile(self, name: str) -> float | None:
        now, node = self._clock.now(), self.nodes.get(name)
        needs = self._needs(name)
        volumes = {volume["metadata"]["name"]: volume for volume in self.volumes.list() if volume["spec"].get("csi")}
        attachments = [item for item in self.attachments.list() if item["spec"]["attacher"]]
        needed = {need.volume["metadata"]["name"] for need in needs}
        for item in attachments:
            volume = item["spec"]["source"].get("persistentVolumeName") or ""
            if item["spec"]["nodeName"] != name:
                continue
            if volume in needed:
                self._released.pop((name, volume), None)
            else:
                self._released.setdefault((name, volume), now)
        released = {volume: since for (where, volume), since in self._released.items() if where == name}
        found = plan(node, name, needs, attachments, volumes, released, now, force=self._force)
        if node is not None:
            for need in found.attach:
                await self._attach(need, name)
        for item in found.detach:
            try:
                await self._client.delete(VOLUME_ATTACHMENTS, item["metadata"]["name"], uid=item["metadata"]["uid"])
                log.info("Detaching", volume=item["spec"]["source"].get("persistentVolumeName"), node=name)
            except NotFound:
                continue
        for need in found.blocked:
            self._recorder.event(need.pod, "Warning", "FailedAttachVolume",
                                 f'Multi-Attach error for volume "{need.volume["metadata"]["name"]}" Volume is already exclusively '
                                 "attached to one node and can't be attached to another")
        if node is not None:
            self._tell(name, needs, attachments)
            await self._report(node, attachments, volumes)
        return min((value for value in (found.wait, 30.0 if found.blocked else None) if value is not None), default=None)

    def _needs(self, name: str) -> list[Need]:
        found = []
        for pod in self.pods.by_index("node", name):
            if is_terminal(pod):
                continue
            for claim_name in claims_of(pod):
                claim = self.claims.get(claim_name, pod["metadata"]["namespace"])
                volume = self.volumes.get((claim or {"spec": {}})["spec"].get("volumeName") or "")
                if claim is not None and volume is not None and self._is_attachable(volume):
                    found.append(Need(volume, pod))
        return found

    def _is_attachable(self, volume: Object) -> bool:
        csi = volume["spec"].get("csi")
        if not csi:
            return False
        driver = self.drivers.get(csi["driver"])
        return driver is None or driver["spec"].get("attachRequired") is not False

    async def _attach(self, need: Need, node: str) -> None:
        volume = need.volume["metadata"]["name"]
        try:
            await self._client.create(VOLUME_ATTACHMENTS, {
                "apiVersion": "storage.k8s.io/v1", "kind": "VolumeAttachment", "metadata": {"name": attachment_name(need.volume, node)},
                "spec": {"attacher": need.volume["spec"]["csi"]["driver"], "nodeName": node, "source": {"persistentVolumeName": volume}}})
            log.info("Attaching", volume=volume, node=node)
        except AlreadyExists:
            return

    def _tell(self, node: str, needs: Sequence[Need], attachments: Sequence[Object]) -> None:
        """Events of attachments that have come about or failed, once each."""
        mine = {item["spec"]["source"].get("persistentVolumeName"): item for item in attachments if item["spec"]["nodeName"] == node}
        for need in needs:
            volume = need.volume["metadata"]["name"]
            status = (mine.get(volume) or {}).get("status") or {}
            key = (mine[volume]["metadata"]["uid"], need.pod["metadata"]["uid"]) if volume in mine else ("", "")
            if status.get("attached") and key not in self._told:
                self._told.add(key)
                self._recorder.event(need.pod, "Normal", "SuccessfulAttachVolume", f'AttachVolume.Attach succeeded for volume "{volume}" ')
            elif status.get("attachError"):
                self._recorder.event(need.pod, "Warning", "FailedAttachVolume", f'AttachVolume.Attach failed for volume "{volume}" : '
                                     f"{status['attachError'].get('message', '')}")
        self._told &= {(item["metadata"]["uid"], pod["metadata"]["uid"]) for item in attachments for pod in self.pods.by_index(
            "node", item["spec"]["nodeName"])}

    async def _report(self, node: Object, attachments: Sequence[Object], volumes: Mapping[str, Object]) -> None:
        wanted = attached(node, attachments, volumes)
        if wanted != ((node.get("status") or {}).get("volumesAttached") or []):
            await self._client.patch(NODES, node["metadata"]["name"], {"status": {"volumesAttached": wanted or None}}, subresource="status")


def controller(env: Environment) -> Controller:
    reconciler = Reconciler(env)

    def of_pod(pod: Object) -> tuple[str, ...]:
        return (node_name(pod),) if node_name(pod) and claims_of(pod) else ()

    def of_attachment(item: Object) -> list[str]:
        """The node, and those that wait for the volume."""
        volume = item["spec"]["source"].get("persistentVolumeName")
        return [item["spec"]["nodeName"], *of_volume(volume)]

    def of_volume(volume: str | None) -> list[str]:
        known = reconciler.volumes.get(volume or "")
        ref = ((known or {}).get("spec") or {}).get("claimRef")
        return of_claim(ref["namespace"], ref["name"]) if ref else []

    def of_claim(namespace: str, name: str) -> list[str]:
        return [node_name(pod) for pod in reconciler.pods.list() if node_name(pod) and pod["metadata"]["namespace"] == namespace
                and name in claims_of(pod)]

    def became_bound(old: Object | None, new: Object | None) -> bool:
        return new is not None and bool(new["spec"].get("volumeName")) and (old is None or not old["spec"].get("volumeName"))

    def in_use_changed(old: Object | None, new: Object | None) -> bool:
        if old is None or new is None:
            return True
        before, after = old.get("status") or {}, new.get("status") or {}
        return (any(before.get(key) != after.get(key) for key in ("volumesInUse", "volumesAttached"))
                or (old.get("spec") or {}).get("taints") != (new.get("spec") or {}).get("taints"))

    watches = (
        Watch(PODS, keys=of_pod), Watch(VOLUME_ATTACHMENTS, keys=of_attachment), Watch(NODES, when=in_use_changed),
        Watch(PERSISTENT_VOLUME_CLAIMS, keys=lambda claim: of_claim(claim["metadata"]["namespace"], claim["metadata"]["name"]),
              when=became_bound),
        Watch(PERSISTENT_VOLUMES, keys=None), Watch(CSI_DRIVERS, keys=None),
    )
    return Controller("attach_detach", reconciler.reconcile, watches)
