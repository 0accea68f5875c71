"""What a DeviceTaintRule comes to: the condition EvictionInProgress, and for rules without effect what they would do.

Part of eviction by device taint. A rule is about what is allocated, whether or not a driver still publishes it. The condition's reasons and
messages are for people and may differ from upstream's, as the API says.
"""
from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from kubepy.api.scheduling import device_rule_matches
from kubepy.api.types import Object
from kubepy.controllers.kit import condition
from kubepy.controllers.kit.eviction import leave_at

CONDITION = "EvictionInProgress"


class Use(NamedTuple):
    """A pod that runs, and the devices that are allocated for it."""

    namespace: str
    name: str
    results: Sequence[Object]


def applies(rule: Object, result: Object) -> bool:
    return device_rule_matches(rule, result["driver"], result["pool"], result["device"])


def evicts(rule: Object, results: Iterable[Object]) -> bool:
    """Whether the rule's taint, with the effect NoExecute, lets the users of these devices go, now or later."""
    taint = {**rule["spec"]["taint"], "effect": "NoExecute"}
    return any(applies(rule, result) and leave_at(result.get("tolerations") or (), [taint]) is not None for result in results)


def plan(rule: Object, uses: Sequence[Use], published: Iterable[tuple[str, str, str]], evicted: int, now: str) -> Object | None:
    """The status to write, or None when it is as it should be."""
    effect, generation = rule["spec"]["taint"]["effect"], rule["metadata"].get("generation") or 0
    old = (rule.get("status") or {}).get("conditions") or []
    shown = condition.find(old, CONDITION)
    if effect == "None" and shown is not None and shown.get("observedGeneration") == generation:
        return None  # told once for each wish
    pending = [use for use in uses if evicts(rule, use.results)]
    places = len({use.namespace for use in pending})
    if effect == "None":
        selected = sum(device_rule_matches(rule, *device) for device in published)
        allocated = len({(item["driver"], item["pool"], item["device"]) for use in uses for item in use.results if applies(rule, item)})
        new = condition.build(CONDITION, "False", "NoEffect", (
            f"{_count(selected, 'published device')} selected. {_count(allocated, 'allocated device')} selected. "
            f"{_count(len(pending), 'pod')} would be evicted in {_count(places, 'namespace')} if the effect was NoExecute. This "
            "information will not be updated again. Recreate the DeviceTaintRule to trigger an update."), now)
    elif effect != "NoExecute":
        new = condition.build(CONDITION, "False", "OtherEffect", "Eviction only happens for the effect NoExecute.", now)
    elif pending:
        need = "needs" if len(pending) == 1 else "need"
        new = condition.build(CONDITION, "True", "PodsPendingEviction",
                              f"{_count(len(pending), 'pod')} {need} to be evicted in {_count(places, 'namespace')}. {_done(evicted)}", now)
    else:
        new = condition.build(CONDITION, "False", "Completed" if evicted else "NotStarted", _done(evicted), now)
    new["observedGeneration"] = generation
    if shown is not None and shown["status"] == new["status"]:
        new["lastTransitionTime"] = shown.get("lastTransitionTime", now)
    if shown == new:
        return None
    return {**(rule.get("status") or {}), "conditions": [*condition.without(old, CONDITION), new]}


def _done(evicted: int) -> str:
    return f"{_count(evicted, 'pod')} evicted since starting the controller."


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
