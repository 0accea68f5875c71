"""The spec of a ResourceClaim, also as a template's: defaults and validation (`pkg/apis/resource/validation`)."""
from __future__ import annotations

from kubepy.api import field, name
from kubepy.api.field import Errors, Path
from kubepy.api.types import Object
from kubepy.apiserver.registry import check
from kubepy.apiserver.registry.core.podspec_network_volumes import csi_driver_name
from kubepy.apiserver.registry.expression import device_selector
from kubepy.apiserver.registry.resource.device_names import full_attribute_name, opaque, toleration

_MODES = ("All", "ExactCount")
_NEITHER = "exactly one of `exactly` or `firstAvailable` is required"
_REQUEST = "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'"
_ONE_ATTRIBUTE = 'exactly one of "matchAttribute" or "distinctAttribute" is required, but multiple fields are set'
MAX_DEVICES, MAX_SELECTORS, MAX_PARAMETERS = 32, 32, 10 * 1024


def default_claim(spec: Object) -> None:
    for request in (spec.get("devices") or {}).get("requests") or ():
        for wanted in (request.get("exactly"), *(request.get("firstAvailable") or ())):
            if wanted is None:
                continue
            if not wanted.get("allocationMode"):
                wanted["allocationMode"] = "ExactCount"
            if wanted["allocationMode"] == "ExactCount" and not wanted.get("count"):
                wanted["count"] = 1
            default_tolerations(wanted)


def default_tolerations(holder: Object) -> None:
    for item in holder.get("tolerations") or ():
        item["operator"] = item.get("operator") or "Equal"


def claim_spec(spec: Object, path: Path) -> Errors:
    devices = spec.get("devices") or {}
    at = path.child("devices")
    requests = devices.get("requests") or []
    errors: Errors = []
    known = request_names(spec)
    errors += _limited(requests, 32, at.child("requests"))
    if not errors:
        seen: set[str] = set()
        for position, request in enumerate(requests):
            here = at.child("requests").index(position)
            errors += _request(request, here)
            if request.get("name", "") in seen:
                errors.append(field.duplicate(here, request.get("name", "")))
            seen.add(request.get("name", ""))
    errors += _limited(devices.get("constraints") or [], 32, at.child("constraints"))
    for position, constraint in enumerate(devices.get("constraints") or ()):
        errors += _constraint(constraint, known, at.child("constraints").index(position))
    errors += _limited(devices.get("config") or [], 32, at.child("config"))
    for position, config in enumerate(devices.get("config") or ()):
        here = at.child("config").index(position)
        errors += request_refs(config.get("requests") or [], known, here.child("requests"))
        errors += device_config(config, here)
    return errors


def request_names(spec: Object) -> set[str]:
    """What requests of a claim, and the alternatives within them, are referred to as."""
    known: set[str] = set()
    for request in (spec.get("devices") or {}).get("requests") or ():
        known.add(request.get("name", ""))
        known.update(f"{request.get('name', '')}/{sub.get('name', '')}" for sub in request.get("firstAvailable") or ())
    return known


def _limited(items: list[Object], limit: int, path: Path) -> Errors:
    return [field.too_many(path, len(items), limit)] if len(items) > limit else []


def _request(request: Object, path: Path) -> Errors:
    errors = check.named(name.label, request.get("name", ""), path.child("name"))
    exactly, first = request.get("exactly"), request.get("firstAvailable") or []
    if exactly is None and not first:
        return [*errors, field.required(path, _NEITHER)]
    if exactly is not None and first:
        return [*errors, field.invalid(path, None, f"{_NEITHER}, but multiple fields are set")]
    if exactly is not None:
        return errors + _wanted(exactly, path.child("exactly"))
    errors += _limited(first, 8, path.child("firstAvailable"))
    seen: set[str] = set()
    for position, sub in enumerate(first):
        here = path.child("firstAvailable").index(position)
        title = sub.get("name", "")
        errors += check.named(name.label, title, here.child("name"))
        errors += _wanted(sub, here)
        if title in seen:
            errors.append(field.duplicate(here, title))
        seen.add(title)
    return errors


def _wanted(wanted: Object, path: Path) -> Errors:
    errors = check.need_named(name.subdomain, wanted.get("deviceClassName", ""), path.child("deviceClassName"))
    errors += selectors(wanted.get("selectors") or [], path.child("selectors"))
    mode, count = wanted.get("allocationMode", ""), wanted.get("count", 0)
    if mode == "All":
        if count:
            errors.append(field.invalid(path.child("count"), count, "must not be specified when allocationMode is 'All'"))
    elif mode == "ExactCount":
        if count <= 0:
            errors.append(field.invalid(path.child("count"), count, "must be greater than zero"))
    else:
        errors.append(field.not_supported(path.child("allocationMode"), mode, _MODES))
    for position, item in enumerate(wanted.get("tolerations") or ()):
        errors += toleration(item, path.child("tolerations").index(position))
    return errors


def selectors(items: list[Object], path: Path) -> Errors:
    errors = _limited(items, MAX_SELECTORS, path)
    for position, selector in enumerate(items):
        here = path.index(position).child("cel")
        cel = selector.get("cel")
        if cel is None:
            errors.append(field.required(here))
        elif not cel.get("expression"):
            errors.append(field.required(here.child("expression")))
        else:
            errors += device_selector(cel["expression"], here.child("expression"))
    return errors


def request_refs(refs: list[str], known: set[str], path: Path) -> Errors:
    """Each names a request of the claim, none twice."""
    if len(refs) > MAX_DEVICES:
        return [field.too_many(path, len(refs), MAX_DEVICES)]
    errors = [error for position, ref in enumerate(refs) for error in request_ref(ref, known, path.index(position))]
    return errors + check.unique(refs, path)


def request_ref(ref: str, known: set[str], path: Path) -> Errors:
    segments = ref.split("/")
    if len(segments) > 2:
        return [field.invalid(path, ref, _REQUEST)]
    errors = [error for segment in segments for error in check.named(name.label, segment, path)]
    return errors if ref in known else [*errors, field.invalid(path, ref, _REQUEST)]


def _constraint(constraint: Object, known: set[str], path: Path) -> Errors:
    errors = request_refs(constraint.get("requests") or [], known, path.child("requests"))
    given = next((key for key in ("matchAttribute", "distinctAttribute") if constraint.get(key) is not None), "")
    if not given:
        return [*errors, field.required(path, _ONE_ATTRIBUTE)]
    return errors + full_attribute_name(constraint[given], path.child(given))


def device_config(config: Object, path: Path) -> Errors:
    if config.get("opaque") is None:
        return [field.required(path.child("opaque"))]
    return (csi_driver_name(config["opaque"].get("driver", ""), path.child("opaque", "driver"))
            + opaque(config["opaque"].get("parameters"), path.child("opaque", "parameters"), MAX_PARAMETERS))
