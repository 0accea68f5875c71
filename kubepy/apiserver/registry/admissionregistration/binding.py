"""What both kinds of policy bindings have in common."""
from __future__ import annotations

from kubepy.api import field, name
from kubepy.api.field import Errors, Path
from kubepy.api.types import Object
from kubepy.apiserver.registry import check
from kubepy.apiserver.registry.admissionregistration import rule
from kubepy.apiserver.registry.columns import AGE, NAME, UNSET, at, column

_SPEC = Path("spec")
_ACTIONS = ("Audit", "Deny", "Warn")


def default_binding(obj: Object) -> None:
    rule.default_match(at(obj, "spec.matchResources"))


def binding(obj: Object, *, actions: bool) -> Errors:
    """`actions`: validating bindings say what follows from a refusal."""
    spec = obj.get("spec") or {}
    errors = check.need_named(name.subdomain, spec.get("policyName", ""), _SPEC.child("policyName"))
    errors += rule.param_ref(spec.get("paramRef"), _SPEC.child("paramRef"))
    if spec.get("matchResources") is not None:
        errors += rule.match_resources(spec["matchResources"], _SPEC.child("matchResources"))
    return errors + (_actions(spec.get("validationActions") or [], _SPEC.child("validationActions")) if actions else [])


def _actions(values: list[str], path: Path) -> Errors:
    errors: Errors = []
    seen: set[str] = set()
    for position, action in enumerate(values):
        errors += check.one_of(action, path.index(position), _ACTIONS)
        if action in seen:
            errors.append(field.duplicate(path.index(position), action))
        seen.add(action)
    if {"Deny", "Warn"} <= seen:
        errors.append(field.invalid(path, values,
                                    "must not contain both Deny and Warn (repeating the same validation failure information in "
                                                  "the API response and headers serves no purpose)"))
    if not values:
        errors.append(field.required(path, "at least one validation action is required"))
    return errors


def _param(obj: Object) -> str:
    reference = at(obj, "spec.paramRef")
    if reference is None:
        return UNSET
    if reference.get("name"):
        return f"{reference['namespace']}/{reference['name']}" if reference.get("namespace") else str(reference["name"])
    return "*"


COLUMNS = (
    NAME,
    column("PolicyName", "string", "PolicyName indicates the policy definition which the policy binding binded to",
           lambda obj: at(obj, "spec.policyName", "")),
    column("ParamRef", "string", "ParamRef indicates the param resource which sets the configuration param", _param),
    AGE,
)
