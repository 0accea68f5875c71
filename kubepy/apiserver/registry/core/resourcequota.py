"""ResourceQuota: what a namespace may use in all (`pkg/registry/core/resourcequota`)."""
from __future__ import annotations

from kubepy.api import field
from kubepy.api.field import Errors, Path
from kubepy.api.resource import RESOURCE_QUOTAS
from kubepy.api.types import Object
from kubepy.apiserver.registry.columns import AGE, NAME, at, column
from kubepy.apiserver.registry.core.podspec_defaults import round_to_milli
from kubepy.apiserver.registry.core.podspec_resources import QUOTA, is_hugepages, resource_name, resource_value
from kubepy.apiserver.registry.kind import STATUS, Kind, Strategy
from kubepy.apiserver.request import Context

_SPEC = Path("spec")
_SCOPES = {"Terminating", "NotTerminating", "BestEffort", "NotBestEffort", "PriorityClass", "CrossNamespacePodAffinity",
           "VolumeAttributesClass"}
_EXISTS_ONLY = ("Terminating", "NotTerminating", "BestEffort", "NotBestEffort", "CrossNamespacePodAffinity")
_EXISTS_WORDS = ("must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, "
                 "ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity")
_CONFLICTS = (("Terminating", "NotTerminating"), ("BestEffort", "NotBestEffort"))
_COMPUTE = {"cpu", "memory", "pods", "limits.cpu", "limits.memory", "requests.cpu", "requests.memory"}


class ResourceQuotaStrategy(Strategy):
    has_status = True
    returns_deleted = True

    def fill(self, obj: Object) -> None:
        for path in ("spec.hard", "status.hard", "status.used"):
            amounts = at(obj, path)
            if amounts:
                round_to_milli(amounts)

    def validate(self, context: Context, obj: Object) -> Errors:
        spec = obj.get("spec") or {}
        errors = _amounts(spec.get("hard") or {}, _SPEC.child("hard"))
        return errors + _scopes(spec) + _selector(spec)

    def validate_update(self, context: Context, obj: Object, old: Object) -> Errors:
        errors = self.validate(context, obj)
        new, before = obj.get("spec") or {}, old.get("spec") or {}
        if sorted(new.get("scopes") or ()) != sorted(before.get("scopes") or ()):
            errors.append(field.invalid(_SPEC.child("scopes"), new.get("scopes"), "field is immutable"))
        return errors

    def validate_status(self, context: Context, obj: Object, old: Object) -> Errors:
        status = obj.get("status") or {}
        return [error for key in ("hard", "used") for error in _amounts(status.get(key) or {}, Path("status").child(key))]


def _amounts(amounts: Object, path: Path) -> Errors:
    errors: Errors = []
    for resource in sorted(amounts):
        at_key = path.key(resource)
        errors += resource_name(resource, at_key)
        if "/" not in resource and resource not in QUOTA and not is_hugepages(resource.removeprefix("requests.")):
            errors.append(field.invalid(at_key, resource, "must be a standard resource for quota"))
        errors += resource_value(resource, amounts[resource], at_key)
    return errors


def _scopes(spec: Object) -> Errors:
    scopes = spec.get("scopes") or []
    path = _SPEC.child("scopes")
    errors: Errors = []
    for scope in scopes:
        if scope not in _SCOPES:
            errors.append(field.invalid(path, scopes, "unsupported scope"))
        else:
            errors += [field.invalid(path, scopes, "unsupported scope applied to resource")
                       for resource in sorted(spec.get("hard") or ()) if _unfit(scope, resource)]
    errors += [field.invalid(path, scopes, "conflicting scopes") for pair in _CONFLICTS if set(pair) <= set(scopes)]
    return errors


def _unfit(scope: str, resource: str) -> bool:
    if "/" in resource or not (resource in QUOTA or is_hugepages(resource.removeprefix("requests."))):
        return False
    if scope == "BestEffort":
        return resource != "pods"
    if scope == "VolumeAttributesClass":
        return resource not in ("persistentvolumeclaims", "requests.storage")
    return resource not in _COMPUTE


def _selector(spec: Object) -> Errors:
    errors: Errors = []
    path = _SPEC.child("scopeSelector", "matchExpressions")
    names = []
    for item in at(spec, "scopeSelector.matchExpressions", []):
        scope, operator, values = item.get("scopeName", ""), item.get("operator", ""), item.get("values") or []
        names.append(scope)
        if scope not in _SCOPES:
            errors.append(field.invalid(path.child("scopeName"), scope, "unsupported scope"))
        else:
            errors += [field.invalid(path, _go_selector(spec), "unsupported scope applied to resource")
                       for resource in sorted(spec.get("hard") or ()) if _unfit(scope, resource)]
        if scope in _EXISTS_ONLY and operator != "Exists":
            errors.append(field.invalid(path.child("operator"), operator, _EXISTS_WORDS))
        if operator in ("In", "NotIn"):
            if not values:
                errors.append(field.required(path.child("values"),
                                             "must be at least one value when `operator` is 'In' or 'NotIn' for scope "
                                                                   "selector"))
        elif operator in ("Exists", "DoesNotExist"):
            if values:
                errors.append(field.invalid(path.child("values"), values,
                                            "must be no value when `operator` is 'Exist' or 'DoesNotExist' for "
                                                                          "scope selector"))
        else:
            errors.append(field.invalid(path.child("operator"), operator, "not a valid selector operator"))
    errors += [field.invalid(path, spec.get("scopes"), "conflicting scopes")
               for pair in _CONFLICTS if set(pair) <= set(names)]
    return errors


def _go_selector(spec: Object) -> Object:
    """The scope selector as Go prints it."""
    return {"MatchExpressions": [field.Struct(ScopeName=item.get("scopeName", ""), Operator=item.get("operator", ""),
                                              Values=item.get("values")) for item in at(spec, "scopeSelector.matchExpressions", [])]}


def _pairs(obj: Object, limits: bool) -> str:
    hard, used = at(obj, "status.hard", {}), at(obj, "status.used", {})
    return ", ".join(f"{resource}: {used.get(resource, '0')}/{hard[resource]}" for resource in sorted(hard)
                     if resource.startswith("limits") == limits)


KIND = Kind(
    RESOURCE_QUOTAS,
    "resourcequota",
    ResourceQuotaStrategy(),
    columns=(
        NAME,
        column("Request", "string", "Request represents a minimum amount of cpu/memory that a container may consume.",
               lambda obj: _pairs(obj, False)),
        column("Limit", "string",
               "Limits control the maximum amount of cpu/memory that a container may use independent of contention on the "
                                  "node.", lambda obj: _pairs(obj, True)),
        AGE,
    ),
    short_names=("quota",),
    subresources=(STATUS,),
)
