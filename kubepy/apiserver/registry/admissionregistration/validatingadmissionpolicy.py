"""ValidatingAdmissionPolicy: requests judged by CEL (`pkg/registry/admissionregistration/validatingadmissionpolicy`)."""
from __future__ import annotations

from kubepy.api import field, name
from kubepy.api.cel.admission import TEXT, TEXT_OR_NULL, Scope
from kubepy.api.cel.kind import DYN
from kubepy.api.field import Errors, Path
from kubepy.api.resource import Resource
from kubepy.api.types import Object
from kubepy.apiserver.registry import check
from kubepy.apiserver.registry.admissionregistration import rule
from kubepy.apiserver.registry.columns import AGE, NAME, UNSET, at, column
from kubepy.apiserver.registry.kind import STATUS, Kind, Strategy
from kubepy.apiserver.request import Context

_SPEC = Path("spec")
_REASONS = ("Forbidden", "Invalid", "RequestEntityTooLarge")


class ValidatingAdmissionPolicyStrategy(Strategy):
    allow_unconditional_update = False
    has_status = True
    status_keeps_metadata = True
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
        scope = Scope(params=DYN if spec.get("paramKind") is not None else None)
        errors += rule.match_conditions(spec.get("matchConditions") or [], _SPEC.child("matchConditions"), scope)
        errors += rule.variables(spec.get("variables") or [], _SPEC.child("variables"), scope)
        validations, audits = spec.get("validations") or [], spec.get("auditAnnotations") or []
        if not validations and not audits:
            detail = "validations or auditAnnotations must contain at least one item"
            return [*errors, field.required(_SPEC.child("validations"), detail), field.required(_SPEC.child("auditAnnotations"), detail)]
        for position, validation in enumerate(validations):
            errors += _validation(validation, _SPEC.child("validations").index(position), scope)
        return errors + _audits(audits, _SPEC.child("auditAnnotations"), at(obj, "metadata.name", ""), scope)


def _validation(validation: Object, path: Path, scope: Scope) -> Errors:
    errors: Errors = []
    message, by_expression = validation.get("message", ""), validation.get("messageExpression", "")
    errors += rule.expression(validation.get("expression", ""), path.child("expression"), scope, missing="expression is not specified")
    if validation.get("messageExpression") and not by_expression.strip():
        errors.append(field.invalid(path.child("messageExpression"), by_expression, "must be non-empty if specified"))
    elif by_expression:
        errors += rule.expression(by_expression, path.child("messageExpression"), scope, TEXT, authorizer=False)
    if message and not message.strip():
        errors.append(field.invalid(path.child("message"), message, "message must be non-empty if specified"))
    elif "\n" in message.strip():
        errors.append(field.invalid(path.child("message"), message, "must not contain line breaks"))
    if validation.get("reason") is not None:
        errors += check.one_of(validation["reason"], path.child("reason"), _REASONS)
    return errors


def _audits(audits: list[Object], path: Path, policy: str, scope: Scope) -> Errors:
    errors: Errors = []
    if len(audits) > 20:
        errors.append(field.invalid(path, [], "must not have more than 20 auditAnnotations"))
    seen: set[str] = set()
    for position, audit in enumerate(audits):
        here = path.index(position)
        key = audit.get("key", "")
        errors += check.named(name.qualified, f"{policy}/{key}" if policy else key, here.child("key"))
        errors += rule.expression(audit.get("valueExpression", ""), here.child("valueExpression"), scope, TEXT_OR_NULL,
                                  "valueExpression is not specified")
        if key in seen:
            errors.append(field.duplicate(here.child("key"), key))
        seen.add(key)
    return errors


def param_kind_text(obj: Object) -> str:
    kind = at(obj, "spec.paramKind")
    if kind is None:
        return UNSET
    return f"{kind['apiVersion']}/{kind.get('kind', '')}" if kind.get("apiVersion") else str(kind.get("kind", ""))


KIND = Kind(
    Resource("admissionregistration.k8s.io", "v1", "validatingadmissionpolicies", "ValidatingAdmissionPolicy", False),
    "validatingadmissionpolicy",
    ValidatingAdmissionPolicyStrategy(),
    columns=(
        NAME,
        column("Validations", "integer", "Validations indicates the number of validation rules defined in this configuration",
               lambda obj: len(at(obj, "spec.validations", []))),
        column("ParamKind", "string", "ParamKind specifies the kind of resources used to parameterize this policy", param_kind_text),
        AGE,
    ),
    categories=("api-extensions",),
    subresources=(STATUS,),
)
