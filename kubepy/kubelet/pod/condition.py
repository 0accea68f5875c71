"""Pod conditions that are the kubelet's: PodReadyToStartContainers, Initialized, ContainersReady, Ready, PodScheduled. Pure."""
from __future__ import annotations

from collections.abc import Mapping, Sequence

from kubepy.api.types import Object
from kubepy.base.clock import format_time
from kubepy.kubelet.pod import spec as podspec

OWNED = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled", "PodResizePending",
         "PodResizeInProgress")


def conditions(pod: Object, old: Sequence[Object], status: Object, now: float, *, sandbox_ready: bool,
               resize: Sequence[tuple[str, str, str]] = (), disrupted: bool = False) -> list[Object]:
    """All conditions: ours renewed (with their transition times kept while their status stays), others' as they were."""
    before = {entry["type"]: entry for entry in old}
    phase = status["phase"]
    by_name = {entry["name"]: entry for entry in (*status.get("containerStatuses", ()), *status.get("initContainerStatuses", ()))}
    ready = _containers_ready(pod, by_name, phase)
    made = [
        _condition("PodReadyToStartContainers", (sandbox_ready and phase not in ("Succeeded", "Failed")) or
                   (sandbox_ready and phase == "Running")),
        _initialized(pod, by_name, phase),
        _pod_ready(pod, before, ready, phase),
        {**ready, "type": "ContainersReady"},
        _condition("PodScheduled", True),
    ]
    made += [_condition(kind, True, reason, message) for kind, reason, message in resize]
    if disrupted and "DisruptionTarget" not in before:
        made.append(_condition("DisruptionTarget", True, "TerminationByKubelet", str(status.get("message", ""))))
    generation = pod["metadata"].get("generation")
    result = []
    for entry in made:
        previous = before.get(entry["type"])
        keep = previous is not None and previous.get("status") == entry["status"]
        stamp = previous.get("lastTransitionTime") if previous is not None and keep else None
        complete: Object = {"type": entry["type"], "status": entry["status"], "lastProbeTime": None,
                            "lastTransitionTime": stamp or format_time(now)}
        for key in ("reason", "message"):
            if entry.get(key):
                complete[key] = entry[key]
        if generation is not None:
            complete["observedGeneration"] = generation
        result.append(complete)
    return result + [entry for entry in old if entry["type"] not in OWNED]


def _condition(kind: str, value: bool, reason: str = "", message: str = "") -> Object:
    return {"type": kind, "status": "True" if value else "False", "reason": reason, "message": message}


def _initialized(pod: Object, by_name: Mapping[str, Object], phase: str) -> Object:
    incomplete = []
    for container in podspec.init_containers(pod):
        entry = by_name.get(container["name"], {})
        done = bool(entry.get("started")) if podspec.is_sidecar(container) else bool(entry.get("ready"))
        if not done:
            incomplete.append(container["name"])
    if phase == "Succeeded":
        return _condition("Initialized", True, "PodCompleted")
    if incomplete and not any(by_name.get(container["name"], {}).get("containerID") for container in podspec.containers(pod)):
        return _condition("Initialized", False, "ContainersNotInitialized",
                          f"containers with incomplete status: [{' '.join(incomplete)}]")
    return _condition("Initialized", True)


def _containers_ready(pod: Object, by_name: Mapping[str, Object], phase: str) -> Object:
    if phase == "Succeeded":
        return _condition("ContainersReady", False, "PodCompleted")
    if phase == "Failed":
        return _condition("ContainersReady", False, "PodFailed")
    wanted = [container for container in podspec.init_containers(pod) if podspec.is_sidecar(container)] + podspec.containers(pod)
    unknown = [container["name"] for container in wanted if container["name"] not in by_name]
    unready = [container["name"] for container in wanted if not by_name.get(container["name"], {}).get("ready")]
    if not unready:
        return _condition("ContainersReady", True)
    parts = [f"containers with {kind} status: [{' '.join(names)}]" for kind, names in
             (("unknown", unknown), ("unready", [name for name in unready if name not in unknown])) if names]
    return _condition("ContainersReady", False, "ContainersNotReady", ", ".join(parts))


def _pod_ready(pod: Object, before: Mapping[str, Object], ready: Object, phase: str) -> Object:
    if ready["status"] != "True":
        return {**ready, "type": "Ready"}
    problems = []
    for gate in pod["spec"].get("readinessGates") or ():
        kind = gate["conditionType"]
        found = before.get(kind)
        if found is None:
            problems.append(f'corresponding condition of pod readiness gate "{kind}" does not exist.')
        elif found.get("status") != "True":
            problems.append(f'the status of pod readiness gate "{kind}" is not "True", but {found.get("status")}')
    if problems:
        return _condition("Ready", False, "ReadinessGatesNotReady", ", ".join(problems))
    return _condition("Ready", True)
