"""FlowSchema: which requests go to which priority level (`pkg/registry/flowcontrol/flowschema`)."""
from __future__ import annotations

from typing import Any

from kubepy.api import field, name
from kubepy.api.field import Errors, Path
from kubepy.api.resource import Resource
from kubepy.api.types import Object
from kubepy.apiserver.flowcontrol import flow_schemas
from kubepy.apiserver.registry import check
from kubepy.apiserver.registry.columns import AGE, NAME, NONE, at, column
from kubepy.apiserver.registry.kind import STATUS, Kind, Strategy
from kubepy.apiserver.request import Context

_SPEC = Path("spec")
MANDATORY = ("catch-all", "exempt")
"""Their specs are fixed."""
_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch")


class FlowSchemaStrategy(Strategy):
    has_status = True
    status_keeps_metadata = True
    tracks_generation = True

    def fill(self, obj: Object) -> None:
        if not obj["spec"].get("matchingPrecedence"):
            obj["spec"]["matchingPrecedence"] = 1000

    def validate(self, context: Context, obj: Object) -> Errors:
        spec, title = obj.get("spec") or {}, at(obj, "metadata.name", "")
        if (fixed := _fixed(title)) is not None and spec != fixed:
            return [field.invalid(_SPEC, struct(go_spec(spec)), f"spec of '{title}' must equal the fixed value")]
        precedence = spec.get("matchingPrecedence", 0)
        path = _SPEC.child("matchingPrecedence")
        errors: Errors = []
        if precedence <= 0:
            errors.append(field.invalid(path, precedence, "must be a positive value"))
        if precedence > 10000:
            errors.append(field.invalid(path, precedence, "must not be greater than 10000"))
        if precedence == 1 and title != "exempt":
            errors.append(field.invalid(path, precedence, "only the schema named 'exempt' may have matchingPrecedence 1"))
        method = spec.get("distinguisherMethod")
        if method is not None and method.get("type") not in ("ByNamespace", "ByUser"):
            errors.append(field.not_supported(_SPEC.child("distinguisherMethod", "type"), {"Type": method.get("type", "")},
                                              ("ByNamespace", "ByUser")))
        level = at(spec, "priorityLevelConfiguration.name", "")
        at_level = _SPEC.child("priorityLevelConfiguration", "name")
        if level:
            errors += check.named(name.subdomain, level, at_level)
        else:
            errors.append(field.required(at_level, "must reference a priority level"))
        for position, rules in enumerate(spec.get("rules") or ()):
            errors += _rules(rules, _SPEC.child("rules").index(position))
        return errors

    def validate_status(self, context: Context, obj: Object, old: Object) -> Errors:
        return conditions(at(obj, "status.conditions", []))


def struct(value: Any) -> Any:
    """Shown in the order given, as Go shows structs."""
    if isinstance(value, dict):
        return field.Struct({key: struct(item) for key, item in value.items()})
    return [struct(item) for item in value] if isinstance(value, list) else value


def _fixed(title: str) -> Object | None:
    """The spec of a mandatory schema."""
    return next((found["spec"] for found in flow_schemas() if found["metadata"]["name"] == title), None) if title in MANDATORY else None


def go_spec(spec: Object) -> Object:
    """A FlowSchemaSpec as Go's encoding/json shows the internal type."""
    method = spec.get("distinguisherMethod")
    return {"PriorityLevelConfiguration": {"Name": at(spec, "priorityLevelConfiguration.name", "")},
            "MatchingPrecedence": spec.get("matchingPrecedence", 0), "DistinguisherMethod": method and {"Type": method.get("type", "")},
            "Rules": [_go_rule(rule) for rule in spec["rules"]] if spec.get("rules") else None}


def _go_rule(rule: Object) -> Object:
    def subject(found: Object) -> Object:
        user, group, account = found.get("user"), found.get("group"), found.get("serviceAccount")
        return {"Kind": found.get("kind", ""), "User": user and {"Name": user.get("name", "")},
                "Group": group and {"Name": group.get("name", "")},
                "ServiceAccount": account and {"Namespace": account.get("namespace", ""), "Name": account.get("name", "")}}

    return {
        "Subjects": [subject(found) for found in rule.get("subjects") or ()] or None,
        "ResourceRules": [{"Verbs": found.get("verbs"), "APIGroups": found.get("apiGroups"), "Resources": found.get("resources"),
                           "ClusterScope": found.get("clusterScope", False), "Namespaces": found.get("namespaces")}
                          for found in rule.get("resourceRules") or ()] or None,
        "NonResourceRules": [{"Verbs": found.get("verbs"), "NonResourceURLs": found.get("nonResourceURLs")}
                             for found in rule.get("nonResourceRules") or ()] or None}


def conditions(items: list[Object]) -> Errors:
    """Conditions of flow control objects, each type once."""
    errors: Errors = []
    path = Path("status.conditions")
    seen: set[str] = set()
    for position, condition in enumerate(items):
        kind = condition.get("type", "")
        if kind in seen:
            errors.append(field.duplicate(path.index(position).child("type"), kind))
        seen.add(kind)
        if not kind:
            errors.append(field.required(path.index(position).child("type"), "must not be empty"))
    return errors


def _rules(rules: Object, path: Path) -> Errors:
    errors: Errors = []
    subjects = rules.get("subjects") or []
    if not subjects:
        errors.append(field.required(path.child("subjects"), "subjects must contain at least one value"))
    for position, subject in enumerate(subjects):
        errors += _subject(subject, path.child("subjects").index(position))
    resource, other = rules.get("resourceRules") or [], rules.get("nonResourceRules") or []
    if not resource and not other:
        errors.append(field.required(path, "at least one of resourceRules and nonResourceRules has to be non-empty"))
    for position, rule in enumerate(resource):
        errors += _resource_rule(rule, path.child("resourceRules").index(position))
    for position, rule in enumerate(other):
        errors += _non_resource_rule(rule, path.child("nonResourceRules").index(position))
    return errors


def _subject(subject: Object, path: Path) -> Errors:
    kind = subject.get("kind", "")
    key = {"Group": "group", "ServiceAccount": "serviceAccount", "User": "user"}.get(kind)
    if key is None:
        return [field.not_supported(path.child("kind"), kind, ("Group", "ServiceAccount", "User"))]
    errors: Errors = []
    value = subject.get(key)
    if value is None:
        errors.append(field.required(path.child(key), f"{key} is required when subject kind is '{kind}'"))
    elif kind == "ServiceAccount":
        errors += check.need_named(name.subdomain, value.get("name", ""), path.child(key, "name")) if value.get("name") != "*" else []
        if not value.get("namespace"):
            errors.append(field.required(path.child(key, "namespace"), "must specify namespace for service account"))
        else:
            errors += check.named(name.label, value["namespace"], path.child(key, "namespace"))
    else:
        errors += check.need(value.get("name"), path.child(key, "name"))
    errors += [field.forbidden(path.child(other), f"{other} is forbidden when subject kind is not '{title}'")
               for title, other in (("Group", "group"), ("ServiceAccount", "serviceAccount"), ("User", "user"))
               if other != key and subject.get(other) is not None]
    return errors


def _verbs(verbs: list[str], path: Path, supported: tuple[str, ...] | None) -> Errors:
    if not verbs:
        return [field.required(path, "verbs must contain at least one value")]
    if "*" in verbs:
        return [field.invalid(path, verbs, "if '*' is present, must not specify other verbs")] if len(verbs) > 1 else []
    if supported is not None and not set(verbs) <= set(supported):
        return [field.not_supported(path, verbs, supported)]
    return []


def _only_star(values: list[str], path: Path, what: str) -> Errors:
    return [field.invalid(path, values, f"if '*' is present, must not specify other {what}")] if "*" in values and len(values) > 1 else []


def _resource_rule(rule: Object, path: Path) -> Errors:
    errors = _verbs(rule.get("verbs") or [], path.child("verbs"), _VERBS)
    for key, what, one in (("apiGroups", "api groups", "api group"), ("resources", "resources", "resource")):
        values = rule.get(key) or []
        if not values:
            errors.append(field.required(path.child(key), f"resource rules must supply at least one {one}"))
        errors += _only_star(values, path.child(key), what)
    namespaces = rule.get("namespaces") or []
    at_namespaces = path.child("namespaces")
    if not namespaces and not rule.get("clusterScope"):
        errors.append(field.required(at_namespaces, "resource rules that are not cluster scoped must supply at least one namespace"))
    errors += _only_star(namespaces, at_namespaces, "namespaces")
    for position, namespace in enumerate(namespaces):
        if namespace != "*":
            errors += check.named(name.label, namespace, at_namespaces.index(position))
    return errors


def _non_resource_rule(rule: Object, path: Path) -> Errors:
    errors = _verbs(rule.get("verbs") or [], path.child("verbs"), _VERBS)
    urls = rule.get("nonResourceURLs") or []
    here = path.child("nonResourceURLs")
    if not urls:
        errors.append(field.required(here, "nonResourceURLs must contain at least one value"))
    if "*" in urls:
        return errors + _only_star(urls, here, "non-resource URLs")
    for position, url in enumerate(urls):
        place = here.index(position)
        if not url:
            errors.append(field.required(place))
        elif any(char.isspace() for char in url):
            errors.append(field.invalid(place, url, "must not contain white-space"))
        elif not url.startswith("/"):
            errors.append(field.invalid(place, url, "must start with slash"))
        elif "*" in url and not url.endswith("/*"):
            errors.append(field.invalid(place, url, "wildcard can only do suffix matching"))
    return errors


def _missing(obj: Object) -> str:
    found = next((item for item in at(obj, "status.conditions", []) if item.get("type") == "Dangling"), None)
    return str(found.get("status", "?")) if found is not None else "?"


KIND = Kind(
    Resource("flowcontrol.apiserver.k8s.io", "v1", "flowschemas", "FlowSchema", False),
    "flowschema",
    FlowSchemaStrategy(),
    columns=(
        NAME,
        column("PriorityLevel", "string", "=flowcontrol.v1.PriorityLevelConfigurationReference.name",
               lambda obj: at(obj, "spec.priorityLevelConfiguration.name", "")),
        column("MatchingPrecedence", "string", "=flowcontrol.v1.FlowSchemaSpec.matchingPrecedence",
               lambda obj: at(obj, "spec.matchingPrecedence", 0)),
        column("DistinguisherMethod", "string", "=flowcontrol.v1.FlowSchemaSpec.distinguisherMethod",
               lambda obj: at(obj, "spec.distinguisherMethod.type", NONE)),
        AGE,
        column("MissingPL", "string", "references a broken or non-existent PriorityLevelConfiguration", _missing),
    ),
    subresources=(STATUS,),
)
