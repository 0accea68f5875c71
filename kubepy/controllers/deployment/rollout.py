"""How large each ReplicaSet of a Deployment should be: surge and unavailability, rolling, recreating, proportional scaling."""
from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from kubepy.api.hash import prune
from kubepy.api.types import Object

HASH_LABEL = "pod-template-hash"
DESIRED = "deployment.kubernetes.io/desired-replicas"
MAXIMUM = "deployment.kubernetes.io/max-replicas"


class Scale(NamedTuple):
    """A ReplicaSet and the size it is to have."""

    replica_set: Object
    replicas: int


def replicas(obj: Object) -> int:
    value = obj["spec"].get("replicas")
    return 1 if value is None else int(value)


def available(replica_set: Object) -> int:
    return int((replica_set.get("status") or {}).get("availableReplicas") or 0)


def total(replica_sets: Sequence[Object]) -> int:
    return sum(replicas(item) for item in replica_sets)


def active(replica_sets: Sequence[Object]) -> list[Object]:
    return [item for item in replica_sets if replicas(item) > 0]


def by_creation(replica_sets: Sequence[Object]) -> Sequence[Object]:
    return sorted(replica_sets, key=_age) if len(replica_sets) > 1 else replica_sets


def is_rolling(deployment: Object) -> bool:
    return bool((deployment["spec"].get("strategy") or {}).get("type", "RollingUpdate") == "RollingUpdate")


def fenceposts(deployment: Object) -> tuple[int, int]:
    """(surge, unavailable) in pods; percentages round up and down, and one of them is at least 1."""
    rolling = (deployment["spec"].get("strategy") or {}).get("rollingUpdate") or {}
    count = replicas(deployment)
    surge = resolve(rolling.get("maxSurge", "25%"), count, up=True)
    unavailable = resolve(rolling.get("maxUnavailable", "25%"), count, up=False)
    return (0, 1) if surge == 0 and unavailable == 0 else (surge, unavailable)


def resolve(value: Any, count: int, *, up: bool) -> int:
    """An IntOrString of `count` (`intstr.GetScaledValueFromIntOrPercent`)."""
    if isinstance(value, str):
        share = int(value.rstrip("%")) * count
        return math.ceil(share / 100) if up else share // 100
    return int(value)


def max_surge(deployment: Object) -> int:
    return fenceposts(deployment)[0] if is_rolling(deployment) else 0


def max_unavailable(deployment: Object) -> int:
    count = replicas(deployment)
    return min(fenceposts(deployment)[1], count) if is_rolling(deployment) and count else 0


def same_template(one: Object, other: Object) -> bool:
    """Equal but for the hash label, and with empty fields as absent ones."""
    one, other = _without_hash(one), _without_hash(other)
    return one == other or bool(prune(one) == prune(other))


def find_new(deployment: Object, replica_sets: Sequence[Object]) -> Object | None:
    """The oldest ReplicaSet that has the Deployment's template."""
    template = deployment["spec"]["template"]
    return next((item for item in by_creation(replica_sets) if same_template(item["spec"].get("template") or {}, template)), None)


def new_size(deployment: Object, everything: Sequence[Object], current: int) -> int:
    """How many replicas the new ReplicaSet may have now, given all there are (upstream's NewRSNewReplicas)."""
    if not is_rolling(deployment):
        return replicas(deployment)
    ceiling = replicas(deployment) + max_surge(deployment)
    room = ceiling - total(everything)
    return current if room <= 0 else current + max(min(room, replicas(deployment) - current), 0)


def plan_new(deployment: Object, new: Object, everything: Sequence[Object]) -> int:
    """The size of the new ReplicaSet in a rolling update."""
    wanted, current = replicas(deployment), replicas(new)
    return wanted if current >= wanted else new_size(deployment, everything, current)


def plan_old(deployment: Object, new: Object, old: Sequence[Object]) -> list[Scale]:
    """Which old ReplicaSets shrink in a rolling update: first their unhealthy pods, then as many as availability allows."""
    if not old:
        return []
    minimum = replicas(deployment) - max_unavailable(deployment)
    spare = total(old) + replicas(new) - minimum - (replicas(new) - available(new))
    if total(old) == 0 or spare <= 0:
        return []
    sizes = {id(item): replicas(item) for item in old}
    ordered = by_creation(old)
    for item in ordered:  # unhealthy pods do not serve: taking them away first costs nothing
        unhealthy = min(spare, sizes[id(item)] - available(item))
        if unhealthy > 0:
            sizes[id(item)] -= unhealthy
            spare -= unhealthy
    surplus = sum(available(item) for item in old) + available(new) - minimum
    for item in ordered:
        if surplus <= 0:
            break
        count = min(sizes[id(item)], surplus)
        sizes[id(item)] -= count
        surplus -= count
    return [Scale(item, sizes[id(item)]) for item in ordered if sizes[id(item)] != replicas(item)]


def needs_scaling(deployment: Object, everything: Sequence[Object]) -> bool:
    """The Deployment was scaled since its ReplicaSets were last sized."""
    wanted = replicas(deployment)
    return any(replicas(item) > 0 and _annotation(item, DESIRED) not in (None, wanted) for item in everything)


def plan_scaling(deployment: Object, new: Object | None, old: Sequence[Object]) -> list[Scale]:
    """Sizes after the Deployment was scaled (or is paused): in proportion, when several ReplicaSets are active."""
    everything = [*old, *([new] if new is not None else [])]
    running = active(everything)
    if len(running) <= 1:
        chosen = running[0] if running else new or (by_creation(old)[-1] if old else None)
        return [Scale(chosen, replicas(deployment))] if chosen is not None and replicas(chosen) != replicas(deployment) else []
    if new is not None and _is_saturated(deployment, new):
        return [Scale(item, 0) for item in active(old)]
    if not is_rolling(deployment):
        return []
    allowed = replicas(deployment) + max_surge(deployment) if replicas(deployment) > 0 else 0
    to_add = allowed - total(running)
    newest_first = to_add > 0
    ordered = sorted(running, key=_age, reverse=newest_first)
    ordered.sort(key=replicas, reverse=True)
    sizes: list[int] = []
    added = 0
    for item in ordered:
        part = _proportion(item, deployment, to_add, added) if to_add else 0
        sizes.append(replicas(item) + part)
        added += part
    if to_add:
        sizes[0] = max(sizes[0] + to_add - added, 0)
    return [Scale(item, size) for item, size in zip(ordered, sizes, strict=True)]


def is_stale(replica_set: Object, deployment: Object) -> bool:
    """Its annotations do not say what the Deployment's size is now."""
    return (_annotation(replica_set, DESIRED), _annotation(replica_set, MAXIMUM)) != (
        replicas(deployment), replicas(deployment) + max_surge(deployment))


def size_annotations(deployment: Object) -> dict[str, str]:
    count = replicas(deployment)
    return {DESIRED: str(count), MAXIMUM: str(count + max_surge(deployment))}


def _proportion(item: Object, deployment: Object, to_add: int, added: int) -> int:
    size = replicas(item)
    if size == 0 or to_add == added:
        return 0
    if replicas(deployment) == 0:
        fraction = -size
    else:
        before = _annotation(item, MAXIMUM) or int((deployment.get("status") or {}).get("replicas") or 0)
        ceiling = replicas(deployment) + max_surge(deployment)
        fraction = math.floor(size * ceiling / before + 0.5) - size if before else 0
    allowed = to_add - added
    return min(fraction, allowed) if to_add > 0 else max(fraction, allowed)


def _is_saturated(deployment: Object, new: Object) -> bool:
    wanted = replicas(deployment)
    return _annotation(new, DESIRED) == wanted and replicas(new) == wanted and available(new) == wanted


def _annotation(item: Object, name: str) -> int | None:
    text = (item["metadata"].get("annotations") or {}).get(name, "")
    return int(text) if text.isdigit() else None


def _age(item: Object) -> tuple[str, str]:
    return item["metadata"].get("creationTimestamp") or "", item["metadata"]["name"]


def _without_hash(template: Object) -> Object:
    metadata = template.get("metadata") or {}
    labels = metadata.get("labels") or {}
    if HASH_LABEL not in labels:
        return template
    return {**template, "metadata": {**metadata, "labels": {key: value for key, value in labels.items() if key != HASH_LABEL}}}
