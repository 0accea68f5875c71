"""What an informer knows: objects by key, with indexes. Objects are shared and must not be changed.

Keys are upstream's: `namespace/name`, or `name` for cluster-scoped objects.
"""
from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

from kubepy.api.types import Object

IndexFunction = Callable[[Object], Iterable[str]]
Objects = list[Object]


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
        self._functions: dict[str, IndexFunction] = {}
        self._indexes: dict[str, dict[str, dict[str, None]]] = {}
        self.add_index("namespace", _namespace)

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
        if name in self._functions:
            return
        self._functions[name] = function
        index = self._indexes[name] = {}
        for key, obj in self._items.items():
            for value in function(obj):
                index.setdefault(value, {})[key] = None

    def put(self, key: str, obj: Object) -> Object | None:
        """Returns what was there before."""
        old = self._items.get(key)
        self._items[key] = obj
        for name, function in self._functions.items():
            if old is None:
                gone: Iterable[str] = ()
                new = function(obj)
            else:
                if name == "namespace":  # it is in the key: it cannot change
                    continue
                gone, new = function(old), function(obj)
                if gone == new:
                    continue
                before, after = set(gone), set(new)
                gone, new = before - after, after - before
            self._unindex(name, key, gone)
            index = self._indexes[name]
            for value in new:
                index.setdefault(value, {})[key] = None
        return old

    def remove(self, key: str) -> Object | None:
        old = self._items.pop(key, None)
        if old is not None:
            for name, function in self._functions.items():
                self._unindex(name, key, function(old))
        return old

    def _unindex(self, name: str, key: str, values: Iterable[str]) -> None:
        index = self._indexes[name]
        for value in values:
            keys = index.get(value)
            if keys is not None:
                keys.pop(key, None)
                if not keys:
                    del index[value]


def _namespace(obj: Object) -> tuple[str, ...]:
    namespace = obj["metadata"].get("namespace")
    return (namespace,) if namespace else ()
