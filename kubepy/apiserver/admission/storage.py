"""Plugins about storage (default class, protection of what is in use, resizing) and the default ingress class."""
from __future__ import annotations

from kubepy.api.quantity import quantity
from kubepy.api.resource import INGRESSES, PERSISTENT_VOLUME_CLAIMS, STORAGE_CLASSES, Resource
from kubepy.api.types import Object
from kubepy.apiserver.admission.interface import Plugin, refuse, same
from kubepy.apiserver.request import Attributes, Operation
from kubepy.apiserver.storage.interface import ResourceStore

_BETA_CLASS = "volume.beta.kubernetes.io/storage-class"
_DEFAULT_STORAGE = ("storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class")
_DEFAULT_INGRESS = ("ingressclass.kubernetes.io/is-default-class",)
INGRESS_CLASSES = Resource("networking.k8s.io", "v1", "ingressclasses", "IngressClass", False)
_PROTECTION = {("", "persistentvolumes"): "kubernetes.io/pv-protection", ("", "persistentvolumeclaims"): "kubernetes.io/pvc-protection",
               ("storage.k8s.io", "volumeattributesclasses"): "kubernetes.io/vac-protection"}


class DefaultStorageClass(Plugin):
    name = "DefaultStorageClass"
    mutates = True

    def applies(self, resource: Resource, subresource: str, operation: Operation) -> bool:
        return same(resource, PERSISTENT_VOLUME_CLAIMS) and subresource == "" and operation == "CREATE"

    async def admit(self, attributes: Attributes) -> None:
        obj = attributes.obj
        if obj is None or claim_class(obj) is not None:
            return
        found = await newest_default(self.services.store(STORAGE_CLASSES), _DEFAULT_STORAGE)
        if found is not None:
            obj.setdefault("spec", {})["storageClassName"] = found["metadata"]["name"]


class DefaultIngressClass(Plugin):
    name = "DefaultIngressClass"
    mutates = True

    def applies(self, resource: Resource, subresource: str, operation: Operation) -> bool:
        return same(resource, INGRESSES) and subresource == "" and operation == "CREATE"

    async def admit(self, attributes: Attributes) -> None:
        obj = attributes.obj
        if obj is None or (obj.get("spec") or {}).get("ingressClassName") is not None:
            return
        if "kubernetes.io/ingress.class" in (obj["metadata"].get("annotations") or {}):
            return
        found = await newest_default(self.services.store(INGRESS_CLASSES), _DEFAULT_INGRESS)
        if found is not None:
            obj.setdefault("spec", {})["ingressClassName"] = found["metadata"]["name"]


class StorageObjectInUseProtection(Plugin):
    """A finalizer keeps volumes and claims that are in use; controllers take it away."""

    name = "StorageObjectInUseProtection"
    mutates = True

    def applies(self, resource: Resource, subresource: str, operation: Operation) -> bool:
        return (resource.group, resource.plural) in _PROTECTION and subresource == "" and operation == "CREATE"

    async def admit(self, attributes: Attributes) -> None:
        if attributes.obj is None:
            return
        resource = attributes.context.kind.resource
        finalizer = _PROTECTION[(resource.group, resource.plural)]
        finalizers = attributes.obj["metadata"].get("finalizers") or []
        if finalizer not in finalizers:
            attributes.obj["metadata"]["finalizers"] = [*finalizers, finalizer]


class PersistentVolumeClaimResize(Plugin):
    name = "PersistentVolumeClaimResize"
    validates = True

    def applies(self, resource: Resource, subresource: str, operation: Operation) -> bool:
        return same(resource, PERSISTENT_VOLUME_CLAIMS) and subresource == "" and operation == "UPDATE"

    async def admit_valid(self, attributes: Attributes) -> None:
        obj, old = attributes.obj, attributes.old
        if obj is None or old is None or _asked(obj) <= _asked(old):
            return
        name = claim_class(obj)
        entry = self.services.store(STORAGE_CLASSES).cached("", name) if name and claim_class(old) == name else None
        if entry is None or not entry.decode().get("allowVolumeExpansion"):
            raise refuse(attributes, "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc "
                                     "must support resize")


def claim_class(claim: Object) -> str | None:
    """The storage class a claim names ("" is a choice, too), or None."""
    annotation = (claim["metadata"].get("annotations") or {}).get(_BETA_CLASS)
    if annotation is not None:
        return str(annotation)
    name = (claim.get("spec") or {}).get("storageClassName")
    return None if name is None else str(name)


async def newest_default(store: ResourceStore, annotations: tuple[str, ...]) -> Object | None:
    """The newest class marked as default; of two of the same second, the first by name."""
    page = await store.list(None, resource_version="0")
    classes = [entry.decode() for entry in page.entries if b"is-default-class" in entry.raw]
    marked = [found for found in classes
              if any((found["metadata"].get("annotations") or {}).get(key) == "true" for key in annotations)]
    marked.sort(key=lambda found: str(found["metadata"]["name"]))
    return max(marked, key=lambda found: str(found["metadata"].get("creationTimestamp", "")), default=None)


def _asked(claim: Object) -> float:
    return quantity((((claim.get("spec") or {}).get("resources") or {}).get("requests") or {}).get("storage")).nano


