"""Binding claims to volumes, and following volumes whose claims have gone.

Volumes are made and deleted by provisioners (CSI drivers, or kubepy's own), which are told by annotations as upstream's
external ones are; there are no in-tree plugins. One worker: two claims never race for a volume here, and the API server's
versions keep a stale cache from giving one away twice. Volumes with the deprecated policy Recycle are scrubbed by pods (see `recycle`).
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from kubepy.api.errors import NotFound
from kubepy.api.pod import is_terminal
from kubepy.api.resource import PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, PODS, STORAGE_CLASSES, Resource
from kubepy.api.types import Object
from kubepy.base.log import get_logger
from kubepy.client.controller import Controller, Watch
from kubepy.client.store import key_of, split_key
from kubepy.controllers.kit.environment import Environment
from kubepy.controllers.protection import claims_of
from kubepy.controllers.volume.match import BETA_CLASS, class_of, default_class, find, is_for, mismatch
from kubepy.controllers.volume.recycle import PREFIX, Recycler

log = get_logger("volume")

COMPLETED, BY_CONTROLLER = "pv.kubernetes.io/bind-completed", "pv.kubernetes.io/bound-by-controller"
PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"
SELECTED_NODE = "volume.kubernetes.io/selected-node"
PROVISIONER, BETA_PROVISIONER = "volume.kubernetes.io/storage-provisioner", "volume.beta.kubernetes.io/storage-provisioner"
NO_PROVISIONER = "kubernetes.io/no-provisioner"


def notes(obj: Object) -> dict[str, str]:
    return obj["metadata"].get("annotations") or {}


class Reconciler:
    def __init__(self, env: Environment) -> None:
        self._client = env.client_for("persistent-volume-binder")
        self._recorder = env.recorder("persistentvolume-controller", "persistent-volume-binder")
        self._period = env.options.pvclaimbinder_sync_period
        self._claims = env.informers.informer(PERSISTENT_VOLUME_CLAIMS).lister
        self._volumes = env.informers.informer(PERSISTENT_VOLUMES).lister
        self._volumes.add_index("claim", _claim_of)
        self._classes = env.informers.informer(STORAGE_CLASSES).lister
        self._pods = env.informers.informer(PODS).lister
        self._pods.add_index("claim", claims_of)
        self._recycler = Recycler(self._client, self._recorder, env.options.recycling, env.tasks, env.clock)

    async def reconcile(self, key: str) -> float | None:
        """Keys are `claim:namespace/name` and `volume:name`."""
        kind, _, name = key.partition(":")
        if kind == "volume":
            volume = self._volumes.get(name)
            if volume is None:
                self._recycler.forget_gone(item["metadata"]["uid"] for item in self._volumes.list())
                return None
            return await self._sync_volume(volume)
        namespace, claim_name = split_key(name)
        claim = self._claims.get(claim_name, namespace)
        if claim is None:
            return None
        if COMPLETED in notes(claim):
            await self._sync_bound(claim)
            return None
        if claim["metadata"].get("deletionTimestamp") is not None:
            return None
        return await self._sync_unbound(claim)

    async def _sync_unbound(self, claim: Object) -> float | None:
        name = claim["spec"].get("volumeName")
        if name:
            return await self._bind_named(claim, name)
        volume = None if self._waits(claim) and not self._meant(claim) else find(claim, self._volumes.list())
        if volume is not None:
            await self._bind(volume, claim)
            return None
        if (name := self._missing_class(claim)) is not None:
            await self._client.update(PERSISTENT_VOLUME_CLAIMS, {**claim, "spec": {**claim["spec"], "storageClassName": name}})
            return None  # its change brings it back
        await self._set_phase(PERSISTENT_VOLUME_CLAIMS, claim, "Pending")
        return await self._provision(claim)

    def _missing_class(self, claim: Object) -> str | None:
        """A default class that came after the claim is given to it; a claim that wants none says so with an empty name."""
        if claim["spec"].get("storageClassName") is not None or BETA_CLASS in notes(claim):
            return None
        return default_class(self._classes.list())

    async def _bind_named(self, claim: Object, name: str) -> float | None:
        volume = self._volumes.get(name)
        if volume is not None and (not volume["spec"].get("claimRef") or is_for(volume, claim)):
            why = mismatch(volume, claim)
            if why is None:
                await self._bind(volume, claim)
                return None
            self._tell(claim, "Warning", "VolumeMismatch", f'Cannot bind to requested volume "{name}": {why}')
        elif volume is not None:
            self._tell(claim, "Warning", "FailedBinding", f'volume "{name}" already bound to a different claim.')
        await self._set_phase(PERSISTENT_VOLUME_CLAIMS, claim, "Pending")
        return self._period

    def _waits(self, claim: Object) -> bool:
        """Binding is left until a pod that uses the claim is scheduled."""
        found = self._classes.get(class_of(claim)) if class_of(claim) else None
        return found is not None and found.get("volumeBindingMode") == "WaitForFirstConsumer" and SELECTED_NODE not in notes(claim)

    def _meant(self, claim: Object) -> bool:
        """A volume names the claim already (its administrator, or the scheduler)."""
        return any(volume["spec"].get("claimRef") and is_for(volume, claim) for volume in self._volumes.list())

    async def _provision(self, claim: Object) -> float | None:
        name = class_of(claim)
        if not name:
            self._tell(claim, "Normal", "FailedBinding", "no persistent volumes available for this claim and no storage class is set")
            return self._period
        if self._waits(claim):
            users = sorted(pod["metadata"]["name"] for pod in self._pods.by_index("claim", key_of(claim)) if not is_terminal(pod))
            if users:
                self._tell(claim, "Normal", "WaitForPodScheduled", f"waiting for pod{'s' if len(users) > 1 else ''} "
                           f"{','.join(users)} to be scheduled")
            else:
                self._tell(claim, "Normal", "WaitForFirstConsumer", "waiting for first consumer to be created before binding")
            return self._period
        storage_class = self._classes.get(name)
        if storage_class is None:
            self._tell(claim, "Warning", "ProvisioningFailed", f'storageclass.storage.k8s.io "{name}" not found')
            return self._period
        provisioner = storage_class["provisioner"]
        if provisioner == NO_PROVISIONER:
            return self._period
        if notes(claim).get(PROVISIONER) != provisioner:
            both = {PROVISIONER: provisioner, BETA_PROVISIONER: provisioner}
            claim = await self._annotate(PERSISTENT_VOLUME_CLAIMS, claim, both, claim["spec"])
        self._tell(claim, "Normal", "ExternalProvisioning",
                   f"Waiting for a volume to be created either by the external provisioner '{provisioner}' or manually by the system "
                   "administrator. If volume creation is delayed, please verify that the provisioner is running and correctly registered.")
        return self._period

    async def _bind(self, volume: Object, claim: Object) -> None:
        """Volume first, claim second: whoever finds one half done can finish it."""
        metadata = claim["metadata"]
        ref = volume["spec"].get("claimRef") or {}
        if ref.get("uid") != metadata["uid"]:
            full = {"kind": "PersistentVolumeClaim", "namespace": metadata["namespace"], "name": metadata["name"], "uid": metadata["uid"],
                    "apiVersion": "v1", "resourceVersion": metadata["resourceVersion"]}
            marks = {} if ref else {BY_CONTROLLER: "yes"}
            volume = await self._annotate(PERSISTENT_VOLUMES, volume, marks, {**volume["spec"], "claimRef": full})
        volume = await self._set_phase(PERSISTENT_VOLUMES, volume, "Bound")
        name = volume["metadata"]["name"]
        if claim["spec"].get("volumeName") != name or COMPLETED not in notes(claim):
            marks = {COMPLETED: "yes"} | ({} if claim["spec"].get("volumeName") else {BY_CONTROLLER: "yes"})
            claim = await self._annotate(PERSISTENT_VOLUME_CLAIMS, claim, marks, {**claim["spec"], "volumeName": name})
        status = {**(claim.get("status") or {}), "phase": "Bound", "accessModes": volume["spec"].get("accessModes") or [],
                  "capacity": (claim.get("status") or {}).get("capacity") or volume["spec"].get("capacity") or {}}
        if status != (claim.get("status") or {}):
            await self._client.update(PERSISTENT_VOLUME_CLAIMS, {**claim, "status": status}, subresource="status")
            log.info("Claim bound", claim=key_of(claim), volume=name)

    async def _sync_bound(self, claim: Object) -> None:
        name = claim["spec"].get("volumeName")
        volume = self._volumes.get(name) if name else None
        if volume is None:
            message = "its PersistentVolume" if name else "reference to PersistentVolume"
            await self._lose(claim, "ClaimLost", f"Bound claim has lost {message}. Data on the volume is lost!")
        elif not volume["spec"].get("claimRef") or is_for(volume, claim):
            await self._bind(volume, claim)
        else:
            await self._lose(claim, "ClaimMisbound", "Two claims are bound to the same volume, this one is bound incorrectly")

    async def _lose(self, claim: Object, reason: str, message: str) -> None:
        if (claim.get("status") or {}).get("phase") != "Lost":
            await self._set_phase(PERSISTENT_VOLUME_CLAIMS, claim, "Lost")
            self._tell(claim, "Warning", reason, message)

    async def _sync_volume(self, volume: Object) -> float | None:
        ref = volume["spec"].get("claimRef")
        if not ref or not ref.get("uid"):
            await self._set_phase(PERSISTENT_VOLUMES, volume, "Available")
            return None
        claim = self._claims.get(ref["name"], ref["namespace"])
        if claim is None or claim["metadata"]["uid"] != ref["uid"]:
            claim = await self._live_claim(ref)
        if claim is None:
            return await self._release(volume)
        if claim["spec"].get("volumeName") == volume["metadata"]["name"]:
            await self._set_phase(PERSISTENT_VOLUMES, volume, "Bound")
        elif claim["spec"].get("volumeName"):  # the claim went to another volume
            if PROVISIONED_BY in notes(volume) and volume["spec"].get("persistentVolumeReclaimPolicy") == "Delete":
                return await self._release(volume)
            await self._unbind(volume)
        return None

    async def _live_claim(self, ref: Object) -> Object | None:
        """The cache may be behind: data is not given up on its word alone."""
        try:
            claim = await self._client.get(PERSISTENT_VOLUME_CLAIMS, ref["name"], ref["namespace"])
        except NotFound:
            return None
        return claim if claim["metadata"]["uid"] == ref["uid"] else None

    async def _release(self, volume: Object) -> float | None:
        phase = (volume.get("status") or {}).get("phase")
        if phase not in ("Released", "Failed"):
            volume = await self._set_phase(PERSISTENT_VOLUMES, volume, "Released")
        policy = volume["spec"].get("persistentVolumeReclaimPolicy") or "Retain"
        if policy == "Recycle":
            return await self._recycle(volume)
        if policy == "Retain" or (policy == "Delete" and PROVISIONED_BY in notes(volume)) or phase == "Failed":
            return None
        await self._set_phase(PERSISTENT_VOLUMES, volume, "Failed")
        self._tell(volume, "Warning", "VolumeFailedDelete", "no deletable volume plugin matched")
        return None

    async def _recycle(self, volume: Object) -> float | None:
        """A volume that could not be recycled is tried again, more and more seldom."""
        ref = volume["spec"]["claimRef"]
        users = [pod["metadata"]["name"] for pod in self._pods.by_index("claim", f"{ref['namespace']}/{ref['name']}")
                 if not is_terminal(pod)]
        if users:
            self._tell(volume, "Normal", "VolumeFailedRecycle", f"Volume is used by pods: {','.join(sorted(users))}")
            return self._period
        if (wait := self._recycler.rests(volume)) > 0:
            return wait
        if not self._recycler.is_at(volume) and not await self._still_released(volume):
            return None  # the cache is behind: what is scrubbed may be in use already
        step = await self._recycler.step(volume)
        if step.state == "running":
            return self._period
        if step.state == "recycled":
            self._tell(volume, "Normal", "VolumeRecycled", "Volume recycled")
            await self._unbind(volume)
            return None
        message = step.message if step.state == "impossible" else f"Recycle failed: {step.message}"
        if (volume.get("status") or {}).get("phase") != "Failed":
            self._tell(volume, "Warning", "VolumeFailedRecycle", message)
            await self._set_phase(PERSISTENT_VOLUMES, volume, "Failed")
        return None if step.state == "impossible" else self._recycler.rests(volume)

    async def _still_released(self, volume: Object) -> bool:
        try:
            live = await self._client.get(PERSISTENT_VOLUMES, volume["metadata"]["name"])
        except NotFound:
            return False
        return bool((live["spec"].get("claimRef") or {}).get("uid") == volume["spec"]["claimRef"]["uid"]
                    and live["metadata"]["uid"] == volume["metadata"]["uid"])

    async def _unbind(self, volume: Object) -> None:
        """Gives back a volume that its claim does not use; a user's own claimRef keeps its name."""
        ref = volume["spec"]["claimRef"]
        spec = {**volume["spec"], "claimRef": {key: value for key, value in ref.items() if key not in ("uid", "resourceVersion")}}
        if BY_CONTROLLER in notes(volume):
            del spec["claimRef"]
        kept = {key: value for key, value in notes(volume).items() if key != BY_CONTROLLER}
        volume = await self._client.update(PERSISTENT_VOLUMES, {
            **volume, "metadata": {**volume["metadata"], "annotations": kept}, "spec": spec})
        await self._set_phase(PERSISTENT_VOLUMES, volume, "Available")

    async def _annotate(self, resource: Resource, obj: Object, marks: dict[str, str], spec: Object) -> Object:
        return await self._client.update(resource, {
            **obj, "metadata": {**obj["metadata"], "annotations": {**notes(obj), **marks}}, "spec": spec})

    async def _set_phase(self, resource: Resource, obj: Object, phase: str) -> Object:
        status = obj.get("status") or {}
        if status.get("phase") == phase:
            return obj
        return await self._client.update(resource, {**obj, "status": {**status, "phase": phase}}, subresource="status")

    def _tell(self, obj: Object, type: Literal["Normal", "Warning"], reason: str, message: str) -> None:
        self._recorder.event(obj, type, reason, message)

    def keys_of_volume(self, volume: Object) -> Sequence[str]:
        """The volume, and the claims it may be for: the one it names, or (when it is free) all that wait."""
        ref = volume["spec"].get("claimRef")
        waiting = [f"claim:{ref['namespace']}/{ref['name']}"] if ref else [
            f"claim:{key_of(claim)}" for claim in self._claims.list() if COMPLETED not in notes(claim)]
        return (f"volume:{volume['metadata']['name']}", *waiting)

    def keys_of_claim(self, claim: Object) -> Sequence[str]:
        """The claim, and its volumes: the one it names and those that name it."""
        names = {volume["metadata"]["name"] for volume in self._volumes.by_index("claim", key_of(claim))}
        if claim["spec"].get("volumeName"):
            names.add(claim["spec"]["volumeName"])
        return (f"claim:{key_of(claim)}", *(f"volume:{name}" for name in names))

    def keys_of_class(self, storage_class: Object) -> Sequence[str]:
        """The claims of the class; those without any may get it as the default."""
        name = storage_class["metadata"]["name"]
        return [f"claim:{key_of(claim)}" for claim in self._claims.list()
                if class_of(claim) in (name, "") and COMPLETED not in notes(claim)]


def _claim_of(volume: Object) -> Sequence[str]:
    ref = volume["spec"].get("claimRef")
    return (f"{ref['namespace']}/{ref['name']}",) if ref else ()


def _volumes_of_recycler(pod: Object) -> Sequence[str]:
    name: str = pod["metadata"]["name"]
    return (f"volume:{name.removeprefix(PREFIX)}",) if name.startswith(PREFIX) else ()


def controller(env: Environment) -> Controller:
    reconciler = Reconciler(env)
    watches = (
        Watch(PERSISTENT_VOLUMES, keys=reconciler.keys_of_volume),
        Watch(PERSISTENT_VOLUME_CLAIMS, keys=reconciler.keys_of_claim),
        Watch(STORAGE_CLASSES, keys=reconciler.keys_of_class),
        Watch(PODS, keys=_volumes_of_recycler),
    )
    return Controller("persistentvolume_binder", reconciler.reconcile, watches)
