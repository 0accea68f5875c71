"""Node labels in columns: for each key that anybody asks about, one array of value numbers over all nodes (-1: the label is absent)."""
from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kubepy.api.scheduling import Labels

Numbers = NDArray[np.int32]
Mask = NDArray[np.bool_]


class LabelColumn:
    """One label key. `ids[slot]` indexes `values`; numbers are never reused, so that they can index counts per topology domain."""

    __slots__ = ("_index", "ids", "values")

    def __init__(self, capacity: int) -> None:
        self.ids: Numbers = np.full(capacity, -1, np.int32)
        self.values: list[str] = []
        self._index: dict[str, int] = {}

    def set(self, slot: int, value: str | None) -> None:
        if value is None:
            self.ids[slot] = -1
            return
        number = self._index.get(value)
        if number is None:
            number = self._index[value] = len(self.values)
            self.values.append(value)
        self.ids[slot] = number

    def grow(self, capacity: int) -> None:
        ids = np.full(capacity, -1, np.int32)
        ids[:len(self.ids)] = self.ids
        self.ids = ids

    def number(self, value: str) -> int:
        """The number of a value, or -1 when no node has ever had it."""
        return self._index.get(value, -1)

    def mask(self, accepts: Callable[[str | None], bool]) -> Mask:
        """The nodes whose value (None: absent) is accepted; asks once per distinct value."""
        table = np.fromiter((*(accepts(value) for value in self.values), accepts(None)), np.bool_, len(self.values) + 1)
        found: Mask = table[self.ids]  # -1 picks the last entry: absent
        return found


class LabelTable:
    """The columns in use; a key gets one when it is first asked for."""

    def __init__(self) -> None:
        self._columns: dict[str, LabelColumn] = {}

    def column(self, key: str, capacity: int, nodes: Iterable[tuple[int, Labels]]) -> LabelColumn:
        """The key's column; `nodes` (slot, labels) is read only when it has to be made."""
        found = self._columns.get(key)
        if found is None:
            found = self._columns[key] = LabelColumn(capacity)
            for slot, labels in nodes:
                found.set(slot, labels.get(key))
        return found

    def set_node(self, slot: int, labels: Labels) -> None:
        for key, column in self._columns.items():
            column.set(slot, labels.get(key))

    def grow(self, capacity: int) -> None:
        for column in self._columns.values():
            column.grow(capacity)


def by_domain(column: LabelColumn, weights: NDArray[Any], among: Mask | None = None) -> NDArray[Any]:
    """Sums `weights` per value of the column, over the nodes in `among` that have the label."""
    here = column.ids >= 0
    if among is not None:
        here &= among
    return np.bincount(column.ids[here], weights=weights[here], minlength=max(1, len(column.values)))


def to_nodes(column: LabelColumn, per_domain: NDArray[Any], absent: float = 0) -> NDArray[Any]:
    """Spreads a value per domain back over the nodes; nodes without the label get `absent`."""
    spread = np.append(per_domain[:max(1, len(column.values))], absent)
    return spread[column.ids]
