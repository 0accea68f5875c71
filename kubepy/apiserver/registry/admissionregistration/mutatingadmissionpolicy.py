"""MutatingAdmissionPolicy: requests changed by CEL (`pkg/registry/admissionregistration/mutatingadmissionpolicy`)."""
from __future__ import annotations

from kubepy.api import field
from kubepy.api.cel.admission import OBJECT, PATCHES, Scope
from kubepy.api.cel.kind import DYN
from kubepy.api.field import Errors, Path
from kubepy.api.resource import Resource
from kubepy.api.types import Object
from kubepy.apiserver.registry import check
from kubepy.apiserver.registry.admissionregistration import rule
from kubepy.apiserver.registry.admissionregistration.validatingadmissionpolicy import param_kind_text
from kubepy.apiserver.registry.columns import AGE, NAME, at, column
from kubepy.apiserver.registry.expression import complaints
from kubepy.apiserver.registry.kind import Kind, Strategy
from kubepy.apiserver.request import Context

_SPEC = Path("spec")


class MutatingAdmissionPolicyStrategy(Strategy):
    allow_unconditional_update = False
    tracks_generation = True

    def fill(self, obj: Object) -> None:
        spec = obj["spec"]
        spec.setdefault("failurePolicy", "Fail")
        rule.default_match(spec.get("matchConstraints"))

    def validate(self, context: Context, obj: Object) -> Errors:
        spec = obj.get("spec") or {}
        errors = check.need_one_of(spec.get("failurePolicy"), _SPEC.child("failurePolicy"), rule.FAILURE_POLICIES)
        errors += rule.param_kind(spec.get("paramKind"), _SPEC.child("paramKind"))
        errors += rule.constraints(spec.get("matchConstraints"), _SPEC.child("matchConstraints"))
        scope = Scope(params=DYN if spec.get("paramKind") is not None else None, mutating=True)
        for matched in (spec.get("matchConstraints") or {}).get("resourceRules") or ():
            errors += _operations(matched.get("operations") or [])
        errors += rule.match_conditions(spec.get("matchConditions") or [], _SPEC.child("matchConditions"), scope)
        errors += rule.variables(spec.get("variables") or [], _SPEC.child("variables"), scope)
        mutations = spec.get("mutations") or []
        if not mutations:
            errors.append(field.required(_SPEC.child("mutations"), "mutations must contain at least one item"))
        for position, mutation in enumerate(mutations):
            errors += _mutation(mutation, _SPEC.child("mutations").index(position), scope)
        return errors + check.need_one_of(spec.get("reinvocationPolicy"), _SPEC.child("reinvocationPolicy"), ("IfNeeded", "Never"))


def _operations(operations: list[str]) -> Errors:
    """What is deleted cannot be changed."""
    path = _SPEC.child("matchConstraints", "resourceRules", "operations")
    return [field.not_supported(path, "DELETE", ("*", "CONNECT", "CREATE", "UPDATE"))] if "DELETE" in operations else []


def _mutation(mutation: Object, path: Path, scope: Scope) -> Errors:
    kind = mutation.get("patchType", "")
    wanted = {"ApplyConfiguration": "applyConfiguration", "JSONPatch": "jsonPatch"}.get(kind)
    if not kind:
        return [field.required(path.child("patchType"))]
    if wanted is None:
        return [field.not_supported(path.child("patchType"), kind, ("ApplyConfiguration", "JSONPatch"))]
    errors: Errors = []
    if mutation.get(wanted) is None:
        errors.append(field.required(path.child(wanted), f"must be specified when patchType is {kind}"))
    elif not mutation[wanted].get("expression", "").strip():
        errors.append(field.required(path.child(wanted, "expression"), "expression is not specified"))
    else:
        returns = OBJECT if wanted == "applyConfiguration" else PATCHES
        errors += complaints(scope, mutation[wanted]["expression"].strip(), path.child(wanted, "expression"), returns)
    other = "jsonPatch" if wanted == "applyConfiguration" else "applyConfiguration"
    if mutation.get(other) is not None:
        errors.append(field.invalid(path.child(other), f"{{{other}}}", f"must not be specified when patchType is {kind}"))
    return errors


KIND = Kind(
    Resource("admissionregistration.k8s.io", "v1", "mutatingadmissionpolicies", "MutatingAdmissionPolicy", False),
    "mutatingadmissionpolicy",
    MutatingAdmissionPolicyStrategy(),
    columns=(
        NAME,
        column("Mutations", "integer", "Mutation indicates the number of mutations rules defined in this configuration",
               lambda obj: len(at(obj, "spec.mutations", []))),
        column("ParamKind", "string", "ParamKind specifies the kind of resources used to parameterize this policy", param_kind_text),
        AGE,
    ),
    categories=("api-extensions",),
)
