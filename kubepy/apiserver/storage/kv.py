"""The key-value store beneath everything: a revisioned, ordered map of bytes with compare-and-swap and watches.

Two implementations share one contract (`tests/contract/storage`): `etcd.EtcdKV` and `memory.MemoryKV`. The semantics are etcd's:
one revision for each write in the whole store, reads at any revision that has not been compacted, watches that resume from a revision.

    KVError                  the request did not succeed
    ├─ Unavailable           no endpoint answered in time; of a write the outcome may be unknown
    ├─ Compacted             the revision asked for is gone
    ├─ FutureRevision        the revision asked for has not been reached
    └─ TooLarge              the value exceeds what the store takes
"""
from __future__ import annotations

from typing import Protocol

import msgspec


class KVError(Exception):
    """The store refused or could not be reached."""


class Unavailable(KVError):
    """No endpoint answered in time. After a write: whether it happened is not known."""


class Compacted(KVError):
    """The revision is no longer kept; `revision` is the oldest that is (0: not told)."""

    def __init__(self, revision: int = 0) -> None:
        super().__init__(f"required revision has been compacted (at {revision})" if revision else "required revision has been compacted")
        self.revision = revision


class FutureRevision(KVError):
    """The revision has not been reached yet."""


class TooLarge(KVError):
    """The value is larger than the store accepts."""


class KeyValue(msgspec.Struct, gc=False):
    """One version of a key. A deletion is told with an empty value and `mod_revision` of the deletion."""

    key: bytes
    value: bytes
    create_revision: int
    mod_revision: int
    version: int = 1
    lease: int = 0


class Range(msgspec.Struct):
    """What a range read saw, all at one `revision`. `count` is of all keys in the range, beyond the limit too."""

    kvs: list[KeyValue]
    count: int
    revision: int
    read_at: int
    """The store's revision when it answered, also where an older one was read."""


class Written(msgspec.Struct):
    """What `KV.written` found: `kvs` None if nothing was written, else all keys, without values. `count` is how many keys there are."""

    kvs: list[KeyValue] | None
    count: int
    revision: int


class Read(msgspec.Struct):
    """What reading one key gave. Found without `kv`: it is the version that the caller knows."""

    found: bool
    kv: KeyValue | None
    revision: int


class Write(msgspec.Struct):
    """The outcome of a compare-and-swap. Where it lost, `current` is what the key holds (None: nothing)."""

    ok: bool
    revision: int
    current: KeyValue | None = None


class Change(msgspec.Struct, gc=False):
    """One event of a watch: `kv.value` is empty for a deletion."""

    kv: KeyValue
    deleted: bool = False


class Batch(msgspec.Struct):
    """What a watch delivers at once: whole revisions, in order. After it the watcher has seen everything up to `revision`.

    Without changes it is a progress notification."""

    changes: list[Change]
    revision: int


class Watch(Protocol):
    """A stream of the changes to a range of keys."""

    async def next(self) -> Batch:
        """The next batch; raises Compacted when its start is gone, Unavailable when the stream broke."""
        ...

    async def request_progress(self) -> None:
        """Asks for a progress notification; one comes only where the store can vouch for it (`KV.progress_is_safe`)."""
        ...

    def close(self) -> None: ...


class KV(Protocol):
    """The store. Reads are linearizable and retried; writes are compare-and-swap, so that a repeated one cannot happen twice."""

    async def range(self, key: bytes, end: bytes = b"", *, limit: int = 0, revision: int = 0, keys_only: bool = False) -> Range:
        """The keys in [key, end), or the one key without `end`; `limit` 0 is all. Raises Compacted, FutureRevision."""
        ...

    async def written(self, key: bytes, end: bytes, *, after: int) -> Written:
        """Whether any key there is in [key, end) was written after revision `after`; says which there are if so. Deletions show in the
        count alone. Linearizable."""
        ...

    async def get(self, key: bytes, known: int = 0) -> Read:
        """One key. A caller that has its version of mod revision `known` is not sent it again. Concurrent reads share requests."""
        ...

    async def revision(self) -> int:
        """The store's current revision (linearizable). Concurrent callers share a request that began after they asked."""
        ...

    async def put(self, key: bytes, value: bytes, *, expected: int, lease: int | None = None) -> Write:
        """Writes if the key's mod revision is `expected` (0: the key is not there). `lease` None keeps the key's lease."""
        ...

    async def delete(self, key: bytes, *, expected: int) -> Write:
        """Removes the key if its mod revision is `expected`."""
        ...

    async def watch(self, key: bytes, end: bytes, *, after: int) -> Watch:
        """The changes to [key, end) after revision `after`. Raises Unavailable; Compacted comes from `next`."""
        ...

    async def compact(self, revision: int) -> None:
        """Forgets what was overwritten up to `revision`. One already compacted is no error."""
        ...

    async def lease(self, seconds: int) -> int:
        """A new lease; keys put with it vanish when it runs out."""
        ...

    @property
    def progress_is_safe(self) -> bool:
        """Whether progress notifications never run ahead of the events they promise."""
        ...

    async def check(self) -> None:
        """Raises Unavailable when the store cannot serve a linearizable read."""
        ...

    async def close(self) -> None: ...


def prefix_end(prefix: bytes) -> bytes:
    """The end of the range of all keys that start with `prefix` (which does not end in 0xff)."""
    return prefix[:-1] + bytes([prefix[-1] + 1])
