"""Policies and their bindings, kept by name as they change."""
from __future__ import annotations

from collections.abc import Sequence

from kubepy.api.resource import Resource
from kubepy.api.selector import NOTHING, LabelSelector, SelectorError, from_object
from kubepy.api.types import Object
from kubepy.apiserver.storage.feed import Feed
from kubepy.apiserver.storage.interface import Entry, Event, ResourceStore

_GROUP = "admissionregistration.k8s.io"
POLICIES = Resource(_GROUP, "v1", "validatingadmissionpolicies", "ValidatingAdmissionPolicy", False)
BINDINGS = Resource(_GROUP, "v1", "validatingadmissionpolicybindings", "ValidatingAdmissionPolicyBinding", False)


class Source:
    """`pairs`: each policy with its bindings, both by name; policies without one do nothing."""

    def __init__(self, policies: ResourceStore, bindings: ResourceStore) -> None:
        self._policies: dict[str, Object] = {}
        self._bindings: dict[str, Object] = {}
        self.pairs: tuple[tuple[Object, tuple[Object, ...]], ...] = ()
        self.feeds = (self._feed(policies, self._policies), self._feed(bindings, self._bindings))

    def _feed(self, store: ResourceStore, found: dict[str, Object]) -> Feed:
        def replace(entries: Sequence[Entry]) -> None:
            found.clear()
            found.update({entry.name: entry.decode() for entry in entries})
            self._join()

        def apply(event: Event) -> None:
            if event.type == "DELETED":
                found.pop(event.entry.name, None)
            else:
                found[event.entry.name] = event.entry.decode()
            self._join()

        return Feed(store, replace, apply)

    def _join(self) -> None:
        bound: dict[str, list[Object]] = {}
        for name in sorted(self._bindings):
            binding = self._bindings[name]
            bound.setdefault((binding.get("spec") or {}).get("policyName", ""), []).append(binding)
        self.pairs = tuple((self._policies[name], tuple(bound[name])) for name in sorted(self._policies) if name in bound)


def selector(match: Object, key: str) -> LabelSelector:
    try:
        return from_object(match.get(key) or {})
    except SelectorError:
        return NOTHING

