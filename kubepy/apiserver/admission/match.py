"""Which requests rules and selectors of webhooks and policies select. Pure.

Source: `k8s.io/apiserver/pkg/admission/plugin/webhook/predicates` and `…/policy/matching`.
"""
from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from kubepy.api.resource import Resource
from kubepy.api.selector import LabelSelector
from kubepy.api.types import Object
from kubepy.apiserver.request import Attributes

EXEMPT = frozenset((
    "validatingwebhookconfigurations", "mutatingwebhookconfigurations", "validatingadmissionpolicies", "validatingadmissionpolicybindings",
    "mutatingadmissionpolicies", "mutatingadmissionpolicybindings"))
"""Resources of admissionregistration.k8s.io that nothing may be asked about, or a bad configuration could never be mended."""


def is_exempt(resource: Resource) -> bool:
    return resource.group == "admissionregistration.k8s.io" and resource.plural in EXEMPT


def is_namespace(attributes: Attributes) -> bool:
    resource = attributes.context.kind.resource
    return resource.plural == "namespaces" and not resource.group


def namespace_of(attributes: Attributes) -> str:
    """The request's namespace; for a namespace itself its own name, as the path has it."""
    return attributes.name if is_namespace(attributes) else attributes.namespace


def rule_matches(rule: Object, resource: Resource, attributes: Attributes) -> bool:
    """Whether a rule with operations selects the request, seen as one for `resource`."""
    operations = rule.get("operations") or ()
    if attributes.operation not in operations and "*" not in operations:
        return False
    for key, value in (("apiGroups", resource.group), ("apiVersions", resource.version)):
        values = rule.get(key) or ()
        if value not in values and "*" not in values:
            return False
    if not any(_resource(text, resource.plural, attributes.subresource) for text in rule.get("resources") or ()):
        return False
    names = rule.get("resourceNames") or ()
    if names and attributes.name not in names:
        return False
    scope = rule.get("scope") or "*"
    return scope == "*" or (scope == "Namespaced") == (bool(attributes.namespace) and not is_namespace(attributes))


def _resource(text: str, plural: str, subresource: str) -> bool:
    base, _, sub = text.partition("/")
    return base in ("*", plural) and sub in ("*", subresource)


class Selected(NamedTuple):
    resource: Resource
    """As what the request is seen: its own resource or, with matchPolicy Equivalent, another version of it."""


def select(rules: list[Object], exact: bool, attributes: Attributes, equivalents: Callable[[Resource], list[Resource]]) -> Selected | None:
    """The version of the request's resource that the rules are for, its own first."""
    resource = attributes.context.kind.resource
    for rule in rules:
        if rule_matches(rule, resource, attributes):
            return Selected(resource)
    if exact:
        return None
    for other in equivalents(resource):
        for rule in rules:
            if rule_matches(rule, other, attributes):
                return Selected(other)
    return None


def object_matches(selector: LabelSelector, attributes: Attributes) -> bool:
    """The object or the one before it."""
    return selector.empty or any(selector.matches(labels) for labels in map(labels_of, (attributes.obj, attributes.old))
                                 if labels is not None)


def labels_of(obj: Object | None) -> Mapping[str, str] | None:
    metadata = (obj or {}).get("metadata")
    if not isinstance(metadata, dict):
        return None
    labels = metadata.get("labels")
    return labels if isinstance(labels, dict) else {}
