"""A device of a ResourceSlice: attributes, capacity, taints, shared counters, the nodes it is on."""
from __future__ import annotations

import re
from collections.abc import Callable

from kubepy.api import field, name
from kubepy.api.field import Errors, Path
from kubepy.api.quantity import quantity
from kubepy.api.types import Object
from kubepy.apiserver.registry import check
from kubepy.apiserver.registry.core.podspec_scheduling import node_selector
from kubepy.apiserver.registry.resource.capacity_policy import request_policy
from kubepy.apiserver.registry.resource.device_names import attribute_name, binding_conditions, taint

_VALUES = (("IntValue", "int"), ("BoolValue", "bool"), ("StringValue", "string"), ("VersionValue", "version"), ("IntValues", "ints"),
           ("BoolValues", "bools"), ("StringValues", "strings"), ("VersionValues", "versions"))
_MAX_PROPERTIES, _MAX_VALUE, _MAX_KEY, _MAX_TAINTS, _MAX_CONSUMPTIONS, _MAX_COUNTERS = 32, 64, 96, 16, 2, 32
_WORD = r"(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)"
_SEMVER = re.compile(rf"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-{_WORD}(\.{_WORD})*)?(\+[0-9a-zA-Z-]+(\.[0-9a-zA-Z-]+)*)?", re.ASCII)
_SEMVER_WORDS = "must be a string compatible with semver.org spec 2.0.0"
_PLACES = ("nodeName", "nodeSelector", "allNodes")
_ONE_PLACE = ("exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when `perDeviceNodeSelection` is set to true in the "
              "ResourceSlice spec")
_NO_PLACE = "`nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is set to true in the ResourceSlice spec"


def device(value: Object, old: Object | None, path: Path, each_has_place: bool) -> Errors:
    errors = check.named(name.label, value.get("name", ""), path.child("name"))
    attributes, capacity = value.get("attributes") or {}, value.get("capacity") or {}
    if len(attributes) + len(capacity) > _MAX_PROPERTIES:
        errors.append(field.invalid(path, len(attributes) + len(capacity),
                                    f"the total number of attributes and capacities must not exceed {_MAX_PROPERTIES}"))
    for key in sorted(attributes):
        errors += attribute_name(key, path.child("attributes"))
        errors += _attribute(attributes[key] or {}, path.child("attributes").key(_shortened(key)))
    if old is None or old.get("capacity") != value.get("capacity"):
        for key in sorted(capacity):
            errors += attribute_name(key, path.child("capacity"))
            shared = bool(value.get("allowMultipleAllocations"))
            errors += _capacity(capacity[key] or {}, path.child("capacity").key(_shortened(key)), shared)
    if old is None or old.get("taints") != value.get("taints"):
        errors += limited(value.get("taints") or [], _MAX_TAINTS, path.child("taints"), taint)
    consumed = value.get("consumesCounters") or []
    errors += limited(consumed, _MAX_CONSUMPTIONS, path.child("consumesCounters"), _consumption)
    errors += check.unique([item.get("counterSet", "") for item in consumed], path.child("consumesCounters"))
    return errors + _place(value, path, each_has_place) + binding_conditions(value, path)


def limited(items: list[Object], limit: int, path: Path, complaints: Callable[[Object, Path], Errors]) -> Errors:
    """What is wrong with each of the items, or that they are too many to look."""
    if len(items) > limit:
        return [field.too_many(path, len(items), limit)]
    return [error for position, item in enumerate(items) for error in complaints(item, path.index(position))]


def counters(items: Object, path: Path) -> Errors:
    if not items:
        return [field.required(path)]
    if len(items) > _MAX_COUNTERS:
        return [field.too_many(path, len(items), _MAX_COUNTERS)]
    return [error for key in sorted(items) for error in check.named(name.label, key, path)]


def _consumption(item: Object, path: Path) -> Errors:
    return (check.need_named(name.label, item.get("counterSet", ""), path.child("counterSet"))
            + counters(item.get("counters") or {}, path.child("counters")))


def _attribute(value: Object, path: Path) -> Errors:
    errors: Errors = []
    given = [wire for _, wire in _VALUES if value.get(wire) is not None]
    if value.get("string") is not None:
        errors += _short(value["string"], path.child("string"))
    if value.get("version") is not None:
        errors += [] if _SEMVER.fullmatch(value["version"]) else [field.invalid(path.child("version"), value["version"], _SEMVER_WORDS)]
        errors += _short(value["version"], path.child("version"))
    if len(given) != 1:
        shown = field.Struct({go: value.get(wire) for go, wire in _VALUES}) if given else ""
        errors.append(field.invalid(path, shown, "exactly one value must be specified"))
    return errors


def _short(text: str, path: Path) -> Errors:
    return [field.too_long(path, _MAX_VALUE)] if len(text.encode()) > _MAX_VALUE else []


def _shortened(key: str) -> str:
    """A key as the path of an error has it."""
    if len(key) <= _MAX_KEY:
        return key
    kept = _MAX_KEY - 3
    return f"{key[:(kept + 1) // 2]}...{key[len(key) - kept // 2:]}"


def _capacity(value: Object, path: Path, shared: bool) -> Errors:
    policy = value.get("requestPolicy")
    if policy is None:
        return []
    if not shared:
        return [field.forbidden(path.child("requestPolicy"), "allowMultipleAllocations must be true")]
    return request_policy(quantity(value.get("value", "0")), policy, path.child("requestPolicy"))


def _place(value: Object, path: Path, wanted: bool) -> Errors:
    if not wanted:
        return [field.invalid(path, None, _NO_PLACE)] if any(value.get(key) is not None for key in _PLACES) else []
    errors: Errors = []
    given = [f"`{key}`" for key in _PLACES if value.get(key) not in (None, "", False)]
    if value.get("nodeName"):
        errors += check.named(name.subdomain, value["nodeName"], path.child("nodeName"))
    elif value.get("nodeName") == "":
        errors.append(field.invalid(path.child("nodeName"), "", "must not be empty"))
    if value.get("nodeSelector") is not None:
        errors += node_selector(value["nodeSelector"], path.child("nodeSelector"))
    if value.get("allNodes") is False:
        errors.append(field.invalid(path.child("allNodes"), False, "must be either unset or set to true"))
    if not given:
        errors.append(field.required(path, _ONE_PLACE))
    elif len(given) > 1:
        errors.append(field.invalid(path, f"{{{', '.join(given)}}}", _ONE_PLACE))
    return errors
