"""ResourceSlice: devices that a driver offers (`pkg/registry/resource/resourceslice`)."""
from __future__ import annotations

import re

from kubepy.api import field, name
from kubepy.api.field import Errors, Path
from kubepy.api.resource import Resource
from kubepy.api.types import Object
from kubepy.apiserver.registry import check
from kubepy.apiserver.registry.columns import AGE, NAME, at, column
from kubepy.apiserver.registry.core.podspec_scheduling import node_selector
from kubepy.apiserver.registry.kind import Kind, Strategy
from kubepy.apiserver.registry.resource.claim_spec import driver_name
from kubepy.apiserver.request import Context

_SPEC = Path("spec")
_PLACES = ("nodeName", "nodeSelector", "allNodes", "perDeviceNodeSelection")
_ONE_PLACE = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required"
_VALUES = (("IntValue", "int"), ("BoolValue", "bool"), ("StringValue", "string"), ("VersionValue", "version"), ("IntValues", "ints"),
           ("BoolValues", "bools"), ("StringValues", "strings"), ("VersionValues", "versions"))
_SEMVER = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?(\+[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?")


class ResourceSliceStrategy(Strategy):
    tracks_generation = True
    returns_deleted = True

    def validate(self, context: Context, obj: Object) -> Errors:
        return _spec(obj.get("spec") or {})

    def validate_update(self, context: Context, obj: Object, old: Object) -> Errors:
        new, before = obj.get("spec") or {}, old.get("spec") or {}
        errors = _spec(new)
        for key, path in (("driver", _SPEC.child("driver")), ("nodeName", _SPEC.child("nodeName"))):
            errors += check.immutable(new.get(key), before.get(key), path)
        return errors + check.immutable(at(new, "pool.name"), at(before, "pool.name"), _SPEC.child("pool", "name"))


def _spec(spec: Object) -> Errors:
    errors = driver_name(spec.get("driver", ""), _SPEC.child("driver"))
    errors += _pool(spec.get("pool") or {}, _SPEC.child("pool"))
    errors += _place(spec)
    devices = spec.get("devices") or []
    if len(devices) > 128:
        return [*errors, field.too_many(_SPEC.child("devices"), len(devices), 128)]
    seen: set[str] = set()
    for position, device in enumerate(devices):
        path = _SPEC.child("devices").index(position)
        title = device.get("name", "")
        errors += check.need_named(name.label, title, path.child("name"))
        errors += _attributes(device.get("attributes") or {}, path.child("attributes"))
        for key in sorted(device.get("capacity") or {}):
            errors += _qualified(key, path.child("capacity"))
        if title in seen:
            errors.append(field.duplicate(path, title))
        seen.add(title)
    return errors


def _place(spec: Object) -> Errors:
    given = [key for key in _PLACES if spec.get(key) not in (None, "", False)]
    errors: Errors = []
    if spec.get("nodeName"):
        errors += check.named(name.subdomain, spec["nodeName"], _SPEC.child("nodeName"))
    if spec.get("nodeSelector") is not None:
        errors += node_selector(spec["nodeSelector"], _SPEC.child("nodeSelector"))
    if not given:
        errors.append(field.required(_SPEC, _ONE_PLACE))
    elif len(given) > 1:
        shown = ", ".join(f"`{key}`" for key in given)
        errors.append(field.invalid(_SPEC, f"{{{shown}}}", f"{_ONE_PLACE}, but multiple fields are set"))
    return errors


def _pool(pool: Object, path: Path) -> Errors:
    errors: Errors = []
    title = pool.get("name", "")
    if not title:
        errors.append(field.required(path.child("name")))
    else:
        for part in title.split("/"):
            errors += check.named(name.subdomain, part, path.child("name"))
    if pool.get("resourceSliceCount", 0) <= 0:
        errors.append(field.invalid(path.child("resourceSliceCount"), pool.get("resourceSliceCount", 0), "must be greater than zero"))
    if pool.get("generation", 0) < 0:
        errors.append(field.invalid(path.child("generation"), pool["generation"], "must be greater than or equal to zero"))
    return errors


def _attributes(attributes: Object, path: Path) -> Errors:
    errors: Errors = []
    for key in sorted(attributes):
        errors += _qualified(key, path)
        value = attributes[key] or {}
        here = path.key(key)
        given = [wire for _, wire in _VALUES if value.get(wire) is not None]
        if len(given) != 1:
            shown = field.Struct({go: value.get(wire) for go, wire in _VALUES}) if given else ""
            errors.append(field.invalid(here, shown, "exactly one value must be specified"))
        elif given[0] == "version" and not _SEMVER.fullmatch(value["version"]):
            errors.append(field.invalid(here.child("version"), value["version"], "must be a string compatible with semver.org spec 2.0.0"))
        elif given[0] == "string" and len(value["string"]) > 64:
            errors.append(field.too_long(here.child("string"), 64))
    return errors


def _qualified(key: str, path: Path) -> Errors:
    """validateQualifiedName: an identifier, with an optional domain."""
    domain, slash, rest = key.rpartition("/")
    errors = check.named(name.subdomain, domain, path) if slash else []
    return errors + check.named(name.c_identifier, rest, path)


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
