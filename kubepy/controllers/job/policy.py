"""`podFailurePolicy` and `successPolicy`: what a failed pod means, and which indexes are enough."""
from __future__ import annotations

from typing import NamedTuple

from kubepy.api.types import Object
from kubepy.controllers.job import index


class Match(NamedTuple):
    """`action` is FailJob, FailIndex, Ignore or Count."""

    action: str
    message: str


COUNT = Match("Count", "")


def judge(job: Object, pod: Object) -> Match:
    """The first rule that matches a failed pod; Count when none does."""
    for position, rule in enumerate((job["spec"].get("podFailurePolicy") or {}).get("rules") or ()):
        metadata, action = pod["metadata"], rule["action"]
        where = f"{metadata.get('namespace')}/{metadata['name']}"
        if codes := rule.get("onExitCodes"):
            for status in _containers(pod):
                terminated = (status.get("state") or {}).get("terminated")
                if terminated is None or not _wanted(codes, status["name"], terminated.get("exitCode", 0)):
                    continue
                return Match(action, f"Container {status['name']} for pod {where} failed with exit code {terminated['exitCode']} "
                                     f"matching {action} rule at index {position}")
        for pattern in rule.get("onPodConditions") or ():
            for condition in (pod.get("status") or {}).get("conditions") or ():
                if condition["type"] == pattern["type"] and condition["status"] == pattern.get("status", "True"):
                    return Match(action, f"Pod {where} has condition {condition['type']} matching {action} rule at index {position}")
    return COUNT


def enough(job: Object, succeeded: set[int]) -> str | None:
    """The message of the first success rule that the succeeded indexes meet."""
    completions = job["spec"].get("completions") or 0
    for position, rule in enumerate((job["spec"].get("successPolicy") or {}).get("rules") or ()):
        wanted = index.parse(rule["succeededIndexes"], completions) if rule.get("succeededIndexes") else set(range(completions))
        met = wanted & succeeded
        count = rule.get("succeededCount")
        if len(met) >= (count if count is not None else len(wanted)):
            return f"Matched rules at index {position}"
    return None


def _containers(pod: Object) -> list[Object]:
    status = pod.get("status") or {}
    return [*(status.get("containerStatuses") or ()), *(status.get("initContainerStatuses") or ())]


def _wanted(codes: Object, container: str, code: int) -> bool:
    if code == 0 or (codes.get("containerName") and codes["containerName"] != container):
        return False
    return (code in codes.get("values", ())) is (codes.get("operator") == "In")
