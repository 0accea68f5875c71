"""Which objects have which labels, so that a label selector costs what it selects and not what is stored.

Objects made from one template share their labels (`entry.Codec` gives them the same dict), so the selector is tried once for each set of
labels. Where nearly every object has labels of its own this is no gain, and the index says so. Upstream scans.
"""
from __future__ import annotations

from collections.abc import Callable, Mapping

from kubepy.apiserver.storage.entry import Entry

LabelMatcher = Callable[[Mapping[str, str]], bool]


class LabelIndex:
    """Labelled objects by their set of labels; ones without labels are not held."""

    __slots__ = ("_groups", "_size")

    def __init__(self) -> None:
        self._groups: dict[int, tuple[Mapping[str, str], dict[str, Entry]]] = {}
        """By the identity of the shared dict, which the group keeps alive."""
        self._size = 0

    def put(self, key: str, entry: Entry, old: Entry | None) -> None:
        labels = entry.labels
        if old is not None and old.labels is not labels:
            self.remove(key, old)
            old = None
        if not labels:
            return
        group = self._groups.get(id(labels))
        if group is None:
            group = self._groups[id(labels)] = (labels, {})
        group[1][key] = entry
        if old is None:
            self._size += 1

    def remove(self, key: str, old: Entry) -> None:
        group = self._groups.get(id(old.labels))
        if group is not None and group[1].pop(key, None) is not None:
            self._size -= 1
            if not group[1]:
                del self._groups[id(old.labels)]

    def select(self, matches: LabelMatcher) -> dict[str, Entry] | None:
        """The selected objects in no order, or None where a scan is as good: too many sets, or objects without labels match too."""
        if len(self._groups) * 4 > self._size + 100 or matches({}):
            return None
        found: dict[str, Entry] = {}
        for labels, members in self._groups.values():
            if matches(labels):
                found.update(members)
        return found
