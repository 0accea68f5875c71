"""Validation of resource names and amounts: container requirements, the pod's own, claims and resize policies."""
from __future__ import annotations

from collections.abc import Iterable

from kubepy.api import field, name
from kubepy.api.field import Errors, Path
from kubepy.api.quantity import ZERO, Quantity, QuantityError, parse_quantity
from kubepy.api.types import Object
from kubepy.apiserver.registry import check

HUGEPAGES = "hugepages-"
_CONTAINER = {"cpu", "memory", "ephemeral-storage"}
_OBJECT_COUNTS = {"pods", "services", "replicationcontrollers", "resourcequotas", "secrets", "configmaps", "persistentvolumeclaims",
                  "services.nodeports", "services.loadbalancers"}
QUOTA = {"cpu", "memory", "ephemeral-storage", "requests.cpu", "requests.memory", "requests.storage", "requests.ephemeral-storage",
         "limits.cpu", "limits.memory", "limits.ephemeral-storage", *_OBJECT_COUNTS}
_STANDARD = {*QUOTA, "storage"}
_POD_LEVEL = ("cpu", HUGEPAGES, "memory")


def amount(value: object) -> Quantity:
    try:
        return parse_quantity(str(value))
    except QuantityError:
        return ZERO


def is_hugepages(resource: str) -> bool:
    return resource.startswith(HUGEPAGES)


def is_standard(resource: str) -> bool:
    return resource in _STANDARD or is_hugepages(resource)


def is_native(resource: str) -> bool:
    return "/" not in resource or "kubernetes.io/" in resource


def is_extended(resource: str) -> bool:
    """IsExtendedResourceName."""
    return not is_native(resource) and not resource.startswith("requests.") and not name.qualified(f"requests.{resource}")


def is_integer(resource: str) -> bool:
    return resource in _OBJECT_COUNTS or is_extended(resource)


def overcommit_allowed(resource: str) -> bool:
    return is_native(resource) and not is_hugepages(resource)


def resource_name(resource: str, path: Path) -> Errors:
    """validateResourceName."""
    errors = check.named(name.qualified, resource, path)
    if not errors and "/" not in resource and not is_standard(resource):
        errors.append(field.invalid(path, resource, "must be a standard resource type or fully qualified"))
    return errors


def container_resource_name(resource: str, path: Path) -> Errors:
    errors = resource_name(resource, path)
    if "/" not in resource:
        if resource not in _CONTAINER and not is_hugepages(resource):
            errors.append(field.invalid(path, resource, "must be a standard resource for containers"))
    elif not is_native(resource) and not is_extended(resource):
        errors.append(field.invalid(path, resource, "doesn't follow extended resource name standard"))
    return errors


def resource_value(resource: str, value: object, path: Path) -> Errors:
    """ValidateResourceQuantityValue."""
    errors = check.quantity_non_negative(value, path)
    if is_integer(resource) and amount(value).milli_value() % 1000:
        errors.append(field.invalid(path, str(value), "must be an integer"))
    return errors


def requirements(resources: Object, claims: Iterable[str], path: Path) -> Errors:
    """ValidateContainerResourceRequirements."""
    errors: Errors = []
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    for resource in sorted(limits):
        errors += _amount(resource, limits[resource], path.child("limits").key(resource))
    for resource in sorted(requests):
        errors += _amount(resource, requests[resource], path.child("requests").key(resource))
        errors += within_limit(resource, requests[resource], limits, path)
    used = {*limits, *requests}
    if any(is_hugepages(resource) for resource in used) and not used & {"cpu", "memory"}:
        errors.append(field.forbidden(path, "HugePages require cpu or memory"))
    return errors + _claims(resources.get("claims") or [], list(claims), path.child("claims"))


def _amount(resource: str, value: object, path: Path) -> Errors:
    errors = container_resource_name(resource, path)
    errors += resource_value(resource, value, path)
    if is_hugepages(resource):
        try:
            size = parse_quantity(resource.removeprefix(HUGEPAGES)).value()
        except QuantityError:
            size = 0
        if size and amount(value).value() % size:
            errors.append(field.invalid(path, str(value), f"{value} is not positive integer multiple of {resource}"))
    return errors


def within_limit(resource: str, value: object, limits: Object, path: Path) -> Errors:
    """A request against its limit."""
    if resource in limits:
        wanted, limit = amount(value), amount(limits[resource])
        if not overcommit_allowed(resource) and wanted != limit:
            return [field.invalid(path.child("requests"), str(value), f"must be equal to {resource} limit of {limits[resource]}")]
        if wanted > limit:
            return [field.invalid(path.child("requests"), str(value),
                                  f"must be less than or equal to {resource} limit of {limits[resource]}")]
    elif not overcommit_allowed(resource):
        return [field.required(path.child("limits"), "Limit must be set for non overcommitable resources")]
    return []


def _claims(claims: list[Object], known: list[str], path: Path) -> Errors:
    errors: Errors = []
    seen: set[tuple[str, str]] = set()
    for position, claim in enumerate(claims):
        at = path.index(position)
        title, request = claim.get("name", ""), claim.get("request", "")
        if not title:
            errors.append(field.required(at))
            continue
        key = f"{title}/{request}" if request else title
        if (title, request) in seen or (title, "") in seen:
            errors.append(field.duplicate(at, key))
        seen.add((title, request))
        if title not in known:
            errors.append(_unknown_claim(at, title, known))
    return errors


def _unknown_claim(path: Path, title: str, known: list[str]) -> field.FieldError:
    detail = "must be one of the names in pod.spec.resourceClaims"
    if not known:
        detail += " which is empty"
    error = field.not_found(path, title)
    return field.FieldError(error.field, error.reason, f"{error.body}: {detail}")


def resize_policies(policies: list[Object], path: Path, pod_restart_policy: str) -> Errors:
    """validateResizePolicy; upstream reports unknown names at the list."""
    errors: Errors = []
    seen: set[str] = set()
    for position, policy in enumerate(policies):
        resource, restart = policy.get("resourceName", ""), policy.get("restartPolicy", "")
        if resource in seen:
            errors.append(field.duplicate(path.index(position), resource))
        seen.add(resource)
        errors += check.need_one_of(resource, path, ("cpu", "memory"))
        errors += check.need_one_of(restart, path, ("NotRequired", "RestartContainer"))
        if pod_restart_policy == "Never" and restart not in ("NotRequired", ""):
            errors.append(field.invalid(path, restart, "must be 'NotRequired' when `restartPolicy` is 'Never'"))
    return errors


def pod_level(spec: Object, path: Path) -> Errors:
    """validatePodResources: the pod's own requests and limits against those of its containers."""
    resources = spec.get("resources") or {}
    errors: Errors = []
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    at = path.child("resources")
    for key, amounts in (("limits", limits), ("requests", requests)):
        for resource in sorted(amounts):
            place = at.child(key).key(resource)
            if resource not in ("cpu", "memory") and not is_hugepages(resource):
                errors.append(field.not_supported(place, resource, _POD_LEVEL))
            errors += resource_value(resource, amounts[resource], place)
    for resource in sorted(requests):
        errors += within_limit(resource, requests[resource], limits, at)
    for resource in sorted(requests):
        total = sum((amount(((container.get("resources") or {}).get("requests") or {}).get(resource, "0"))
                     for container in spec.get("containers") or ()), ZERO)
        if amount(requests[resource]) < total:
            errors.append(field.invalid(at.child("requests").key(resource), str(requests[resource]),
                                        f"must be greater than or equal to aggregate container requests of {total}"))
    for position, container in enumerate(spec.get("containers") or ()):
        for resource, limit in sorted(((container.get("resources") or {}).get("limits") or {}).items()):
            if resource in limits and amount(limit) > amount(limits[resource]):
                errors.append(field.invalid(Path(f"{at.child('containers').index(position)}[{resource}].limits"), str(limit),
                                            f"must be less than or equal to pod limits of {limits[resource]}"))
    return errors
