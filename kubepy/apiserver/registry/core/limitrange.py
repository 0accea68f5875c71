"""LimitRange: bounds and defaults for resources in a namespace (`pkg/registry/core/limitrange`)."""
from __future__ import annotations

from kubepy.api import field, name
from kubepy.api.field import Errors, Path
from kubepy.api.resource import LIMIT_RANGES
from kubepy.api.types import Object
from kubepy.apiserver.registry import check
from kubepy.apiserver.registry.columns import PLAIN, at
from kubepy.apiserver.registry.core.podspec_defaults import round_to_milli
from kubepy.apiserver.registry.core.podspec_resources import amount, container_resource_name, overcommit_allowed, resource_name
from kubepy.apiserver.registry.kind import Kind, Strategy
from kubepy.apiserver.request import Context

_LISTS = ("max", "min", "default", "defaultRequest", "maxLimitRequestRatio")


class LimitRangeStrategy(Strategy):
    null_when_empty = (("spec", "limits"),)
    allow_create_on_update = True

    def fill(self, obj: Object) -> None:
        for limit in at(obj, "spec.limits", []):
            for key in _LISTS:
                if limit.get(key):
                    round_to_milli(limit[key])
            if limit.get("type") == "Container":
                default = limit.setdefault("default", {})
                for resource, value in (limit.get("max") or {}).items():
                    default.setdefault(resource, value)
                requests = limit.setdefault("defaultRequest", {})
                for source in (default, limit.get("min") or {}):
                    for resource, value in source.items():
                        requests.setdefault(resource, value)
                for key in ("default", "defaultRequest"):
                    if not limit[key]:
                        del limit[key]

    def validate(self, context: Context, obj: Object) -> Errors:
        errors: Errors = []
        seen: set[str] = set()
        for position, limit in enumerate(at(obj, "spec.limits", [])):
            path = Path("spec.limits").index(position)
            kind = limit.get("type", "")
            errors += _type(kind, path.child("type"))
            if kind in seen:
                errors.append(field.duplicate(path.child("type"), kind))
            seen.add(kind)
            errors += _limit(limit, kind, path)
        return errors


def _type(kind: str, path: Path) -> Errors:
    errors = check.named(name.qualified, kind, path)
    if not errors and "/" not in kind and kind not in ("Pod", "Container", "PersistentVolumeClaim"):
        errors.append(field.invalid(path, kind, "must be a standard limit type or fully qualified"))
    return errors


def _limit(limit: Object, kind: str, path: Path) -> Errors:
    given = {key: limit.get(key) or {} for key in _LISTS}

    def names(key: str) -> Errors:
        check_name = container_resource_name if kind in ("Pod", "Container") else resource_name
        return [error for resource in sorted(given[key]) for error in check_name(resource, path.child(key).key(resource))]

    errors = names("max") + names("min")
    for key in ("default", "defaultRequest"):
        if kind != "Pod":
            errors += names(key)
        elif given[key]:
            errors.append(field.forbidden(path.child(key), "may not be specified when `type` is 'Pod'"))
            given[key] = {}
    if kind == "PersistentVolumeClaim" and "storage" not in given["min"] and "storage" not in given["max"]:
        errors.append(field.required(path.child("limits"), "either minimum or maximum storage value is required, but neither was provided"))
    errors += names("maxLimitRequestRatio")
    for resource in sorted({title for key in _LISTS for title in given[key]}):
        errors += _order(given, resource, path)
    return errors


def _order(given: dict[str, Object], resource: str, path: Path) -> Errors:
    """min ≤ defaultRequest ≤ default ≤ max, and a ratio that makes sense."""
    errors: Errors = []
    low, request, default, high, ratio = (given[key].get(resource)
                                          for key in ("min", "defaultRequest", "default", "max", "maxLimitRequestRatio"))

    def above(key: str, one: object, word: str, other: object) -> None:
        if one is not None and other is not None and amount(one) > amount(other):
            errors.append(field.invalid(path.child(key).key(resource), str(one),
                                        f"{_WORDS[key]} value {one} is greater than {word} value {other}"))

    above("min", low, "max", high)
    if low is not None and request is not None and amount(low) > amount(request):
        errors.append(field.invalid(path.child("defaultRequest").key(resource), str(request),
                                    f"min value {low} is greater than default request value {request}"))
    above("defaultRequest", request, "max", high)
    above("defaultRequest", request, "default limit", default)
    if low is not None and default is not None and amount(low) > amount(default):
        errors.append(field.invalid(path.child("default").key(resource), str(low),
                                    f"min value {low} is greater than default value {default}"))
    if default is not None and high is not None and amount(default) > amount(high):
        errors.append(field.invalid(path.child("default").key(resource), str(high),
                                    f"default value {default} is greater than max value {high}"))
    if ratio is not None and amount(ratio) < amount("1"):
        errors.append(field.invalid(path.child("maxLimitRequestRatio").key(resource), str(ratio), f"ratio {ratio} is less than 1"))
    spread = amount(high).as_float() / amount(low).as_float() if high is not None and low is not None and amount(low) else None
    if ratio is not None and spread is not None and amount(ratio).as_float() > spread:
        errors.append(field.invalid(path.child("maxLimitRequestRatio").key(resource), str(ratio),
                                    f"ratio {ratio} is greater than max/min = {spread:f}"))
    if default is not None and request is not None and not overcommit_allowed(resource) and amount(default) != amount(request):
        errors.append(field.invalid(path.child("defaultRequest").key(resource), str(request),
                                    f"default value {default} must equal to defaultRequest value {request} in {resource}"))
    return errors


_WORDS = {"min": "min", "defaultRequest": "default request"}

KIND = Kind(LIMIT_RANGES, "limitrange", LimitRangeStrategy(), columns=PLAIN, short_names=("limits",))
