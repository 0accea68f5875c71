"""What `pods/resize` may change (`ValidatePodResize`): CPU and memory of containers of any kind, and never the QoS class."""
from __future__ import annotations

from kubepy.api import field
from kubepy.api.field import Errors, Path
from kubepy.api.types import Object
from kubepy.apiserver.registry.core.pod_qos import qos_class
from kubepy.apiserver.registry.core.pod_update import SPEC, WHOLE, same
from kubepy.apiserver.registry.core.podspec_annotations import MIRROR

_RESIZABLE = ("cpu", "memory")


def pod_resize(obj: Object, old: Object, errors: Errors) -> Errors:
    """`errors` are those of the pod as such."""
    new_spec, old_spec, status = obj.get("spec") or {}, old.get("spec") or {}, old.get("status") or {}
    if MIRROR in ((old.get("metadata") or {}).get("annotations") or {}):
        return [field.forbidden(WHOLE, "static pods cannot be resized")]
    if (old_spec.get("os") or {}).get("name") == "windows":
        return [field.forbidden(WHOLE, "windows pods cannot be resized")]
    if any([item.get("name") for item in new_spec.get(key) or ()] != [item.get("name") for item in old_spec.get(key) or ()]
           for key in ("containers", "initContainers")):
        return [*errors, field.forbidden(SPEC.child("containers"), "pod resize may not add or remove containers")]
    if qos_class(new_spec) != (status.get("qosClass") or qos_class(old_spec)):
        errors.append(field.invalid(SPEC, status.get("qosClass", ""), "Pod QOS Class may not change as a result of resizing"))
    if not _supported(status):
        errors.append(field.forbidden(SPEC, "Pod running on node without support for resize"))
    for key in ("initContainers", "containers"):
        for position, (new, before) in enumerate(zip(new_spec.get(key) or (), old_spec.get(key) or (), strict=True)):
            errors += _removed(new, before, SPEC.child(key).index(position).child("resources"))
    for key in ("containers", "initContainers"):
        for new, before in zip(new_spec.get(key) or (), old_spec.get(key) or (), strict=True):
            if not same(_rest(new), _rest(before)):
                what = "only cpu and memory resources for sidecar containers are mutable" if before.get("restartPolicy") == "Always" \
                    else "only cpu and memory resources are mutable"
                errors.append(field.forbidden(SPEC, what))
    return errors


def _supported(status: Object) -> bool:
    """A running container of a node that can resize has its resources in its status."""
    for container in status.get("containerStatuses") or ():
        if (container.get("state") or {}).get("running") is not None:
            return container.get("resources") is not None
    return True


def _removed(new: Object, old: Object, path: Path) -> Errors:
    return [field.forbidden(path.child(side), f"resource {side} cannot be removed") for side in ("requests", "limits")
            if ((old.get("resources") or {}).get(side) or {}).keys() - ((new.get("resources") or {}).get(side) or {}).keys()]


def _rest(container: Object) -> Object:
    """A container without what a resize may change."""
    resources = {side: {name: amount for name, amount in amounts.items() if name not in _RESIZABLE}
                 for side, amounts in (container.get("resources") or {}).items() if side in ("limits", "requests")}
    return {**{key: value for key, value in container.items() if key not in ("resources", "resizePolicy")}, "resources": resources}
