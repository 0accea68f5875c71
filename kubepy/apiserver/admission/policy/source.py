"""Policies and their bindings, kept by name as they change."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from kubepy.apiserver.admission.policy.definition import Binding, Policy
from kubepy.apiserver.storage.feed import Feed
from kubepy.apiserver.storage.interface import Entry, Event, ResourceStore

T = TypeVar("T")


class Source:
    """`pairs`: each policy with its bindings, both by name; policies without one do nothing."""

    def __init__(self, policies: ResourceStore, bindings: ResourceStore) -> None:
        self._policies: dict[str, Policy] = {}
        self._bindings: dict[str, Binding] = {}
        self.pairs: tuple[tuple[Policy, tuple[Binding, ...]], ...] = ()
        self.feeds = (self._feed(policies, self._policies, Policy), self._feed(bindings, self._bindings, Binding))

    def _feed(self, store: ResourceStore, found: dict[str, T], read: Callable[..., T]) -> Feed:
        def replace(entries: Sequence[Entry]) -> None:
            found.clear()
            found.update({entry.name: read(entry.decode()) for entry in entries})
            self._join()

        def apply(event: Event) -> None:
            if event.type == "DELETED":
                found.pop(event.entry.name, None)
            else:
                found[event.entry.name] = read(event.entry.decode())
            self._join()

        return Feed(store, replace, apply)

    def _join(self) -> None:
        bound: dict[str, list[Binding]] = {}
        for name in sorted(self._bindings):
            binding = self._bindings[name]
            bound.setdefault(binding.spec.get("policyName", ""), []).append(binding)
        self.pairs = tuple((self._policies[name], tuple(bound[name])) for name in sorted(self._policies) if name in bound)
