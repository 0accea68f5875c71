"""What one list goes over, and how the store's failures are answered."""
from __future__ import annotations

from kubepy.api import errors
from kubepy.apiserver.storage.entry import Entry
from kubepy.apiserver.storage.index import LabelMatcher
from kubepy.apiserver.storage.interface import Matcher
from kubepy.apiserver.storage.kv import Compacted, KVError, TooLarge, Unavailable
from kubepy.apiserver.storage.page import ListOptions, ListPage, expired


class Scan:
    """What a list goes over: keys in [start, end) of the cache, with `prefix` in front of what tokens name."""

    __slots__ = ("end", "labels", "match", "options", "prefix", "start")

    def __init__(self, prefix: str, start: str, end: str, options: ListOptions, match: Matcher | None, labels: LabelMatcher | None) -> None:
        self.prefix, self.start, self.end, self.options, self.match, self.labels = prefix, start, end, options, match, labels

    @property
    def whole(self) -> bool:
        return not self.options.limit

    def has(self, key: str) -> bool:
        return self.start <= key and (not self.end or key < self.end)

    def full(self, page: ListPage) -> bool:
        return bool(self.options.limit) and len(page.entries) >= self.options.limit

    def take(self, page: ListPage, entry: Entry) -> None:
        if self.match is None or self.match(entry):
            page.entries.append(entry)


class Translated:
    """Turns the store's failures into what the API answers."""

    __slots__ = ("_options",)

    def __init__(self, options: ListOptions | None = None) -> None:
        self._options = options

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        match error:
            case Compacted() if self._options is not None:
                raise expired(self._options) from error
            case Unavailable():
                raise errors.ServiceUnavailable(f"etcd is not available: {error}", {"retryAfterSeconds": 1}) from error
            case TooLarge():
                raise errors.ApiError(str(error), code=500, reason="") from error
            case KVError():
                raise errors.InternalError.of(str(error)) from error
