"""What roles and bindings have in common: defaults, validation, columns (`pkg/apis/rbac/validation`)."""
from __future__ import annotations

from typing import Any

from kubepy.api import field, name, selector
from kubepy.api.field import Errors, Path
from kubepy.api.types import Object
from kubepy.apiserver.registry.columns import AGE, NAME, column
from kubepy.apiserver.registry.kind import Column, Strategy
from kubepy.apiserver.request import Context

GROUP = "rbac.authorization.k8s.io"
_RULES = Path("rules")
_ROLE_REF = Path("roleRef")
_UNRESOLVED = "If the RoleRef cannot be resolved, the Authorizer must return an error."
EITHER_ROLE = f"RoleRef can reference a Role in the current namespace or a ClusterRole in the global namespace. {_UNRESOLVED}"
CLUSTER_ROLE = f"RoleRef can only reference a ClusterRole in the global namespace. {_UNRESOLVED}"


class RoleStrategy(Strategy):
    null_when_empty = (("rules",),)
    allow_create_on_update = True
    name_kind = "path"
    namespaced = True

    def fill(self, obj: Object) -> None:
        obj.setdefault("rules", None)

    def validate(self, context: Context, obj: Object) -> Errors:
        errors: Errors = []
        for position, rule in enumerate(obj.get("rules") or ()):
            errors += rule_problems(rule, _RULES.index(position), self.namespaced)
        return errors


class BindingStrategy(Strategy):
    allow_create_on_update = True
    name_kind = "path"
    role_kinds: tuple[str, ...] = ("Role", "ClusterRole")
    namespaced = True

    def fill(self, obj: Object) -> None:
        reference = obj["roleRef"] = dict(obj.get("roleRef") or {})
        reference["apiGroup"] = reference.get("apiGroup") or GROUP
        reference.setdefault("kind", "")
        reference.setdefault("name", "")
        for subject in obj.get("subjects") or ():
            if not subject.get("apiGroup") and subject.get("kind") in ("User", "Group"):
                subject["apiGroup"] = GROUP

    def validate(self, context: Context, obj: Object) -> Errors:
        errors: Errors = []
        reference = obj.get("roleRef") or {}
        if reference.get("apiGroup") != GROUP:
            errors.append(field.not_supported(_ROLE_REF.child("apiGroup"), reference.get("apiGroup", ""), (GROUP,)))
        if reference.get("kind") not in self.role_kinds:
            errors.append(field.not_supported(_ROLE_REF.child("kind"), reference.get("kind", ""), self.role_kinds))
        if not reference.get("name"):
            errors.append(field.required(_ROLE_REF.child("name")))
        else:
            errors += [field.invalid(_ROLE_REF.child("name"), reference["name"], why) for why in name.path_segment(reference["name"])]
        for position, subject in enumerate(obj.get("subjects") or ()):
            errors += subject_problems(subject, Path("subjects").index(position), self.namespaced)
        return errors

    def validate_update(self, context: Context, obj: Object, old: Object) -> Errors:
        errors = self.validate(context, obj)
        if obj.get("roleRef") != old.get("roleRef"):
            reference = obj.get("roleRef") or {}
            shown = {"APIGroup": reference.get("apiGroup", ""), "Kind": reference.get("kind", ""), "Name": reference.get("name", "")}
            errors.append(field.invalid(_ROLE_REF, shown, "cannot change roleRef"))
        return errors


def rule_problems(rule: Object, path: Path, namespaced: bool) -> Errors:
    errors: Errors = []
    if not rule.get("verbs"):
        errors.append(field.required(path.child("verbs"), "verbs must contain at least one value"))
    if urls := rule.get("nonResourceURLs"):
        if namespaced:
            errors.append(field.invalid(path.child("nonResourceURLs"), urls, "namespaced rules cannot apply to non-resource URLs"))
        if rule.get("apiGroups") or rule.get("resources") or rule.get("resourceNames"):
            errors.append(field.invalid(path.child("nonResourceURLs"), urls,
                                        "rules cannot apply to both regular resources and non-resource URLs"))
        return errors
    if not rule.get("apiGroups"):
        errors.append(field.required(path.child("apiGroups"), "resource rules must supply at least one api group"))
    if not rule.get("resources"):
        errors.append(field.required(path.child("resources"), "resource rules must supply at least one resource"))
    return errors


def aggregation_problems(rule: Object | None) -> Errors:
    if rule is None:
        return []
    path = Path("aggregationRule").child("clusterRoleSelectors")
    selectors = rule.get("clusterRoleSelectors") or ()
    if not selectors:
        return [field.required(path, "at least one clusterRoleSelector required if aggregationRule is non-nil")]
    errors: Errors = []
    for position, item in enumerate(selectors):
        errors += selector.validate_object(item, path.index(position))
        try:
            selector.from_object(item)
        except ValueError:
            errors.append(field.invalid(path.index(position), None, "invalid label selector."))
    return errors


def subject_problems(subject: Object, path: Path, namespaced: bool) -> Errors:
    errors: Errors = []
    kind, subject_name, group = subject.get("kind", ""), subject.get("name", ""), subject.get("apiGroup", "")
    if not subject_name:
        errors.append(field.required(path.child("name")))
    if kind == "ServiceAccount":
        if subject_name:
            errors += [field.invalid(path.child("name"), subject_name, why) for why in name.subdomain(subject_name)]
        if group:
            errors.append(field.not_supported(path.child("apiGroup"), group, ("",)))
        if not namespaced and not subject.get("namespace"):
            errors.append(field.required(path.child("namespace")))
    elif kind in ("User", "Group"):
        if group != GROUP:
            errors.append(field.not_supported(path.child("apiGroup"), group, (GROUP,)))
    else:
        errors.append(field.not_supported(path.child("kind"), kind, ("ServiceAccount", "User", "Group")))
    return errors


def binding_columns(kind: str, role_text: str) -> tuple[Column, ...]:
    return (NAME, column("Role", "string", role_text, _role), AGE,
            column("Users", "string", f"Users in the {kind}", lambda obj: _names(obj, "User"), 1),
            column("Groups", "string", f"Groups in the {kind}", lambda obj: _names(obj, "Group"), 1),
            column("ServiceAccounts", "string", f"ServiceAccounts in the {kind}", lambda obj: _names(obj, "ServiceAccount"), 1))


def _role(obj: Object) -> str:
    reference = obj.get("roleRef") or {}
    return f"{reference.get('kind', '')}/{reference.get('name', '')}"


def _names(obj: Object, kind: str) -> str:
    subjects: list[Any] = [subject for subject in obj.get("subjects") or () if subject.get("kind") == kind]
    if kind == "ServiceAccount":
        return ", ".join(f"{subject.get('namespace', '')}/{subject.get('name', '')}" for subject in subjects)
    return ", ".join(subject.get("name", "") for subject in subjects)
