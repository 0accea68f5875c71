"""RBAC's roles and bindings in memory, indexed by subject, and for each subject by verb, group and resource.

Tables are built when a subject is first asked about and dropped when a role or binding of theirs changes, so that a decision costs a
dozen dictionary look-ups however many roles and bindings there are.
"""
from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import orjson

from kubepy.api.types import Object
from kubepy.apiserver.authz.message import quote
from kubepy.apiserver.authz.rule import path_matches
from kubepy.apiserver.request import User

RoleKey = tuple[str, str]
"""(namespace, name); the namespace is "" for a ClusterRole."""
BindingKey = tuple[str, str]


@dataclass(slots=True)
class Binding:
    """A RoleBinding, or with namespace "" a ClusterRoleBinding."""

    namespace: str
    name: str
    role_kind: str
    role_name: str
    subjects: tuple[tuple[str, str], ...]
    """(subject key, description) in order."""

    @property
    def role(self) -> RoleKey:
        return (self.namespace if self.role_kind == "Role" else "", self.role_name)

    def reason(self, subject: str) -> str:
        title = f"RoleBinding {quote(f'{self.name}/{self.namespace}')}" if self.namespace else f"ClusterRoleBinding {quote(self.name)}"
        return f"RBAC: allowed by {title} of {self.role_kind} {quote(self.role_name)} to {subject}"


@dataclass(slots=True)
class Table:
    """What the bindings of one scope (a namespace, or "" for the cluster) give to one subject."""

    grants: dict[tuple[str, str, str], list[tuple[frozenset[str] | None, str]]] = field(default_factory=dict)
    """(verb, group, resource) to the names it is limited to and the reason."""
    known: set[str] = field(default_factory=set)
    """The resources that anything is granted on: most questions end here."""
    paths: list[tuple[frozenset[str], tuple[str, ...], str]] = field(default_factory=list)
    rules: list[Object] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def resource(self, verb: str, group: str, resource: str, subresource: str, name: str) -> str:
        """The reason to allow, or ""."""
        targets = (f"{resource}/{subresource}", f"*/{subresource}", "*") if subresource else (resource, "*")
        grants, known = self.grants, self.known
        for target in targets:
            if target not in known:
                continue
            for wanted_verb in (verb, "*"):
                for wanted_group in (group, "*"):
                    for names, reason in grants.get((wanted_verb, wanted_group, target), ()):
                        if names is None or name in names:
                            return reason
        return ""

    def path(self, verb: str, path: str) -> str:
        for verbs, urls, reason in self.paths:
            if (verb in verbs or "*" in verbs) and path_matches(urls, path):
                return reason
        return ""

    def add(self, rules: Sequence[Object], reason: str) -> None:
        for rule in rules:
            verbs: Sequence[str] = rule.get("verbs") or ()
            self.rules.append(rule)
            if urls := rule.get("nonResourceURLs"):
                self.paths.append((frozenset(verbs), tuple(urls), reason))
            listed = rule.get("resourceNames")
            names = frozenset(listed) if listed else None
            self.known.update(rule.get("resources") or ())
            for group in rule.get("apiGroups") or ():
                for resource in rule.get("resources") or ():
                    for verb in verbs:
                        self.grants.setdefault((verb, group, resource), []).append((names, reason))


class RbacIndex:
    """Roles and bindings as they are now; fed by the stores."""

    def __init__(self) -> None:
        self._roles: dict[RoleKey, Sequence[Object]] = {}
        self._bindings: dict[BindingKey, Binding] = {}
        self._by_subject: dict[str, dict[str, dict[BindingKey, None]]] = defaultdict(dict)
        """Scope, subject, bindings."""
        self._by_role: dict[RoleKey, set[BindingKey]] = defaultdict(set)
        self._tables: dict[tuple[str, str], Table] = {}

    def rules(self, role: RoleKey) -> Sequence[Object] | None:
        return self._roles.get(role)

    def set_role(self, namespace: str, name: str, obj: Mapping[str, object] | None) -> None:
        """A role as it is now; None: it is gone."""
        key = (namespace, name)
        if obj is None:
            self._roles.pop(key, None)
        else:
            rules = obj.get("rules")
            self._roles[key] = rules if isinstance(rules, list) else []
        for binding in self._by_role.get(key, ()):
            self._forget_tables(self._bindings[binding])

    def set_binding(self, namespace: str, name: str, obj: Object | None) -> None:
        """A binding as it is now; None: it is gone."""
        key = (namespace, name)
        if (old := self._bindings.pop(key, None)) is not None:
            self._unlink(key, old)
        if obj is None:
            return
        binding = read_binding(namespace, name, obj)
        self._bindings[key] = binding
        self._by_role[binding.role].add(key)
        for subject, _ in binding.subjects:
            self._by_subject[namespace].setdefault(subject, {})[key] = None
        self._forget_tables(binding)

    def _unlink(self, key: BindingKey, old: Binding) -> None:
        """Takes a binding out of every index, and leaves no empty entries behind."""
        self._forget_tables(old)
        users = self._by_role[old.role]
        users.discard(key)
        if not users:
            del self._by_role[old.role]
        known = self._by_subject[old.namespace]
        for subject, _ in old.subjects:
            keys = known.get(subject, {})
            keys.pop(key, None)
            if not keys:
                known.pop(subject, None)
        if not known:
            del self._by_subject[old.namespace]

    def keep_only_roles(self, cluster: bool, keys: set[RoleKey]) -> None:
        for key in [key for key in self._roles if (key[0] == "") == cluster and key not in keys]:
            self.set_role(*key, None)

    def keep_only_bindings(self, cluster: bool, keys: set[BindingKey]) -> None:
        for key in [key for key in self._bindings if (key[0] == "") == cluster and key not in keys]:
            self.set_binding(*key, None)

    def tables(self, user: User, namespace: str) -> Iterable[Table]:
        """The tables that concern a user: the cluster's, then the namespace's."""
        for scope in ("", namespace) if namespace else ("",):
            known = self._by_subject.get(scope)
            if known is None:
                continue
            for subject in (f"u:{user.name}", *(f"g:{group}" for group in user.groups)):
                if subject in known:
                    yield self._tables.get((scope, subject)) or self._build(scope, subject)

    def _build(self, scope: str, subject: str) -> Table:
        table = Table()
        for key in self._by_subject[scope].get(subject, ()):
            binding = self._bindings[key]
            rules = self._roles.get(binding.role)
            if rules is None:
                kind = binding.role_kind.lower()
                table.errors.append(f"{kind}.rbac.authorization.k8s.io {quote(binding.role_name)} not found")
                continue
            table.add(rules, binding.reason(dict(reversed(binding.subjects))[subject]))
        self._tables[(scope, subject)] = table
        return table

    def _forget_tables(self, binding: Binding) -> None:
        for subject, _ in binding.subjects:
            self._tables.pop((binding.namespace, subject), None)


def read_binding(namespace: str, name: str, obj: Object) -> Binding:
    role = obj.get("roleRef") or {}
    subjects: list[tuple[str, str]] = []
    for subject in obj.get("subjects") or ():
        kind, subject_name = subject.get("kind", ""), subject.get("name", "")
        if kind == "ServiceAccount":
            home = subject.get("namespace") or namespace
            if home:
                subjects.append((f"u:system:serviceaccount:{home}:{subject_name}", f"ServiceAccount {quote(f'{subject_name}/{home}')}"))
        elif kind in ("User", "Group"):
            subjects.append((f"{kind[0].lower()}:{subject_name}", f"{kind} {quote(subject_name)}"))
    return Binding(namespace, name, role.get("kind", ""), role.get("name", ""), tuple(subjects))


def decode(raw: bytes) -> Object:
    found: Object = orjson.loads(raw)
    return found
