"""What verbs see of storage: one `ResourceStore` for each stored resource.

Keys are `(namespace, name)`; the namespace is "" for cluster-scoped objects. Stored JSON is canonical: `apiVersion`, `kind` and
`metadata` come first and `metadata` has no `resourceVersion`; `Entry.json()` splices it in. All objects handed out are
shared and must not be changed.
"""
from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from kubepy.api.types import Object


class Entry(Protocol):
    """One object as the cache holds it: bytes and what selectors need; decoded only when asked."""

    namespace: str
    name: str
    uid: str
    revision: int
    """etcd's mod revision: the object's resourceVersion."""
    labels: Mapping[str, str]
    fields: Mapping[str, str]
    """The selectable fields of the kind, `metadata.name` and `metadata.namespace` among them."""
    raw: bytes

    def json(self) -> bytes:
        """The object's JSON with apiVersion, kind and resourceVersion, as it is answered. Cheap: no decoding."""
        ...

    def decode(self) -> Object:
        """The object with its resourceVersion; a fresh tree that belongs to the caller."""
        ...


class Event(Protocol):
    """A change. For DELETED `entry` is the last state at the deletion's revision; `previous` is the state before."""

    type: str
    """ADDED, MODIFIED or DELETED, before selectors are applied."""
    revision: int
    entry: Entry
    previous: Entry | None

    def frame(self, type: str) -> bytes:
        """The JSON watch frame with its newline, encoded once for all watchers: `{"type":…,"object":…}`."""
        ...

    def shared(self, form: str, make: Callable[[], bytes]) -> bytes:
        """A frame in another form (a name for what `make` makes), also encoded once for all watchers."""
        ...


class Page(Protocol):
    entries: Sequence[Entry]
    revision: int
    continue_token: str
    remaining: int | None
    """How many items follow the page; None where Kubernetes does not tell (with selectors)."""


class Watcher(Protocol):
    """A stream of changes after a revision. A consumer that falls too far behind is ended with `errors.Expired`."""

    async def next(self, timeout: float | None = None) -> list[Event]:
        """The next events, at least one unless the timeout (seconds) passed; raises Expired when history is gone."""
        ...

    def bookmark(self) -> int:
        """A revision up to which this watcher has been given everything."""
        ...

    def close(self) -> None: ...


Matcher = Callable[[Entry], bool]
Change = Callable[[Entry], Awaitable[Object]]
"""Computes the object to store from the current one; raises to give up. Called again when the compare-and-swap is lost."""


class ResourceStore(Protocol):
    async def get(self, namespace: str, name: str, *, resource_version: str | None = None) -> Entry:
        """The object: a quorum-fresh one, or with `resource_version` one at least as new ("0": whatever is cached).
        Raises NotFound."""
        ...

    def cached(self, namespace: str, name: str) -> Entry | None:
        """What the cache holds now, without waiting."""
        ...

    async def list(self, namespace: str | None, *, match: Matcher | None = None, resource_version: str | None = None,
                   resource_version_match: str | None = None, limit: int = 0, continue_token: str = "",
                   labels: Callable[[Mapping[str, str]], bool] | None = None) -> Page:
        """A page in key order; None lists all namespaces. `labels` may repeat what `match` demands of the labels: objects are
        then found by an index. Raises Expired, BadRequest, Timeout as Kubernetes does."""
        ...

    async def create(self, namespace: str, name: str, obj: Object, *, ttl: int | None = None) -> Entry:
        """Stores a new object (`ttl` in seconds); raises AlreadyExists."""
        ...

    async def update(self, namespace: str, name: str, change: Change, *, ttl: int | None = None) -> tuple[Entry, bool]:
        """Guaranteed update: the first attempt uses the cached object, later ones etcd's. A change that leaves the stored
        bytes as they are writes nothing. A `ttl` (seconds) starts the object's time to live anew; None keeps what it has.
        Returns the entry and whether it was written; raises NotFound."""
        ...

    async def delete(self, namespace: str, name: str, check: Callable[[Entry], None] | None = None) -> Entry:
        """Removes the object; `check` raises when it may not go (preconditions). Returns the last state at the deletion's revision."""
        ...

    async def watch(self, namespace: str | None, name: str | None, *, after: int) -> Watcher:
        """Changes after revision `after`; raises Expired when history does not reach back to it."""
        ...

    async def ready(self) -> None:
        """Waits until the cache has been filled."""
        ...
