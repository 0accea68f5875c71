"""The audit policy: which requests are recorded at which level and stages (`k8s.io/apiserver/pkg/audit/policy`). Pure.

Known difference: bodies of secrets, tokens and their reviews are never recorded, whatever level the policy gives them.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from kubepy.apiserver.request import RequestInfo, User

LEVELS = ("None", "Metadata", "Request", "RequestResponse")
STAGES = ("RequestReceived", "ResponseStarted", "ResponseComplete", "Panic")
_KNOWN = frozenset(("level", "users", "userGroups", "verbs", "resources", "namespaces", "nonResourceURLs", "omitStages",
                    "omitManagedFields"))
_VERSIONS = ("audit.k8s.io/v1", "audit.k8s.io/v1beta1", "audit.k8s.io/v1alpha1")
_SECRET = frozenset((("", "secrets", ""), ("", "serviceaccounts", "token"), ("authentication.k8s.io", "tokenreviews", "")))


@dataclass(frozen=True, slots=True)
class Rule:
    level: str
    users: frozenset[str]
    groups: frozenset[str]
    verbs: frozenset[str]
    resources: tuple[tuple[str, tuple[str, ...], frozenset[str]], ...]
    namespaces: frozenset[str]
    urls: tuple[str, ...]
    omitted: frozenset[str]
    managed_fields: bool

    def matches(self, user: User, info: RequestInfo) -> bool:
        if self.users and user.name not in self.users:
            return False
        if self.groups and not self.groups.intersection(user.groups):
            return False
        if self.verbs and info.verb not in self.verbs:
            return False
        if self.namespaces or self.resources:
            return info.is_resource and self._resource(info)
        if self.urls:
            return not info.is_resource and any(_url(url, info.path) for url in self.urls)
        return True

    def _resource(self, info: RequestInfo) -> bool:
        if self.namespaces and info.namespace not in self.namespaces:
            return False
        if not self.resources:
            return True
        whole = f"{info.resource}/{info.subresource}" if info.subresource else info.resource
        for group, resources, names in self.resources:
            if group != info.group:
                continue
            if not resources:
                return True
            for resource in resources:
                if names and info.name not in names:
                    continue
                if resource in ("*", whole) or (info.subresource and resource == f"*/{info.subresource}") \
                        or (resource.endswith("/*") and resource[:-2] == info.resource):
                    return True
        return False


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be recorded of one request."""

    level: str
    omitted: frozenset[str] = frozenset(STAGES)
    managed_fields: bool = True

    @property
    def request(self) -> bool:
        return self.level in ("Request", "RequestResponse")

    @property
    def response(self) -> bool:
        return self.level == "RequestResponse"


NOTHING = Wanted("None")


class Policy:
    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = tuple(rules)

    def evaluate(self, user: User, info: RequestInfo) -> Wanted:
        """By the first rule that matches; nothing where none does."""
        for rule in self._rules:
            if rule.matches(user, info):
                level = rule.level
                if level in ("Request", "RequestResponse") and (info.group, info.resource, info.subresource) in _SECRET:
                    level = "Metadata"
                return Wanted(level, rule.omitted, rule.managed_fields)
        return NOTHING


def load(path: str) -> Policy:
    """Raises ValueError, with the file's name, or OSError."""
    try:
        document = yaml.load(Path(path).read_bytes(), Loader=yaml.CSafeLoader)
        return parse(document)
    except (yaml.YAMLError, ValueError) as error:
        raise ValueError(f"--audit-policy-file: loading audit policy file {path}: {error}") from error


def parse(document: Any) -> Policy:
    """Raises ValueError."""
    if not isinstance(document, dict) or document.get("kind") != "Policy" or document.get("apiVersion") not in _VERSIONS:
        raise ValueError(f"no audit policy: kind Policy of {_VERSIONS[0]} is expected")
    if not document.get("rules"):
        raise ValueError("loaded illegal policy with 0 rules")
    omitted = _stages(document.get("omitStages"), "omitStages")
    return Policy([_rule(rule, f"rules[{position}]", omitted, bool(document.get("omitManagedFields")))
                   for position, rule in enumerate(document["rules"])])


def _rule(rule: Any, where: str, omitted: frozenset[str], without_managed: bool) -> Rule:
    if not isinstance(rule, dict):
        raise ValueError(f"{where}: a rule is expected")
    if unknown := sorted(set(rule) - _KNOWN):
        raise ValueError(f'{where}: unknown field "{unknown[0]}"')
    if rule.get("level") not in LEVELS:
        raise ValueError(f'{where}.level: Unsupported value: "{rule.get("level", "")}": supported values: {", ".join(LEVELS)}')
    if rule.get("nonResourceURLs") and (rule.get("resources") or rule.get("namespaces")):
        raise ValueError(f"{where}.nonResourceURLs: rules cannot apply to both regular resources and non-resource URLs")
    for url in rule.get("nonResourceURLs") or ():
        if url != "*" and (not url.startswith("/") or "*" in url[:-1]):
            raise ValueError(f"{where}.nonResourceURLs: {url!r} must begin with / and have a * only at its end")
    resources = tuple((str(item.get("group") or ""), tuple(item.get("resources") or ()), frozenset(item.get("resourceNames") or ()))
                      for item in rule.get("resources") or ())
    own = rule.get("omitManagedFields")
    return Rule(rule["level"], frozenset(rule.get("users") or ()), frozenset(rule.get("userGroups") or ()),
                frozenset(rule.get("verbs") or ()), resources, frozenset(rule.get("namespaces") or ()),
                tuple(rule.get("nonResourceURLs") or ()), omitted | _stages(rule.get("omitStages"), f"{where}.omitStages"),
                not (without_managed if own is None else own))


def _stages(stages: Any, where: str) -> frozenset[str]:
    for stage in stages or ():
        if stage not in STAGES:
            raise ValueError(f'{where}: Unsupported value: "{stage}": supported values: {", ".join(STAGES)}')
    return frozenset(stages or ())


def _url(pattern: str, path: str) -> bool:
    return pattern in ("*", path) or (pattern.endswith("*") and path.startswith(pattern[:-1]))
