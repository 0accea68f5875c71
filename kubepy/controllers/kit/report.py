"""A controller's own reports coming back as events: nothing follows from them, so they wake nobody."""
from __future__ import annotations

from typing import Any

from kubepy.api.types import Object
from kubepy.client.store import key_of


class Reports:
    """The status that was last written of each object. `news` is the `when` of the controller's watch of these objects.

    Only for reports after which a second look at the same caches would find nothing to do."""

    def __init__(self) -> None:
        self._sent: dict[str, tuple[Any, Any]] = {}

    def sending(self, obj: Object) -> None:
        """`obj` is about to be written, with its new status."""
        self._sent[key_of(obj)] = obj.get("status"), obj["metadata"].get("annotations")

    def forget(self, obj: Object) -> None:
        """It was not written after all."""
        self._sent.pop(key_of(obj), None)

    def news(self, old: Object | None, new: Object | None) -> bool:
        """Whether the change is anything else than a report."""
        if not self._sent:
            return True
        if old is None or new is None:
            self._sent.pop(key_of(old or new or {}), None)
            return True
        sent = self._sent.pop(key_of(new), None)
        before, after = old["metadata"], new["metadata"]
        return (sent is None or sent != (new.get("status"), after.get("annotations"))
                or (old["spec"] is not new["spec"] and old["spec"] != new["spec"])
                or before.get("deletionTimestamp") != after.get("deletionTimestamp"))
