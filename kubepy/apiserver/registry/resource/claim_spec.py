"""The spec of a ResourceClaim, also as a template's: defaults and validation (`pkg/apis/resource/validation`)."""
from __future__ import annotations

from kubepy.api import field, name
from kubepy.api.field import Errors, Path
from kubepy.api.types import Object
from kubepy.apiserver.registry import check
from kubepy.apiserver.registry.expression import device_selector

_MODES = ("All", "ExactCount")
_NEITHER = "exactly one of `exactly` or `firstAvailable` is required"
_REQUEST = "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'"
_ONE_ATTRIBUTE = 'exactly one of "matchAttribute" or "distinctAttribute" is required, but multiple fields are set'
MAX_DEVICES, MAX_SELECTORS = 32, 32


def default_claim(spec: Object) -> None:
    for request in (spec.get("devices") or {}).get("requests") or ():
        for wanted in (request.get("exactly"), *(request.get("firstAvailable") or ())):
            if wanted is None:
                continue
            if not wanted.get("allocationMode"):
                wanted["allocationMode"] = "ExactCount"
            if wanted["allocationMode"] == "ExactCount" and not wanted.get("count"):
                wanted["count"] = 1
            for toleration in wanted.get("tolerations") or ():
                if not toleration.get("operator"):
                    toleration["operator"] = "Equal"


def claim_spec(spec: Object, path: Path) -> Errors:
    devices = spec.get("devices") or {}
    at = path.child("devices")
    requests = devices.get("requests") or []
    errors: Errors = []
    known: set[str] = set()
    for request in requests:
        known.add(request.get("name", ""))
        known.update(f"{request.get('name', '')}/{sub.get('name', '')}" for sub in request.get("firstAvailable") or ())
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
        errors += _names(config.get("requests") or [], known, here.child("requests"))
        errors += device_config(config, here)
    return errors


def _limited(items: list[Object], limit: int, path: Path) -> Errors:
    return [field.too_many(path, len(items), limit)] if len(items) > limit else []


def _request(request: Object, path: Path) -> Errors:
    errors = check.need_named(name.label, request.get("name", ""), path.child("name"))
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
        errors += check.need_named(name.label, title, here.child("name"))
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
    for position, toleration in enumerate(wanted.get("tolerations") or ()):
        errors += device_toleration(toleration, path.child("tolerations").index(position))
    return errors


def device_toleration(toleration: Object, path: Path) -> Errors:
    errors: Errors = []
    key, operator = toleration.get("key", ""), toleration.get("operator", "")
    if key:
        errors += check.named(name.qualified, key, path.child("key"))
    if operator == "Exists":
        if toleration.get("value"):
            errors.append(field.invalid(path.child("value"), toleration["value"], 'must be empty for operator `Exists`'))
    elif operator == "Equal":
        errors += check.named(name.label_value, toleration.get("value", ""), path.child("value"))
    else:
        errors.append(field.not_supported(path.child("operator"), operator, ("Equal", "Exists")))
    effect = toleration.get("effect")
    if effect:
        errors += check.one_of(effect, path.child("effect"), ("NoExecute", "NoSchedule"))
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


def _names(names: list[str], known: set[str], path: Path) -> Errors:
    errors: Errors = []
    for position, title in enumerate(names):
        if title not in known:
            errors.append(field.invalid(path.index(position), title, _REQUEST))
        if title in names[:position]:
            errors.append(field.duplicate(path.index(position), title))
    return errors


def _constraint(constraint: Object, known: set[str], path: Path) -> Errors:
    errors = _names(constraint.get("requests") or [], known, path.child("requests"))
    given = [key for key in ("matchAttribute", "distinctAttribute") if constraint.get(key) is not None]
    if len(given) != 1:
        return [*errors, field.required(path, _ONE_ATTRIBUTE) if not given else field.invalid(path, None, _ONE_ATTRIBUTE)]
    return errors + _attribute(constraint[given[0]], path.child(given[0]))


def _attribute(text: str, path: Path) -> Errors:
    domain, slash, rest = text.partition("/")
    if not text:
        return [field.required(path)]
    if not slash:
        return [field.invalid(path, text, "a fully qualified name must be a domain and a name separated by a slash")]
    errors: Errors = []
    if not domain:
        errors.append(field.invalid(path, "", "the domain must not be empty"))
    else:
        errors += check.named(name.subdomain, domain, path)
    if not rest:
        errors.append(field.invalid(path, "", "the name must not be empty"))
    else:
        errors += check.named(name.c_identifier, rest, path)
    return errors


def device_config(config: Object, path: Path) -> Errors:
    opaque = config.get("opaque")
    if opaque is None:
        return [field.required(path.child("opaque"))]
    errors = driver_name(opaque.get("driver", ""), path.child("opaque", "driver"))
    if opaque.get("parameters") is None:
        errors.append(field.required(path.child("opaque", "parameters")))
    elif not isinstance(opaque["parameters"], dict):
        errors.append(field.invalid(path.child("opaque", "parameters"), "<value omitted>", "parameters must be a valid JSON object"))
    return errors


def driver_name(text: str, path: Path) -> Errors:
    if not text:
        return [field.required(path)]
    errors = [field.too_long(path, 63)] if len(text) > 63 else []
    return errors + check.named(name.subdomain, text, path)
