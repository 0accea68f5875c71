"""Validation of where a pod may run: affinities, topology spread, tolerations, gates, resource claims."""
from __future__ import annotations

from collections.abc import Iterable

from kubepy.api import field, name, selector
from kubepy.api.field import Errors, Path
from kubepy.api.types import Object
from kubepy.apiserver.registry import check

TAINT_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
_ONE_OF_CLAIM = "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`"


def node_selector(value: Object, path: Path) -> Errors:
    """ValidateNodeSelector: what a node must have, so that values are judged, too."""
    terms = value.get("nodeSelectorTerms") or []
    at = path.child("nodeSelectorTerms")
    if not terms:
        return [field.required(at, "must have at least one node selector term")]
    return [error for position, term in enumerate(terms) for error in node_selector_term(term, at.index(position), values=True)]


def node_selector_term(term: Object, path: Path, *, values: bool = False) -> Errors:
    """ValidateNodeSelectorTerm; `values`: they must be those of labels."""
    errors: Errors = []
    for position, requirement in enumerate(term.get("matchExpressions") or ()):
        at = path.child("matchExpressions").index(position)
        errors += _node_requirement(requirement, at)
        for place, value in enumerate((requirement.get("values") or ()) if values else ()):
            errors += check.named(name.label_value, value, at.child("values").index(place))
    for position, requirement in enumerate(term.get("matchFields") or ()):
        errors += _node_field(requirement, path.child("matchFields").index(position))
    return errors


def _node_requirement(requirement: Object, path: Path) -> Errors:
    operator, values = requirement.get("operator", ""), requirement.get("values") or []
    at = path.child("values")
    errors: Errors = []
    if operator in ("In", "NotIn"):
        if not values:
            errors.append(field.required(at, "must be specified when `operator` is 'In' or 'NotIn'"))
    elif operator in ("Exists", "DoesNotExist"):
        if values:
            errors.append(field.forbidden(at, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"))
    elif operator in ("Gt", "Lt"):
        if len(values) != 1:
            errors.append(field.required(at, "must be specified single value when `operator` is 'Lt' or 'Gt'"))
    else:
        errors.append(field.invalid(path.child("operator"), operator, "not a valid selector operator"))
    return errors + check.named(name.qualified, requirement.get("key", ""), path.child("key"))


def _node_field(requirement: Object, path: Path) -> Errors:
    operator, values, key = requirement.get("operator", ""), requirement.get("values") or [], requirement.get("key", "")
    errors: Errors = []
    if operator in ("In", "NotIn"):
        if len(values) != 1:
            errors.append(field.required(path.child("values"), "must be only one value when `operator` is 'In' or 'NotIn' for node "
                                                               "field selector"))
    else:
        errors.append(field.invalid(path.child("operator"), operator, "not a valid selector operator"))
    if key != "metadata.name":
        errors.append(field.invalid(path.child("key"), key, "not a valid field selector key"))
    else:
        for position, value in enumerate(values):
            errors += check.named(name.subdomain, value, path.child("values").index(position))
    return errors


def affinity(value: Object | None, path: Path) -> Errors:
    """validateAffinity."""
    if value is None:
        return []
    errors: Errors = []
    if (node := value.get("nodeAffinity")) is not None:
        errors += node_affinity(node, path.child("nodeAffinity"))
    for key in ("podAffinity", "podAntiAffinity"):
        if (pod := value.get(key)) is not None:
            errors += _pod_affinity(pod, path.child(key))
    return errors


def node_affinity(value: Object, path: Path) -> Errors:
    errors: Errors = []
    if value.get(_REQUIRED) is not None:
        errors += node_selector(value[_REQUIRED], path.child(_REQUIRED))
    for position, term in enumerate(value.get(_PREFERRED) or ()):
        at = path.child(_PREFERRED).index(position)
        errors += _weight(term, at)
        errors += node_selector_term(term.get("preference") or {}, at.child("preference"))
    return errors


def _weight(term: Object, path: Path) -> Errors:
    weight = term.get("weight", 0)
    return [] if 1 <= weight <= 100 else [field.invalid(path.child("weight"), weight, "must be in the range 1-100")]


def _pod_affinity(value: Object, path: Path) -> Errors:
    errors: Errors = []
    for position, term in enumerate(value.get(_REQUIRED) or ()):
        errors += _pod_term(term, path.child(_REQUIRED).index(position))
    for position, term in enumerate(value.get(_PREFERRED) or ()):
        at = path.child(_PREFERRED).index(position)
        errors += _weight(term, at)
        errors += _pod_term(term.get("podAffinityTerm") or {}, at.child("podAffinityTerm"))
    return errors


def _pod_term(term: Object, path: Path) -> Errors:
    errors = selector.validate_object(term.get("labelSelector"), path.child("labelSelector"))
    errors += selector.validate_object(term.get("namespaceSelector"), path.child("namespaceSelector"))
    for namespace in term.get("namespaces") or ():
        errors += check.named(name.label, namespace, path.child("namespace"))
    errors += match_keys(term, path)
    topology = term.get("topologyKey", "")
    if not topology:
        errors.append(field.required(path.child("topologyKey"), "can not be empty"))
    return errors + check.named(name.qualified, topology, path.child("topologyKey"))


def match_keys(term: Object, path: Path) -> Errors:
    """matchLabelKeys and mismatchLabelKeys of a pod affinity term."""
    errors: Errors = []
    label_selector, wanted = term.get("labelSelector"), term.get("matchLabelKeys") or []
    for key in ("matchLabelKeys", "mismatchLabelKeys"):
        keys = term.get(key) or []
        if keys and label_selector is None:
            errors.append(field.forbidden(path.child(key), "must not be specified when labelSelector is not set"))
            continue
        for position, label in enumerate(keys):
            errors += check.named(name.qualified, label, path.child(key).index(position))
    errors += _selected_twice(wanted, label_selector or {}, path)
    unwanted = set(term.get("mismatchLabelKeys") or ())
    at = path.child("matchLabelKeys")
    return errors + [field.invalid(at.index(position), label, "exists in both matchLabelKeys and mismatchLabelKeys")
                     for position, label in enumerate(wanted) if label in unwanted]


def _selected_twice(keys: list[str], label_selector: Object, path: Path) -> Errors:
    """Keys that the selector names beside the expression that was made of them."""
    errors: Errors = []
    selected = set(label_selector.get("matchLabels") or ())
    for expression in label_selector.get("matchExpressions") or ():
        label = expression.get("key", "")
        if label in keys and label in selected:
            errors.append(field.invalid(path.index(len(keys) - 1 - keys[::-1].index(label)), label,
                                        "exists in both matchLabelKeys and labelSelector"))
        selected.add(label)
    return errors


def spread_constraints(constraints: list[Object], path: Path) -> Errors:
    """validateTopologySpreadConstraints."""
    errors: Errors = []
    for position, constraint in enumerate(constraints):
        at = path.index(position)
        skew, action, topology = constraint.get("maxSkew", 0), constraint.get("whenUnsatisfiable", ""), constraint.get("topologyKey", "")
        if skew <= 0:
            errors.append(field.invalid(at.child("maxSkew"), skew, "must be greater than zero"))
        if not topology:
            errors.append(field.required(at.child("topologyKey"), "can not be empty"))
        errors += check.one_of(action, at.child("whenUnsatisfiable"), ("DoNotSchedule", "ScheduleAnyway"))
        for other in constraints[position + 1:]:
            if (other.get("topologyKey"), other.get("whenUnsatisfiable")) == (topology, action):
                errors.append(field.duplicate(at.child("{topologyKey, whenUnsatisfiable}"), f"{{{topology}, {action}}}"))
                break
        domains = constraint.get("minDomains")
        if domains is not None:
            if domains <= 0:
                errors.append(field.invalid(at.child("minDomains"), domains, "must be greater than zero"))
            if action != "DoNotSchedule":
                errors.append(field.invalid(at.child("minDomains"), domains,
                                            f"can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {action}"))
        for key in ("nodeAffinityPolicy", "nodeTaintsPolicy"):
            if constraint.get(key) is not None:
                errors += check.one_of(constraint[key], at.child(key), ("Honor", "Ignore"))
        errors += _spread_keys(constraint, at.child("matchLabelKeys"))
        errors += selector.validate_object(constraint.get("labelSelector"), at.child("labelSelector"))
    return errors


def _spread_keys(constraint: Object, path: Path) -> Errors:
    """validateMatchLabelKeysInTopologySpread."""
    keys, label_selector = constraint.get("matchLabelKeys") or [], constraint.get("labelSelector")
    if not keys:
        return []
    errors: Errors = []
    if label_selector is None:
        errors.append(field.forbidden(path, "must not be specified when labelSelector is not set"))
    for position, label in enumerate(keys):
        errors += check.named(name.qualified, label, path.index(position))
    return errors + _selected_twice(keys, label_selector or {}, path)


def tolerations(items: Iterable[Object], path: Path) -> Errors:
    """ValidateTolerations."""
    errors: Errors = []
    for position, item in enumerate(items):
        at = path.index(position)
        key, operator, value, effect = (item.get(part, "") for part in ("key", "operator", "value", "effect"))
        if key:
            errors += check.named(name.qualified, key, at.child("key"))
        elif operator != "Exists":
            errors.append(field.invalid(at.child("operator"), operator,
                                        'operator must be Exists when `key` is empty, which means "match all values and all keys"'))
        if item.get("tolerationSeconds") is not None and effect != "NoExecute":
            errors.append(field.invalid(at.child("effect"), effect, "effect must be 'NoExecute' when `tolerationSeconds` is set"))
        if operator in ("Equal", ""):
            if messages := name.label_value(value):
                errors.append(field.invalid(at.child("operator"), value, ";".join(messages)))
        elif operator == "Exists":
            if value:
                errors.append(field.invalid(at.child("operator"), value, "value must be empty when `operator` is 'Exists'"))
        else:
            known = ("Equal", "Exists", "Lt", "Gt") if operator in ("Lt", "Gt") else ("Equal", "Exists")
            errors.append(field.not_supported(at.child("operator"), operator, known))
        if effect:
            errors += check.one_of(effect, at.child("effect"), TAINT_EFFECTS)
    return errors


def gates(items: list[Object], path: Path) -> Errors:
    """validateSchedulingGates."""
    errors: Errors = []
    seen: set[str] = set()
    for position, gate in enumerate(items):
        title = gate.get("name", "")
        errors += check.named(name.qualified, title, path.index(position))
        if title in seen:
            errors.append(field.duplicate(path.index(position), title))
        seen.add(title)
    return errors


def resource_claims(claims: list[Object], path: Path) -> Errors:
    """validatePodResourceClaims."""
    errors: Errors = []
    seen: set[str] = set()
    for position, claim in enumerate(claims):
        at = path.index(position)
        title, source, template = claim.get("name", ""), claim.get("resourceClaimName"), claim.get("resourceClaimTemplateName")
        shown = {"Name": title, "ResourceClaimName": source, "ResourceClaimTemplateName": template}
        if not title:
            errors.append(field.required(at.child("name")))
        elif title in seen:
            errors.append(field.duplicate(at.child("name"), title))
        else:
            errors += check.named(name.label, title, at.child("name"))
            seen.add(title)
        if source is not None and template is not None:
            errors.append(field.invalid(at, shown, "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified"))
        if source is None and template is None:
            errors.append(field.invalid(at, shown, _ONE_OF_CLAIM))
        if source is not None:
            errors += check.named(name.subdomain, source, at.child("resourceClaimName"))
        if template is not None:
            errors += check.named(name.subdomain, template, at.child("resourceClaimTemplateName"))
    return errors
