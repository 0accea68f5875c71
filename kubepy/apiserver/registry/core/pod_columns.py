"""How a Pod is summed up in a table: readiness, status, restarts (`printPod`)."""
from __future__ import annotations

from dataclasses import dataclass

from kubepy.api.types import Object
from kubepy.apiserver.registry.columns import at, column, duration, epoch


@dataclass(slots=True)
class _Summary:
    ready: int = 0
    total: int = 0
    reason: str = ""
    restarts: int = 0
    last_restart: float | None = None


def ready(obj: Object) -> str:
    summary = _summary(obj)
    return f"{summary.ready}/{summary.total}"


def status(obj: Object) -> str:
    return _summary(obj).reason


def restarts(obj: Object, now: float) -> str:
    summary = _summary(obj)
    if summary.restarts and summary.last_restart is not None:
        return f"{summary.restarts} ({duration(now - summary.last_restart)} ago)"
    return str(summary.restarts)


def _gates(obj: Object) -> str:
    gates = at(obj, "spec.readinessGates", [])
    if not gates:
        return "<none>"
    true = {condition.get("type") for condition in at(obj, "status.conditions", []) if condition.get("status") == "True"}
    return f"{sum(gate.get('conditionType') in true for gate in gates)}/{len(gates)}"


READINESS_GATES = column("Readiness Gates", "string", "=core.v1.PodSpec.readinessGates", _gates, 1)


def _summary(pod: Object) -> _Summary:
    spec, current = pod.get("spec") or {}, pod.get("status") or {}
    summary = _Summary(total=len(spec.get("containers") or ()))
    summary.reason = current.get("reason") or current.get("phase", "")
    conditions = {condition.get("type"): condition for condition in current.get("conditions") or ()}
    if conditions.get("PodScheduled", {}).get("reason") == "SchedulingGated":
        summary.reason = "SchedulingGated"
    sidecars = {container.get("name") for container in spec.get("initContainers") or () if container.get("restartPolicy") == "Always"}
    summary.total += len(sidecars)
    initializing, sidecar_restarts, sidecar_last = _init(summary, current.get("initContainerStatuses") or [], sidecars,
                                                         len(spec.get("initContainers") or ()))
    if not initializing or conditions.get("Initialized", {}).get("status") == "True":
        summary.restarts, summary.last_restart = sidecar_restarts, sidecar_last
        _running(summary, current.get("containerStatuses") or [], conditions.get("Ready", {}).get("status") == "True")
    if (pod.get("metadata") or {}).get("deletionTimestamp"):
        if current.get("reason") == "NodeLost":
            summary.reason = "Unknown"
        elif current.get("phase") not in ("Failed", "Succeeded"):
            summary.reason = "Terminating"
    return summary


def _init(summary: _Summary, statuses: list[Object], sidecars: set[str], count: int) -> tuple[bool, int, float | None]:
    """Counts init containers; the first one that is not done decides the reason. Returns whether there was one, and sidecars' restarts."""
    restarts, last = 0, None
    for position, container in enumerate(statuses):
        ended = _last_end(container)
        summary.restarts += container.get("restartCount", 0)
        summary.last_restart = _later(summary.last_restart, ended)
        sidecar = container.get("name") in sidecars
        if sidecar:
            restarts += container.get("restartCount", 0)
            last = _later(last, ended)
        state = container.get("state") or {}
        done, waiting = state.get("terminated"), state.get("waiting")
        if done is not None and not done.get("exitCode"):
            continue
        if sidecar and container.get("started"):
            summary.ready += bool(container.get("ready"))
            continue
        if done is not None:
            summary.reason = f"Init:{_end_reason(done)}"
        elif waiting is not None and waiting.get("reason") and waiting["reason"] != "PodInitializing":
            summary.reason = f"Init:{waiting['reason']}"
        else:
            summary.reason = f"Init:{position}/{count}"
        return True, restarts, last
    return False, restarts, last


def _running(summary: _Summary, statuses: list[Object], pod_ready: bool) -> None:
    running = False
    for container in reversed(statuses):
        summary.restarts += container.get("restartCount", 0)
        summary.last_restart = _later(summary.last_restart, _last_end(container))
        state = container.get("state") or {}
        done, waiting = state.get("terminated"), state.get("waiting")
        if waiting is not None and waiting.get("reason"):
            summary.reason = waiting["reason"]
        elif done is not None:
            summary.reason = _end_reason(done)
        elif container.get("ready") and state.get("running") is not None:
            running = True
            summary.ready += 1
    if summary.reason == "Completed" and running:
        summary.reason = "Running" if pod_ready else "NotReady"


def _end_reason(terminated: Object) -> str:
    if terminated.get("reason"):
        return str(terminated["reason"])
    if terminated.get("signal"):
        return f"Signal:{terminated['signal']}"
    return f"ExitCode:{terminated.get('exitCode', 0)}"


def _last_end(container: Object) -> float | None:
    return epoch(at(container, "lastState.terminated.finishedAt"))


def _later(one: float | None, other: float | None) -> float | None:
    return max((stamp for stamp in (one, other) if stamp is not None), default=None)
