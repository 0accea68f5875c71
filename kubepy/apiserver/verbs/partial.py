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
    _restore(obj, old)
    obj["spec"] = dict(old["spec"])
    for field in ("containers", "initContainers"):
        wanted = {item.get("name"): item for item in spec.get(field) or ()}
        if field in old["spec"]:
            obj["spec"][field] = [_resized(item, wanted.get(item["name"])) for item in old["spec"][field]]
    if "resources" in spec:
        obj["spec"]["resources"] = spec["resources"]


def _resized(container: Object, wanted: Object | None) -> Object:
    if wanted is None:
        return container
    changed = dict(container)
    for field in ("resources", "resizePolicy"):
        if field in wanted:
            changed[field] = wanted[field]
    return changed


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
