"""Volumes, claims and attributes classes in use are not removed (`pkg/controller/volume/{pvc,pv,vac}protection`).

Admission gives volumes and claims its finalizer; here the finalizer goes when the object is being deleted and nothing uses it, and comes
back where it is missing.
"""
from __future__ import annotations

from collections.abc import Sequence

from kubepy.api.errors import NotFound
from kubepy.api.pod import is_terminal, node_name
from kubepy.api.resource import PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, PODS, Resource
from kubepy.api.types import Object
from kubepy.client.controller import Controller, Watch
from kubepy.client.interface import Client
from kubepy.client.store import split_key
from kubepy.controllers.kit.environment import Environment

CLAIM_FINALIZER, VOLUME_FINALIZER = "kubernetes.io/pvc-protection", "kubernetes.io/pv-protection"

CLASS_FINALIZER = "kubernetes.io/vac-protection"
ATTRIBUTES_CLASSES = Resource("storage.k8s.io", "v1", "volumeattributesclasses", "VolumeAttributesClass", False)


def claims_of(pod: Object) -> Sequence[str]:
    """Keys of the claims a pod uses, those of its ephemeral volumes among them."""
    namespace, found = pod["metadata"]["namespace"], []
    for volume in pod["spec"].get("volumes") or ():
        if claim := volume.get("persistentVolumeClaim"):
            found.append(f"{namespace}/{claim['claimName']}")
        elif volume.get("ephemeral"):
            found.append(f"{namespace}/{pod['metadata']['name']}-{volume['name']}")
    return found


async def _set(client: Client, resource: Resource, obj: Object, finalizer: str, wanted: bool) -> None:
    metadata = obj["metadata"]
    current = metadata.get("finalizers") or []
    if (finalizer in current) is wanted:
        return
    changed = [*current, finalizer] if wanted else [item for item in current if item != finalizer]
    try:
        await client.update(resource, {**obj, "metadata": {**metadata, "finalizers": changed}})
    except NotFound:
        return


def claims(env: Environment) -> Controller:
    client = env.client_for("pvc-protection-controller")
    cache = env.informers.informer(PERSISTENT_VOLUME_CLAIMS).lister
    pods = env.informers.informer(PODS).lister
    pods.add_index("claim", claims_of)

    def uses(pod: Object) -> bool:
        return bool(node_name(pod)) and not is_terminal(pod)

    async def reconcile(key: str) -> None:
        namespace, name = split_key(key)
        claim = cache.get(name, namespace)
        if claim is None:
            return
        if claim["metadata"].get("deletionTimestamp") is None:
            await _set(client, PERSISTENT_VOLUME_CLAIMS, claim, CLAIM_FINALIZER, True)
        elif CLAIM_FINALIZER in (claim["metadata"].get("finalizers") or ()) and not any(map(uses, pods.by_index("claim", key))):
            # the cache may be behind: ask before letting go
            fresh = await client.list(PODS, namespace)
            if not any(uses(pod) and key in claims_of(pod) for pod in fresh["items"]):
                await _set(client, PERSISTENT_VOLUME_CLAIMS, claim, CLAIM_FINALIZER, False)

    def ended(old: Object | None, new: Object | None) -> bool:
        return new is None or is_terminal(new) or old is None

    return Controller("pvcprotection", reconcile, (Watch(PERSISTENT_VOLUME_CLAIMS), Watch(PODS, keys=claims_of, when=ended)))


def volumes(env: Environment) -> Controller:
    client = env.client_for("pv-protection-controller")
    cache = env.informers.informer(PERSISTENT_VOLUMES).lister

    async def reconcile(name: str) -> None:
        volume = cache.get(name)
        if volume is None:
            return
        if volume["metadata"].get("deletionTimestamp") is None:
            await _set(client, PERSISTENT_VOLUMES, volume, VOLUME_FINALIZER, True)
        elif (volume.get("status") or {}).get("phase") != "Bound":
            await _set(client, PERSISTENT_VOLUMES, volume, VOLUME_FINALIZER, False)

    return Controller("pvprotection", reconcile, (Watch(PERSISTENT_VOLUMES),))


def classes_of(obj: Object) -> Sequence[str]:
    """The attributes classes that a claim or a volume has, wants, or is changing to."""
    status = obj.get("status") or {}
    found = (obj["spec"].get("volumeAttributesClassName"), status.get("currentVolumeAttributesClassName"),
             (status.get("modifyVolumeStatus") or {}).get("targetVolumeAttributesClassName"))
    return list({name for name in found if name})


def classes(env: Environment) -> Controller:
    client = env.client_for("volumeattributesclass-protection-controller")
    cache = env.informers.informer(ATTRIBUTES_CLASSES).lister
    users = [env.informers.informer(resource).lister for resource in (PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES)]
    for store in users:
        store.add_index("attributes-class", classes_of)

    async def reconcile(name: str) -> None:
        found = cache.get(name)
        if found is None:
            return
        if found["metadata"].get("deletionTimestamp") is None:
            await _set(client, ATTRIBUTES_CLASSES, found, CLASS_FINALIZER, True)
        elif CLASS_FINALIZER in (found["metadata"].get("finalizers") or ()) and not any(
                store.by_index("attributes-class", name) for store in users):
            for resource in (PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES):  # the caches may be behind: ask before letting go
                if any(name in classes_of(item) for item in (await client.list(resource))["items"]):
                    return
            await _set(client, ATTRIBUTES_CLASSES, found, CLASS_FINALIZER, False)

    def left(old: Object | None, new: Object | None) -> bool:
        return old is not None and (new is None or set(classes_of(old)) != set(classes_of(new)))

    return Controller("volumeattributesclass_protection", reconcile, (
        Watch(ATTRIBUTES_CLASSES), Watch(PERSISTENT_VOLUME_CLAIMS, keys=classes_of, when=left),
        Watch(PERSISTENT_VOLUMES, keys=classes_of, when=left)))
