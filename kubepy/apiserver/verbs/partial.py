"""Subresources through which only a part of an object changes: what an update by them may touch. Pure."""
from __future__ import annotations

from collections.abc import Callable

from kubepy.api.types import Object

Keep = Callable[[Object, Object], None]
"""Changes the new object so that it differs from the old one only where the subresource may."""


def _restore(obj: Object, old: Object, *, metadata: bool = True) -> None:
    """Everything as it was, but for the optimistic lock."""
    kept = {key: value for key, value in old.items() if key != "metadata"}
    version = obj["metadata"].get("resourceVersion")
    fields = {**old["metadata"], "managedFields": obj["metadata"].get("managedFields")} if metadata else dict(obj["metadata"])
    if not fields.get("managedFields"):
        fields.pop("managedFields", None)
    obj.clear()
    obj.update(kept)
    obj["metadata"] = fields
    if version is not None:
        fields["resourceVersion"] = version


def ephemeral_containers(obj: Object, old: Object) -> None:
    wanted = (obj.get("spec") or {}).get("ephemeralContainers")
    _restore(obj, old)
    obj["spec"] = {key: value for key, value in old["spec"].items() if key != "ephemeralContainers"}
    if wanted:
        obj["spec"]["ephemeralContainers"] = wanted


def resize(obj: Object, old: Object) -> None:
    """Resources and resize policies of containers that are there already."""
    spec = obj.get("spec") or {}
    lists = ("containers", "initContainers")
    names = [[[item.get("name") for item in source.get(key) or ()] for key in lists] for source in (spec, old["spec"])]
    if names[0] != names[1]:
        return  # containers came, went or changed places: validation says so
    _restore(obj, old)
    obj["spec"] = dict(old["spec"])
    for key in lists:
        if key in old["spec"]:
            obj["spec"][key] = [_resized(item, wanted) for item, wanted in zip(old["spec"][key], spec[key], strict=True)]
    if "resources" in spec:
        obj["spec"]["resources"] = spec["resources"]


def _resized(container: Object, wanted: Object) -> Object:
    kept = {key: value for key, value in container.items() if key not in ("resources", "resizePolicy")}
    return {**kept, **{key: wanted[key] for key in ("resources", "resizePolicy") if key in wanted}}


def finalize(obj: Object, old: Object) -> None:
    if "status" in old:
        obj["status"] = old["status"]
    else:
        obj.pop("status", None)


def approval(obj: Object, old: Object) -> None:
    """Approved and Denied conditions; the spec and the certificate stay."""
    conditions = (obj.get("status") or {}).get("conditions") or []
    before = {item.get("type"): item for item in (old.get("status") or {}).get("conditions") or ()}
    obj["spec"] = old.get("spec")
    kept = [before.get(item.get("type"), item) if item.get("type") not in ("Approved", "Denied") else item for item in conditions]
    status = {key: value for key, value in (old.get("status") or {}).items() if key != "conditions"}
    if kept:
        status["conditions"] = kept
    obj["status"] = status


KEEP: dict[tuple[str, str, str], Keep] = {
    ("", "pods", "ephemeralcontainers"): ephemeral_containers,
    ("", "pods", "resize"): resize,
    ("", "namespaces", "finalize"): finalize,
    ("certificates.k8s.io", "certificatesigningrequests", "approval"): approval,
}
