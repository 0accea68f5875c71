"""The kinds a process serves, by path: the built-in ones and, while it runs, custom resources.

The dictionaries are replaced, never changed in place, so that readers need no lock.
"""
from __future__ import annotations

from collections.abc import Iterable

from kubepy.api.resource import Resource
from kubepy.apiserver.registry.kind import Kind


class KindTable:
    def __init__(self, builtin: Iterable[Kind]) -> None:
        self._builtin = tuple(builtin)
        self._custom: tuple[Kind, ...] = ()
        self.generation = 0
        """Grows with every change; what is computed from the table is kept under it."""
        self.kinds: tuple[Kind, ...] = ()
        self.by_path: dict[tuple[str, str, str], Kind] = {}
        self.by_kind: dict[tuple[str, str, str], Kind] = {}
        self.custom_groups: frozenset[str] = frozenset()
        self.versions: dict[str, list[str]] = {}
        """The served versions of each group, in order of preference."""
        self._rebuild()

    def _rebuild(self) -> None:
        kinds = self._builtin + self._custom
        by_path: dict[tuple[str, str, str], Kind] = {}
        by_kind: dict[tuple[str, str, str], Kind] = {}
        versions: dict[str, list[str]] = {}
        for kind in kinds:
            resource = kind.resource
            by_path[resource.group, resource.version, resource.plural] = kind
            by_kind.setdefault((resource.group, resource.version, resource.kind), kind)
            served = versions.setdefault(resource.group, [])
            if resource.version not in served:
                served.append(resource.version)
        own = {kind.resource.group for kind in self._builtin}
        self.custom_groups = frozenset(kind.resource.group for kind in self._custom) - own
        self.kinds, self.by_path, self.by_kind, self.versions = kinds, by_path, by_kind, versions
        self.generation += 1

    def set_custom(self, kinds: Iterable[Kind]) -> None:
        """Replaces all custom kinds."""
        self._custom = tuple(kinds)
        self._rebuild()

    def find(self, group: str, version: str, plural: str) -> Kind | None:
        return self.by_path.get((group, version, plural))

    def of(self, resource: Resource) -> Kind:
        """The kind of a resource that is known to be served; raises KeyError."""
        return self.by_path[resource.group, resource.version, resource.plural]

    @property
    def builtin(self) -> tuple[Kind, ...]:
        return self._builtin

    @property
    def custom(self) -> tuple[Kind, ...]:
        return self._custom
