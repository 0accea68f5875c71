"""What webhooks and admission policies have in common: rules that match requests, match conditions, parameters."""
from __future__ import annotations

from kubepy.api import field, name, selector
from kubepy.api.cel.admission import BOOLEAN, Scope
from kubepy.api.cel.kind import Kind
from kubepy.api.field import Errors, Path
from kubepy.api.types import Object
from kubepy.apiserver.registry import check
from kubepy.apiserver.registry.expression import complaints, define

_OPERATIONS = ("*", "CONNECT", "CREATE", "DELETE", "UPDATE")
_SCOPES = ("*", "Cluster", "Namespaced")
MATCH_POLICIES = ("Equivalent", "Exact")
FAILURE_POLICIES = ("Fail", "Ignore")


def default_rules(rules: list[Object] | None) -> None:
    for rule in rules or ():
        rule.setdefault("scope", "*")


def default_match(match: Object | None) -> None:
    """SetDefaults_MatchResources."""
    if match is None:
        return
    match.setdefault("matchPolicy", "Equivalent")
    match.setdefault("namespaceSelector", {})
    match.setdefault("objectSelector", {})
    default_rules(match.get("resourceRules"))
    default_rules(match.get("excludeResourceRules"))


def rule_with_operations(rule: Object, path: Path) -> Errors:
    """validateRuleWithOperations."""
    operations = rule.get("operations") or []
    errors = check.need(operations, path.child("operations"))
    if len(operations) > 1 and "*" in operations:
        errors.append(field.invalid(path.child("operations"), operations, "if '*' is present, must not specify other operations"))
    for position, operation in enumerate(operations):
        errors += check.one_of(operation, path.child("operations").index(position), _OPERATIONS)
    return errors + _rule(rule, path)


def _rule(rule: Object, path: Path) -> Errors:
    errors: Errors = []
    for key, title in (("apiGroups", "API groups"), ("apiVersions", "API versions")):
        values = rule.get(key) or []
        errors += check.need(values, path.child(key))
        if len(values) > 1 and "*" in values:
            errors.append(field.invalid(path.child(key), values, f"if '*' is present, must not specify other {title}"))
        if key == "apiVersions":
            errors += [field.required(path.child(key).index(position)) for position, value in enumerate(values) if not value]
    resources = rule.get("resources") or []
    errors += check.need(resources, path.child("resources"))
    errors += _resources(resources, path.child("resources"))
    if rule.get("scope") is not None:
        errors += check.one_of(rule["scope"], path.child("scope"), _SCOPES)
    return errors


def _resources(resources: list[str], path: Path) -> Errors:
    errors: Errors = []
    if len(resources) > 1 and "*/*" in resources:
        return [field.invalid(path, resources, "if '*/*' is present, must not specify other resources")]
    whole = {resource.removesuffix("/*") for resource in resources if resource.endswith("/*")}
    subresources = {resource.removeprefix("*/") for resource in resources if resource.startswith("*/")}
    for position, resource in enumerate(resources):
        if not resource:
            errors.append(field.required(path.index(position)))
            continue
        base, slash, subresource = resource.partition("/")
        if slash and subresource != "*" and base in whole:
            errors.append(field.invalid(path.index(position), resource, f"if '{base}/*' is present, must not specify {resource}"))
        if slash and base != "*" and subresource in subresources:
            errors.append(field.invalid(path.index(position), resource, f"if '*/{subresource}' is present, must not specify {resource}"))
    if len(resources) > 1 and "*" in resources and any("/" not in resource for resource in resources if resource != "*"):
        errors.append(field.invalid(path, resources, "if '*' is present, must not specify other resources without subresources"))
    return errors


def expression(source: str, path: Path, scope: Scope, returns: tuple[Kind, ...] = BOOLEAN, missing: str = "", *,
               authorizer: bool = True) -> Errors:
    """A CEL expression that must be there and compile."""
    if not source.strip():
        return [field.required(path, missing)]
    return complaints(scope, source, path, returns, authorizer=authorizer)


def match_conditions(conditions: list[Object], path: Path, scope: Scope | None = None) -> Errors:
    errors: Errors = []
    if len(conditions) > 64:
        errors.append(field.too_many(path, len(conditions), 64))
    seen: set[str] = set()
    for position, condition in enumerate(conditions):
        here = path.index(position)
        errors += expression(condition.get("expression", ""), here.child("expression"), scope or Scope())
        title = condition.get("name", "")
        if not title:
            errors.append(field.required(here.child("name")))
        else:
            errors += check.named(name.qualified, title, here.child("name"))
            if title in seen:
                errors.append(field.duplicate(here.child("name"), title))
            seen.add(title)
    return errors


def match_resources(match: Object, path: Path) -> Errors:
    """validateMatchResources."""
    errors: Errors = []
    if not match.get("matchPolicy"):
        errors.append(field.required(path.child("matchPolicy")))
    else:
        errors += check.one_of(match["matchPolicy"], path.child("matchPolicy"), MATCH_POLICIES)
    for key in ("namespaceSelector", "objectSelector"):
        if match.get(key) is None:
            errors.append(field.required(path.child(key)))
        else:
            errors += selector.validate_object(match[key], path.child(key))
    for key in ("resourceRules", "excludeResourceRules"):
        for position, rule in enumerate(match.get(key) or ()):
            here = path.child(key).index(position)
            errors += rule_with_operations(rule, here)
            errors += _resource_names(rule.get("resourceNames") or [], here.child("resourceNames"))
    return errors


def _resource_names(names: list[str], path: Path) -> Errors:
    errors = [error for position, title in enumerate(names) for error in check.named(name.path_segment, title, path.index(position))]
    return errors + check.unique(names, path)


def constraints(match: Object | None, path: Path) -> Errors:
    """matchConstraints of a policy, which must name resources."""
    if match is None:
        return [field.required(path)]
    errors = match_resources(match, path)
    if not match.get("resourceRules"):
        errors.append(field.required(path.child("resourceRules")))
    return errors


def param_kind(kind: Object | None, path: Path) -> Errors:
    if kind is None:
        return []
    errors: Errors = []
    version = kind.get("apiVersion", "")
    if not version:
        errors.append(field.required(path.child("apiVersion")))
    elif version.count("/") > 1:
        errors.append(field.invalid(path.child("apiVersion"), version, f"unexpected GroupVersion string: {version}"))
    if not kind.get("kind"):
        errors.append(field.required(path.child("kind")))
    else:
        errors += [field.invalid(path.child("kind"), kind["kind"],
                                 f"may have mixed case, but should otherwise match: {', '.join(messages)}")
                   for messages in (name.label_1035(kind["kind"].lower()),) if messages]
    return errors


def variables(items: list[Object], path: Path, scope: Scope) -> Errors:
    scope.composed()
    errors: Errors = []
    for position, item in enumerate(items):
        here = path.index(position)
        title = item.get("name", "")
        if not title:
            errors.append(field.required(here.child("name"), "name is not specified"))
        elif name.c_identifier(title):
            errors.append(field.invalid(here.child("name"), title, "must be a valid CEL identifier"))
        if not item.get("expression", "").strip():
            errors.append(field.required(here.child("expression"), "expression is not specified"))
        elif not name.c_identifier(title):
            errors += define(scope, title, item["expression"], here.child("expression"))
    return errors


def param_ref(reference: Object | None, path: Path) -> Errors:
    if reference is None:
        return []
    errors: Errors = []
    title, chosen = reference.get("name", ""), reference.get("selector")
    if title and chosen is not None:
        errors += [field.forbidden(path.child(key), "name and selector are mutually exclusive") for key in ("name", "selector")]
    elif title:
        errors += check.named(name.path_segment, title, path.child("name"))
    elif chosen is not None:
        errors += selector.validate_object(chosen, path.child("selector"))
    else:
        errors.append(field.required(path, "one of name or selector must be specified"))
    action = reference.get("parameterNotFoundAction")
    if action is None:
        errors.append(field.required(path.child("parameterNotFoundAction")))
    else:
        errors += check.one_of(action, path.child("parameterNotFoundAction"), ("Deny", "Allow"))
    return errors
