"""ResourceSlice: devices that a driver offers (`pkg/registry/resource/resourceslice`)."""
from __future__ import annotations

from kubepy.api import field, name
from kubepy.api.field import Errors, Path
from kubepy.api.resource import Resource
from kubepy.api.types import Object
from kubepy.apiserver.registry import check
from kubepy.apiserver.registry.columns import AGE, NAME, at, column
from kubepy.apiserver.registry.core.podspec_network_volumes import csi_driver_name
from kubepy.apiserver.registry.core.podspec_scheduling import node_selector
from kubepy.apiserver.registry.kind import Kind, Strategy
from kubepy.apiserver.registry.moment import now_text
from kubepy.apiserver.registry.resource.device_names import pool_name
from kubepy.apiserver.registry.resource.slice_device import counters, device, limited
from kubepy.apiserver.request import Context

_SPEC = Path("spec")
_PLACES = ("nodeName", "nodeSelector", "allNodes", "perDeviceNodeSelection")
_ONE_PLACE = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required"
_LISTS = ("bools", "ints", "strings", "versions")
_MAX_DEVICES, _MAX_ADVANCED_DEVICES, _MAX_COUNTER_SETS = 128, 64, 8


class ResourceSliceStrategy(Strategy):
    tracks_generation = True
    returns_deleted = True

    def prepare_create(self, context: Context, obj: Object) -> None:
        """A taint without a time was added now."""
        for item in at(obj, "spec.devices", []):
            for mark in item.get("taints") or ():
                if mark.get("timeAdded") is None:
                    mark["timeAdded"] = now_text()

    def prepare_update(self, context: Context, obj: Object, old: Object) -> None:
        self.prepare_create(context, obj)

    def settle(self, obj: Object) -> None:
        """DRAListTypeAttributes and DRANodeAllocatableResources are off."""
        for item in at(obj, "spec.devices", []):
            item.pop("nodeAllocatableResourceMappings", None)
            for value in (item.get("attributes") or {}).values():
                for key in _LISTS:
                    value.pop(key, None)

    def validate(self, context: Context, obj: Object) -> Errors:
        return _spec(obj.get("spec") or {}, {})

    def validate_update(self, context: Context, obj: Object, old: Object) -> Errors:
        new, before = obj.get("spec") or {}, old.get("spec") or {}
        errors = _spec(new, before)
        errors += check.immutable(at(new, "pool.name"), at(before, "pool.name"), _SPEC.child("pool", "name"))
        for key in ("driver", "nodeName"):
            errors += check.immutable(new.get(key), before.get(key), _SPEC.child(key))
        return errors


def _spec(spec: Object, before: Object) -> Errors:
    errors = csi_driver_name(spec.get("driver", ""), _SPEC.child("driver"))
    errors += _pool(spec.get("pool") or {}, _SPEC.child("pool"))
    errors += _place(spec)
    if spec.get("sharedCounters") is not None and spec.get("devices") is not None:
        errors.append(field.invalid(_SPEC, "", "only one of `sharedCounters` or `devices` is allowed"))
    devices, sets = spec.get("devices") or [], spec.get("sharedCounters") or []
    advanced = any(item.get("taints") or item.get("consumesCounters") for item in devices)
    limit = _MAX_ADVANCED_DEVICES if advanced else _MAX_DEVICES
    stored = {item.get("name", ""): item for item in before.get("devices") or ()}
    each_has_place = bool(spec.get("perDeviceNodeSelection"))
    errors += limited(devices, limit, _SPEC.child("devices"),
                      lambda item, path: device(item, stored.get(item.get("name", "")), path, each_has_place))
    if len(devices) <= limit:
        errors += check.unique([item.get("name", "") for item in devices], _SPEC.child("devices"))
    errors += limited(sets, _MAX_COUNTER_SETS, _SPEC.child("sharedCounters"), _counter_set)
    return errors + check.unique([item.get("name", "") for item in sets], _SPEC.child("sharedCounters"))


def _counter_set(item: Object, path: Path) -> Errors:
    return (check.need_named(name.label, item.get("name", ""), path.child("name"))
            + counters(item.get("counters") or {}, path.child("counters")))


def _place(spec: Object) -> Errors:
    given = [f"`{key}`" for key in _PLACES if spec.get(key) not in (None, "", False)]
    errors: Errors = []
    if spec.get("nodeName"):
        errors += check.named(name.subdomain, spec["nodeName"], _SPEC.child("nodeName"))
    elif spec.get("nodeName") == "":
        errors.append(field.invalid(_SPEC.child("nodeName"), "", "must be either unset or set to a non-empty string"))
    selector = spec.get("nodeSelector")
    if selector is not None:
        errors += node_selector(selector, _SPEC.child("nodeSelector"))
        terms = selector.get("nodeSelectorTerms") or []
        if len(terms) != 1:
            path = _SPEC.child("nodeSelector", "nodeSelectorTerms")
            errors.append(field.invalid(path, terms, "must have exactly one node selector term"))
    errors += [field.invalid(_SPEC.child(key), False, "must be either unset or set to true")
               for key in ("allNodes", "perDeviceNodeSelection") if spec.get(key) is False]
    if not given:
        errors.append(field.required(_SPEC, _ONE_PLACE))
    elif len(given) > 1:
        errors.append(field.invalid(_SPEC, f"{{{', '.join(given)}}}", f"{_ONE_PLACE}, but multiple fields are set"))
    return errors


def _pool(pool: Object, path: Path) -> Errors:
    errors = pool_name(pool.get("name", ""), path.child("name"))
    if pool.get("resourceSliceCount", 0) <= 0:
        errors.append(field.invalid(path.child("resourceSliceCount"), pool.get("resourceSliceCount", 0), "must be greater than zero"))
    if pool.get("generation", 0) < 0:
        errors.append(field.invalid(path.child("generation"), pool["generation"], "must be greater than or equal to zero"))
    return errors


KIND = Kind(
    Resource("resource.k8s.io", "v1", "resourceslices", "ResourceSlice", False),
    "resourceslice",
    ResourceSliceStrategy(),
    columns=(
        NAME,
        column("Node", "string", "=resource.v1.ResourceSliceSpec.nodeName", lambda obj: at(obj, "spec.nodeName", "")),
        column("Driver", "string", "=resource.v1.ResourceSliceSpec.driver", lambda obj: at(obj, "spec.driver", "")),
        column("Pool", "string", "=resource.v1.ResourcePool.name", lambda obj: at(obj, "spec.pool.name", "")),
        AGE,
    ),
    selectable={
        "spec.nodeName": lambda obj: at(obj, "spec.nodeName", ""),
        "spec.driver": lambda obj: at(obj, "spec.driver", ""),
    },
    unknown_field="field label not supported for resource.k8s.io/v1, Kind=ResourceSlice: {field}",
)
