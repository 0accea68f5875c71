"""Validation of resource names and amounts: container requirements, the pod's own, claims and resize policies."""
from __future__ import annotations

from collections.abc import Callable, Iterable

from kubepy.api import field, name
from kubepy.api.field import Errors, Path
from kubepy.api.quantity import ZERO, Quantity, QuantityError, parse_quantity
from kubepy.api.quota import pod_totals
from kubepy.api.scheduling import pod_level_resource
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
    return resource in _STANDARD or is_hugepages(resource.removeprefix("requests."))


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


def requirements(resources: Object, claims: Iterable[str], path: Path,
                 names: Callable[[str, Path], Errors] = container_resource_name) -> Errors:
    """validateResourceRequirements; `names` says which resources there are (containers and pods differ)."""
    errors: Errors = []
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    for resource in sorted(limits):
        at = path.child("limits").key(resource)
        errors += names(resource, at) + resource_value(resource, limits[resource], at) + _pages(resource, limits[resource], at)
    for resource in sorted(requests):
        at = path.child("requests").key(resource)
        errors += names(resource, at) + resource_value(resource, requests[resource], at)
        errors += within_limit(resource, requests[resource], limits, path) + _pages(resource, requests[resource], at)
    used = {*limits, *requests}
    if any(is_hugepages(resource) for resource in used) and not used & {"cpu", "memory"}:
        errors.append(field.forbidden(path, "HugePages require cpu or memory"))
    return errors + _claims(resources.get("claims") or [], list(claims), path.child("claims"))


def _pages(resource: str, value: object, path: Path) -> Errors:
    """Huge pages come whole."""
    if not is_hugepages(resource):
        return []
    try:
        size = parse_quantity(resource.removeprefix(HUGEPAGES))
    except QuantityError:
        size = ZERO
    if size.sign() > 0 and size.milli_value() % 1000 == 0 and amount(value).value() % size.value() == 0:
        return []
    return [field.invalid(path, str(value), f"{value} is not positive integer multiple of {resource}")]


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
    """validateResourceClaimNames: a claim, or some of its requests, once."""
    errors: Errors = []
    seen: set[str] = set()
    for position, claim in enumerate(claims):
        at = path.index(position)
        title, request = claim.get("name", ""), claim.get("request", "")
        if not title:
            errors.append(field.required(at))
            continue
        if title in seen:
            errors.append(field.duplicate(at, title))
        else:
            key = f"{title}/{request}" if request else title
            if request:
                errors += check.named(name.label, request, at.child("request"))
            if key in seen:
                errors.append(field.duplicate(at, key))
            elif not request:
                errors += [field.duplicate(at, title) for other in seen if other.startswith(f"{title}/")]
            seen.add(key)
        if title not in known:
            errors.append(_unknown_claim(at, title, known))
    return errors


def _unknown_claim(path: Path, title: str, known: list[str]) -> field.FieldError:
    detail = "must be one of the names in pod.spec.resourceClaims"
    detail += f": {', '.join(sorted(set(known)))}" if known else " which is empty"
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
        if pod_restart_policy == "Never" and restart != "NotRequired":
            errors.append(field.invalid(path, restart, "must be 'NotRequired' when `restartPolicy` is 'Never'"))
    return errors


def pod_level(spec: Object, path: Path) -> Errors:
    """validatePodResources: the pod's own requests and limits against those of its containers."""
    resources, at = spec.get("resources") or {}, path.child("resources")
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    errors: Errors = []
    if resources.get("claims") is not None:
        errors.append(field.forbidden(at.child("claims"), "claims cannot be set for Resources at pod-level"))
    errors += requirements(resources, [claim.get("name", "") for claim in spec.get("resourceClaims") or ()], at, _pod_resource_name)
    asked = pod_totals({"spec": {key: spec.get(key) for key in ("containers", "initContainers")}}, "requests")
    for resource in sorted(requests):
        if resource in asked and amount(requests[resource]) < asked[resource]:
            errors.append(field.invalid(at.child("requests").key(resource), str(requests[resource]),
                                        f"must be greater than or equal to aggregate container requests of {asked[resource]}"))
    for position, container in enumerate(spec.get("containers") or ()):
        for resource, limit in sorted(((container.get("resources") or {}).get("limits") or {}).items()):
            if resource in limits and amount(limit) > amount(limits[resource]):
                errors.append(field.invalid(Path(f"{at.child('containers').index(position)}[{resource}].limits"), str(limit),
                                            f"must be less than or equal to pod limits of {limits[resource]}"))
    return errors


def _pod_resource_name(resource: str, path: Path) -> Errors:
    errors = resource_name(resource, path)
    if not errors and not pod_level_resource(resource):
        errors.append(field.not_supported(path, resource, _POD_LEVEL))
    return errors
