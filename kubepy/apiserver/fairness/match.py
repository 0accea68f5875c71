"""Which FlowSchema a request belongs to, and to which flow of it. Pure."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from kubepy.api.types import Object
from kubepy.apiserver.request import RequestInfo, User

_ACCOUNT = "system:serviceaccount:"


@dataclass(frozen=True, slots=True)
class Schema:
    """A FlowSchema, compiled."""

    name: str
    uid: bytes
    precedence: int
    level: str
    distinguisher: str
    rules: tuple[tuple[tuple[tuple[str, str, str], ...], tuple[Object, ...], tuple[Object, ...]], ...]
    """Subjects as (kind, namespace, name), resource rules, non-resource rules."""

    def matches(self, user: User, info: RequestInfo) -> bool:
        for subjects, resource, other in self.rules:
            rules = resource if info.is_resource else other
            if rules and any(_subject(subject, user) for subject in subjects):
                check = _resource if info.is_resource else _path
                if any(check(rule, info) for rule in rules):
                    return True
        return False

    def flow(self, user: User, info: RequestInfo) -> str:
        """What requests of this schema are told apart by."""
        if self.distinguisher == "ByUser":
            return f"{self.name}/{user.name}"
        return f"{self.name}/{info.namespace}" if self.distinguisher == "ByNamespace" else self.name


class Flow(NamedTuple):
    schema: Schema
    key: str


def compile_schema(obj: Object) -> Schema:
    metadata, spec = obj["metadata"], obj.get("spec") or {}
    rules = tuple((tuple(_compile_subject(item) for item in rule.get("subjects") or ()), tuple(rule.get("resourceRules") or ()),
                   tuple(rule.get("nonResourceRules") or ())) for rule in spec.get("rules") or ())
    return Schema(metadata["name"], str(metadata.get("uid", "")).encode(), int(spec.get("matchingPrecedence") or 1000),
                  (spec.get("priorityLevelConfiguration") or {}).get("name", ""), (spec.get("distinguisherMethod") or {}).get("type", ""),
                  rules)


def classify(schemas: Sequence[Schema], user: User, info: RequestInfo) -> Flow | None:
    """The first schema that matches; they are ordered by precedence, then name."""
    for schema in schemas:
        if schema.matches(user, info):
            return Flow(schema, schema.flow(user, info))
    return None


def _compile_subject(subject: Object) -> tuple[str, str, str]:
    kind = subject.get("kind", "")
    value = subject.get({"User": "user", "Group": "group", "ServiceAccount": "serviceAccount"}.get(kind, ""), {}) or {}
    return kind, value.get("namespace", ""), value.get("name", "")


def _subject(subject: tuple[str, str, str], user: User) -> bool:
    kind, namespace, name = subject
    if kind == "User":
        return name in ("*", user.name)
    if kind == "Group":
        return name == "*" or name in user.groups
    if kind == "ServiceAccount" and user.name.startswith(_ACCOUNT):
        own, _, account = user.name.removeprefix(_ACCOUNT).partition(":")
        return own == namespace and name in ("*", account)
    return False


def _has(values: Sequence[str], value: str) -> bool:
    return "*" in values or value in values


def _resource(rule: Object, info: RequestInfo) -> bool:
    if not _has(rule.get("verbs") or (), info.verb) or not _has(rule.get("apiGroups") or (), info.group):
        return False
    if not _has(rule.get("resources") or (), f"{info.resource}/{info.subresource}" if info.subresource else info.resource):
        return False
    return _has(rule.get("namespaces") or (), info.namespace) if info.namespace else bool(rule.get("clusterScope"))


def _path(rule: Object, info: RequestInfo) -> bool:
    if not _has(rule.get("verbs") or (), info.verb):
        return False
    path = info.path
    return any(url in ("*", path) or (url.endswith("/*") and path.startswith(url[:-1])) for url in rule.get("nonResourceURLs") or ())
