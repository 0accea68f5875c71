"""What an informer knows: objects by key, with indexes. Objects are shared and must not be changed.

Keys are upstream's: `namespace/name`, or `name` for cluster-scoped objects.
"""
from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

from kubepy.api.types import Object

IndexFunction = Callable[[Object], Iterable[str]]
Objects = list[Object]
_Index = dict[str, dict[str, None]]
"""Keys by value, in no order that matters."""


def key_of(obj: Object) -> str:
    """`namespace/name`, or `name`."""
    metadata = obj["metadata"]
    namespace = metadata.get("namespace")
    return f"{namespace}/{metadata['name']}" if namespace else str(metadata["name"])


def join_key(namespace: str | None, name: str) -> str:
    return f"{namespace}/{name}" if namespace else name


def split_key(key: str) -> tuple[str, str]:
    """(namespace, name); the namespace is "" for cluster-scoped objects."""
    namespace, _, name = key.rpartition("/")
    return namespace, name


class Lister(Protocol):
    """Reads from a cache: whatever was seen last, without waiting."""

    def get(self, name: str, namespace: str | None = None) -> Object | None: ...

    def list(self, namespace: str | None = None) -> Objects:
        """All objects, or those of a namespace, in no order."""
        ...

    def by_index(self, index: str, value: str) -> Objects: ...

    def __len__(self) -> int: ...


class Store:
    """The lister's data; only the informer writes."""

    def __init__(self) -> None:
        self._items: dict[str, Object] = {}
        self._namespaces: _Index = {}
        self._indexes: dict[str, _Index] = {"namespace": self._namespaces}
        self._functions: list[tuple[IndexFunction, _Index]] = []
        self._values: dict[str, list[tuple[str, ...]]] = {}
        """What each function has said of the object, so that it is not asked again when it changes or goes."""

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Object]:
        return iter(self._items.values())

    def keys(self) -> set[str]:
        return set(self._items)

    def get(self, name: str, namespace: str | None = None) -> Object | None:
        return self._items.get(join_key(namespace, name))

    def by_key(self, key: str) -> Object | None:
        return self._items.get(key)

    def list(self, namespace: str | None = None) -> Objects:
        return self.by_index("namespace", namespace) if namespace else list(self._items.values())

    def by_index(self, index: str, value: str) -> Objects:
        items = self._items
        return [items[key] for key in self._indexes[index].get(value, ())]

    def index_values(self, index: str) -> Sequence[str]:
        return list(self._indexes[index])

    def add_index(self, name: str, function: IndexFunction) -> None:
        """Objects that are there already are indexed too. Adding the same name again changes nothing."""
        if name in self._indexes:
            return
        index = self._indexes[name] = {}
        self._functions.append((function, index))
        for key, obj in self._items.items():
            values = tuple(function(obj))
            self._values[key].append(values)
            _add(index, key, values)

    def put(self, key: str, obj: Object) -> Object | None:
        """Returns what was there before."""
        old = self._items.get(key)
        self._items[key] = obj
        if old is None:
            if namespace := obj["metadata"].get("namespace"):
                _add(self._namespaces, key, (namespace,))
            self._values[key] = kept = []
            for function, index in self._functions:
                values = tuple(function(obj))
                kept.append(values)
                _add(index, key, values)
            return None
        kept = self._values[key]
        for at, (function, index) in enumerate(self._functions):
            values = tuple(function(obj))
            if values != (before := kept[at]):
                _take(index, key, before)
                _add(index, key, values)
                kept[at] = values
        return old

    def remove(self, key: str) -> Object | None:
        old = self._items.pop(key, None)
        if old is not None:
            if namespace := old["metadata"].get("namespace"):
                _take(self._namespaces, key, (namespace,))
            for (_, index), values in zip(self._functions, self._values.pop(key), strict=True):
                _take(index, key, values)
        return old


def _add(index: _Index, key: str, values: tuple[str, ...]) -> None:
    for value in values:
        index.setdefault(value, {})[key] = None


def _take(index: _Index, key: str, values: tuple[str, ...]) -> None:
    for value in values:
        keys = index.get(value)
        if keys is not None:
            keys.pop(key, None)
            if not keys:
                del index[value]
