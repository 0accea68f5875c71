"""Which volume suits a claim: the smallest that is large enough and has what is asked for."""
from __future__ import annotations

from collections.abc import Iterable

from kubepy.api.quantity import Quantity, quantity
from kubepy.api.selector import from_object
from kubepy.api.types import Object

BETA_CLASS = "volume.beta.kubernetes.io/storage-class"
DEFAULT_CLASS, BETA_DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"


def class_of(obj: Object) -> str:
    """The storage class of a claim or volume; the old annotation wins."""
    annotation = (obj["metadata"].get("annotations") or {}).get(BETA_CLASS)
    return str(annotation if annotation is not None else obj["spec"].get("storageClassName") or "")


def asked_for(claim: Object) -> Quantity:
    return quantity(((claim["spec"].get("resources") or {}).get("requests") or {}).get("storage"))


def capacity(volume: Object) -> Quantity:
    return quantity((volume["spec"].get("capacity") or {}).get("storage"))


def is_for(volume: Object, claim: Object) -> bool:
    """The volume's claimRef names the claim (with its UID, once the binder has written it)."""
    ref, metadata = volume["spec"].get("claimRef") or {}, claim["metadata"]
    return (ref.get("name"), ref.get("namespace")) == (metadata["name"], metadata["namespace"]) and ref.get("uid") in (
        None, "", metadata["uid"])


def mismatch(volume: Object, claim: Object) -> str | None:
    """Why a claim that names its volume cannot have it (`checkVolumeSatisfyClaim`)."""
    spec, wanted = volume["spec"], claim["spec"]
    if capacity(volume) < asked_for(claim):
        return "requested PV is too small"
    if class_of(volume) != class_of(claim):
        return "storageClassName does not match"
    if (spec.get("volumeAttributesClassName") or "") != (wanted.get("volumeAttributesClassName") or ""):
        return "volumeAttributesClassName does not match"
    if (spec.get("volumeMode") or "Filesystem") != (wanted.get("volumeMode") or "Filesystem"):
        return "incompatible volumeMode"
    if not set(wanted.get("accessModes") or ()) <= set(spec.get("accessModes") or ()):
        return "incompatible accessMode"
    return None


def suits(volume: Object, claim: Object) -> bool:
    """Size, access modes and volume mode."""
    spec, wanted = volume["spec"], claim["spec"]
    return (capacity(volume) >= asked_for(claim) and set(wanted.get("accessModes") or ()) <= set(spec.get("accessModes") or ())
            and (spec.get("volumeMode") or "Filesystem") == (wanted.get("volumeMode") or "Filesystem"))


def default_class(classes: Iterable[Object]) -> str | None:
    """The newest storage class that is marked as default; of equally new ones the first by name."""
    marked = [item for item in classes if (item["metadata"].get("annotations") or {}).get(DEFAULT_CLASS) == "true"
              or (item["metadata"].get("annotations") or {}).get(BETA_DEFAULT_CLASS) == "true"]
    newest = max((item["metadata"].get("creationTimestamp") or "" for item in marked), default="")
    return min((str(item["metadata"]["name"]) for item in marked if (item["metadata"].get("creationTimestamp") or "") == newest),
               default=None)


def find(claim: Object, volumes: Iterable[Object]) -> Object | None:
    """The volume that is meant for the claim, or the smallest free one that suits it."""
    selector = from_object(claim["spec"].get("selector") or {})
    best: Object | None = None
    for volume in volumes:
        if volume["metadata"].get("deletionTimestamp") is not None or not suits(volume, claim):
            continue
        if volume["spec"].get("claimRef"):
            if is_for(volume, claim):
                return volume
            continue
        if (volume.get("status") or {}).get("phase") in ("Released", "Failed") or class_of(volume) != class_of(claim):
            continue
        attributes = volume["spec"].get("volumeAttributesClassName") or "", claim["spec"].get("volumeAttributesClassName") or ""
        if attributes[0] != attributes[1] or not selector.matches(volume["metadata"].get("labels")):
            continue
        if best is None or (capacity(volume), volume["metadata"]["name"]) < (capacity(best), best["metadata"]["name"]):
            best = volume
    return best
