"""Conditions in a status: the transition time moves only when the status does."""
from __future__ import annotations

from collections.abc import Sequence

from kubepy.api.types import Object


def build(type: str, status: str, reason: str, message: str, now: str) -> Object:
    return {"type": type, "status": status, "lastTransitionTime": now, "reason": reason, "message": message}


def find(conditions: Sequence[Object], type: str) -> Object | None:
    return next((item for item in conditions if item["type"] == type), None)


def merge(conditions: Sequence[Object], new: Object) -> list[Object]:
    """The conditions with `new` in its place (or at the end); unchanged when status and reason are as they were."""
    old = find(conditions, new["type"])
    if old is None:
        return [*conditions, new]
    if old["status"] == new["status"]:
        if old.get("reason") == new.get("reason") and old.get("message") == new.get("message"):
            return list(conditions)
        new = {**new, "lastTransitionTime": old.get("lastTransitionTime", new["lastTransitionTime"])}
    return [new if item["type"] == new["type"] else item for item in conditions]


def without(conditions: Sequence[Object], type: str) -> list[Object]:
    return [item for item in conditions if item["type"] != type]
