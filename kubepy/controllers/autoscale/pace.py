"""How fast a recommendation is followed: stabilisation windows and scaling policies (`normalizeDesiredReplicas*`)."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import NamedTuple

from kubepy.api.quantity import quantity
from kubepy.api.types import Object
from kubepy.controllers.autoscale.replica import Tolerance

SCALE_UP: Object = {"stabilizationWindowSeconds": 0, "selectPolicy": "Max", "policies": [
    {"type": "Pods", "value": 4, "periodSeconds": 15}, {"type": "Percent", "value": 100, "periodSeconds": 15}]}
SCALE_DOWN: Object = {"selectPolicy": "Max", "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}]}
MOST, LEAST = 2**31 - 1, -(2**31)


class Moment(NamedTuple):
    """A recommendation, or a change of so many replicas, and when it was."""

    replicas: int
    time: float


@dataclass(slots=True)
class History:
    """What is remembered of one autoscaler between passes; lost with the process, as upstream."""

    recommendations: list[Moment] = field(default_factory=list)
    ups: list[Moment] = field(default_factory=list)
    downs: list[Moment] = field(default_factory=list)


class Remark(NamedTuple):
    """A condition's status, reason and message."""

    status: str
    reason: str
    message: str


class Decision(NamedTuple):
    replicas: int
    able: Remark
    limited: Remark


READY = Remark("True", "ReadyForNewScale", "recommended size matches current size")
DOWN_STABILIZED = Remark("True", "ScaleDownStabilized",
                         "recent recommendations were higher than current one, applying the highest recent recommendation")
UP_STABILIZED = Remark("True", "ScaleUpStabilized",
                       "recent recommendations were lower than current one, applying the lowest recent recommendation")
WITHIN = ("DesiredWithinRange", "the desired count is within the acceptable range")
TOO_FEW = ("TooFewReplicas", "the desired replica count is less than the minimum replica count")
TOO_MANY = ("TooManyReplicas", "the desired replica count is more than the maximum replica count")
UP_LIMIT = ("ScaleUpLimit", "the desired replica count is increasing faster than the maximum scale rate")
DOWN_LIMIT = ("ScaleDownLimit", "the desired replica count is decreasing faster than the maximum scale rate")


def rules(behavior: Object, direction: str) -> Object:
    """The rules of `scaleUp` or `scaleDown` with defaults for what is not given."""
    given = {key: value for key, value in (behavior.get(direction) or {}).items() if value is not None}
    return {**(SCALE_UP if direction == "scaleUp" else SCALE_DOWN), **given}


def tolerance(spec: Object, default: float) -> Tolerance:
    behavior = spec.get("behavior") or {}

    def of(direction: str) -> float:
        value = (behavior.get(direction) or {}).get("tolerance")
        return default if value is None else quantity(value).as_float()

    return Tolerance(of("scaleDown"), of("scaleUp"))


def pace(spec: Object, current: int, wanted: int, history: History, window: float, now: float) -> Decision:
    """What to do about a recommendation; it is added to the history, and what is too old is dropped from it."""
    behavior, minimum, maximum = spec.get("behavior"), least(spec), spec["maxReplicas"]
    if behavior is None:
        recent = [item.replicas for item in history.recommendations if item.time > now - window]
        stable = max([wanted, *recent])
        _remember(history, wanted, now, window)
        limit = max(2 * current, 4)
        high, why = (limit, UP_LIMIT) if maximum > limit else (maximum, TOO_MANY)
        replicas, reason = (minimum, TOO_FEW) if stable < minimum else (high, why) if stable > high else (stable, WITHIN)
        return Decision(replicas, DOWN_STABILIZED if stable != wanted else READY, Remark(_truth(replicas != stable), *reason))
    up, down = rules(behavior, "scaleUp"), rules(behavior, "scaleDown")
    up_window = up["stabilizationWindowSeconds"]
    down_window = down.get("stabilizationWindowSeconds", window)
    lowest = min([wanted, *(item.replicas for item in history.recommendations if item.time > now - up_window)])
    highest = max([wanted, *(item.replicas for item in history.recommendations if item.time > now - down_window)])
    stable = min(max(current, lowest), highest)
    _remember(history, wanted, now, max(up_window, down_window))
    replicas, reason = _limited(current, stable, minimum, maximum, up, down, history, now)
    able = READY if stable == wanted else UP_STABILIZED if wanted >= current else DOWN_STABILIZED
    return Decision(replicas, able, Remark(_truth(replicas != stable), *reason))


def note_scaled(spec: Object, before: int, after: int, history: History, now: float) -> None:
    """Remembers a change for the policies' periods."""
    behavior = spec.get("behavior")
    if behavior is None:
        return
    for events, direction in ((history.ups, "scaleUp"), (history.downs, "scaleDown")):
        longest = max((policy["periodSeconds"] for policy in rules(behavior, direction)["policies"]), default=0)
        events[:] = [item for item in events if item.time > now - longest]
    if after > before:
        history.ups.append(Moment(after - before, now))
    else:
        history.downs.append(Moment(before - after, now))


def least(spec: Object) -> int:
    minimum = spec.get("minReplicas")
    return 1 if minimum is None else int(minimum)


def _limited(current: int, wanted: int, minimum: int, maximum: int, up: Object, down: Object, history: History, now: float,
             ) -> tuple[int, tuple[str, str]]:
    if wanted > current:
        limit = max(up_limit(current, up, history, now), current)
        high, why = (limit, UP_LIMIT) if maximum > limit else (maximum, TOO_MANY)
        return (high, why) if wanted > high else (wanted, WITHIN)
    if wanted < current:
        limit = min(down_limit(current, down, history, now), current)
        low, why = (limit, DOWN_LIMIT) if minimum < limit else (minimum, TOO_FEW)
        return (low, why) if wanted < low else (wanted, WITHIN)
    return wanted, WITHIN


def up_limit(current: int, rule: Object, history: History, now: float) -> int:
    if rule["selectPolicy"] == "Disabled":
        return current
    limits = []
    for policy in rule["policies"]:
        start = current - _sum(history.ups, policy, now) + _sum(history.downs, policy, now)
        limits.append(start + policy["value"] if policy["type"] == "Pods" else ceil(start * (1 + policy["value"] / 100)))
    return min(limits, default=MOST) if rule["selectPolicy"] == "Min" else max(limits, default=LEAST)


def down_limit(current: int, rule: Object, history: History, now: float) -> int:
    if rule["selectPolicy"] == "Disabled":
        return current
    limits = []
    for policy in rule["policies"]:
        start = current + _sum(history.downs, policy, now) - _sum(history.ups, policy, now)
        limits.append(start - policy["value"] if policy["type"] == "Pods" else int(start * (1 - policy["value"] / 100)))
    return max(limits, default=LEAST) if rule["selectPolicy"] == "Min" else min(limits, default=MOST)


def _sum(events: Sequence[Moment], policy: Object, now: float) -> int:
    return sum(item.replicas for item in events if item.time > now - policy["periodSeconds"])


def _remember(history: History, wanted: int, now: float, window: float) -> None:
    history.recommendations[:] = [*(item for item in history.recommendations if item.time > now - window), Moment(wanted, now)]


def _truth(value: bool) -> str:
    return "True" if value else "False"
