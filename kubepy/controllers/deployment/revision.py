"""Revisions of a Deployment: what `kubectl rollout history`, `undo` and `status` read."""
from __future__ import annotations

from collections.abc import Sequence

from kubepy.api.types import Object
from kubepy.controllers.deployment.rollout import replicas

REVISION = "deployment.kubernetes.io/revision"
HISTORY = "deployment.kubernetes.io/revision-history"
HISTORY_LENGTH = 2000
UNLIMITED = 2**31 - 1
_NOT_COPIED = frozenset({
    "kubectl.kubernetes.io/last-applied-configuration", REVISION, HISTORY, "deployment.kubernetes.io/desired-replicas",
    "deployment.kubernetes.io/max-replicas", "deprecated.deployment.rollback.to",
})


def number(obj: Object) -> int:
    text = (obj["metadata"].get("annotations") or {}).get(REVISION, "")
    return int(text) if text.isdigit() else 0


def next_number(old: Sequence[Object]) -> int:
    """The revision of the newest: one more than any of the others."""
    return max((number(item) for item in old), default=0) + 1


def annotate(deployment: Object, current: dict[str, str], revision: int, *, exists: bool) -> dict[str, str]:
    """What the new ReplicaSet's annotations should be; a ReplicaSet that comes back (undo) remembers its earlier numbers."""
    found = dict(current)
    found.update({key: value for key, value in (deployment["metadata"].get("annotations") or {}).items() if key not in _NOT_COPIED})
    before = current.get(REVISION, "")
    if (int(before) if before.isdigit() else 0) < revision:
        found[REVISION] = str(revision)
        if exists and before:
            history = [*filter(None, current.get(HISTORY, "").split(",")), before]
            while len(",".join(history)) > HISTORY_LENGTH and len(history) > 1:
                history.pop(0)
            found[HISTORY] = ",".join(history)
    return found


def superfluous(deployment: Object, old: Sequence[Object]) -> list[Object]:
    """Old ReplicaSets beyond the history limit that are empty and settled."""
    limit = deployment["spec"].get("revisionHistoryLimit")
    if limit is None or limit == UNLIMITED:
        return []
    kept = [item for item in old if item["metadata"].get("deletionTimestamp") is None]
    kept.sort(key=lambda item: (number(item), item["metadata"].get("creationTimestamp") or ""))
    return [item for item in kept[: max(len(kept) - limit, 0)] if _is_empty(item)]


def _is_empty(item: Object) -> bool:
    status = item.get("status") or {}
    settled = item["metadata"].get("generation", 0) <= status.get("observedGeneration", 0)
    return settled and not status.get("replicas") and replicas(item) == 0
