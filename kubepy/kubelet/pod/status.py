"""The status a pod's object shows, from what the runtime shows: container statuses, IPs, phase and conditions. Pure.

Follows upstream's `generateAPIPodStatus`, `convertToAPIContainerStatuses` and `getPhase`.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from kubepy.api.types import Object
from kubepy.base.clock import format_time
from kubepy.kubelet.pod import condition
from kubepy.kubelet.pod import spec as podspec
from kubepy.kubelet.pod.observed import CREATED, EXITED, RUNNING, ContainerView, PodView


@dataclass(frozen=True, slots=True)
class Node:
    """What of the node shows in pods."""

    host_ips: tuple[str, ...] = ()
    runtime: str = "containerd"
    recursive: bool = False
    """The runtime can make mounts read-only with all below them."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the kubelet knows beside the runtime."""

    waiting: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Containers that could not be started: name to (reason, message)."""
    ready: Mapping[str, bool] = field(default_factory=dict)
    """Readiness by container ID; a container without a readiness probe is absent and ready while it runs and has started."""
    started: Mapping[str, bool] = field(default_factory=dict)
    """Startup by container ID, likewise."""
    failed: tuple[str, str] | None = None
    """(reason, message) when the kubelet itself has ended the pod: rejected, evicted, deadline."""
    terminating: bool = False
    ended: bool = False
    """Everything has stopped; containers that never ran are reported as ended."""
    resize: Sequence[tuple[str, str, str]] = ()
    """(condition type, reason, message) while an in-place resize is pending or in progress."""
    resources: Mapping[str, Mapping[str, Object]] = field(default_factory=dict)
    """What running containers really have, by ID (the pod itself under ""); what the spec says where absent."""
    given: Object | None = None
    """The pod with what the node has given it; None where that is what it asks for."""
    health: Mapping[str, Sequence[Object]] = field(default_factory=dict)
    """Health of the devices that containers have, by the container's name."""
    messages: Mapping[str, str] = field(default_factory=dict)
    """Termination messages by container ID."""


def pod_status(pod: Object, seen: PodView, now: float, node: Node, facts: Facts) -> Object:
    """The whole `status` the pod is to have now. `pod["status"]` is the last known one; what others own in it is kept."""
    old: Object = pod.get("status") or {}
    status: Object = {}
    if (generation := pod["metadata"].get("generation")) is not None:
        status["observedGeneration"] = generation
    status["hostIP"], status["hostIPs"] = (node.host_ips[0] if node.host_ips else ""), [{"ip": ip} for ip in node.host_ips]
    ips = _pod_ips(pod, seen, old, node)
    if ips:
        status["podIP"], status["podIPs"] = ips[0], [{"ip": ip} for ip in ips]
    status["startTime"] = old.get("startTime") or format_time(now)
    status["qosClass"] = old.get("qosClass") or podspec.qos_class(pod)
    init = podspec.init_containers(pod)
    regular = _statuses(pod, podspec.containers(pod), seen, old.get("containerStatuses") or [], node, facts, bool(init))
    inits = _statuses(pod, init, seen, old.get("initContainerStatuses") or [], node, facts, bool(init))
    ephemeral = _statuses(pod, podspec.ephemeral_containers(pod), seen, old.get("ephemeralContainerStatuses") or [], node, facts, False)
    if inits:
        status["initContainerStatuses"] = inits
    status["containerStatuses"] = regular
    ephemeral = [entry for entry in ephemeral if entry.get("containerID") or entry["name"] in facts.waiting]
    if ephemeral:
        status["ephemeralContainerStatuses"] = ephemeral
    if facts.failed is not None:
        status["phase"], (status["reason"], message) = "Failed", facts.failed
        if message:
            status["message"] = message
    else:
        status["phase"] = phase(pod, regular, inits, ended=facts.ended)
    if old.get("phase") in ("Failed", "Succeeded"):  # a terminal phase never changes
        status["phase"] = old["phase"]
        for key in ("reason", "message"):
            if old.get(key):
                status.setdefault(key, old[key])
    for key in ("nominatedNodeName", "resize", "resourceClaimStatuses", "extendedResourceClaimStatus",
                "nodeAllocatableResourceClaimStatuses"):
        if old.get(key):
            status[key] = old[key]
    if top := (facts.given or pod)["spec"].get("resources"):
        _resources(status, top, facts.resources.get("", top))
    sandbox = seen.sandbox
    status["conditions"] = condition.conditions(
        pod, old.get("conditions") or [], status, now,
        sandbox_ready=sandbox is not None and sandbox.ready and (sandbox.host_network or bool(sandbox.ips)), resize=facts.resize,
        disrupted=facts.failed is not None and facts.failed[0] in ("Evicted", "Terminated", "Preempting"))
    return status


def _pod_ips(pod: Object, seen: PodView, old: Object, node: Node) -> list[str]:
    if podspec.host_network(pod):
        return list(node.host_ips)
    sandbox = seen.sandbox
    if sandbox is not None and sandbox.ips:
        return list(sandbox.ips)
    if sandbox is None or not sandbox.ready:  # keep what it had: a finished pod still shows its address
        return [entry["ip"] for entry in old.get("podIPs") or () if entry.get("ip")]
    return []


def phase(pod: Object, regular: Sequence[Object], inits: Sequence[Object], *, ended: bool = False) -> str:
    """Upstream's getPhase. `ended`: the pod has been stopped and nothing will be started again, so the phase is final."""
    by_name = {entry["name"]: entry for entry in (*regular, *inits)}
    pending = failed = lost = 0
    for container in podspec.init_containers(pod):
        entry = by_name.get(container["name"], {})
        state = entry.get("state") or {}
        last = (entry.get("lastState") or {}).get("terminated")
        if podspec.is_sidecar(container):
            pending += not entry.get("started") and last is None and "terminated" not in state
        elif "terminated" in state:
            code = state["terminated"].get("exitCode", 0)
            failed += code != 0
            lost += code != 0 and not podspec.restart_wanted(pod, container, code)
        elif "waiting" in state and last is not None and last.get("exitCode", 0) != 0:
            failed += 1
        else:
            pending += 1
    running = waiting = stopped = succeeded = 0
    for container in podspec.containers(pod):
        entry = by_name.get(container["name"], {})
        state = entry.get("state") or {}
        if "running" in state:
            running += 1
        elif "terminated" in state:
            stopped += 1
            succeeded += state["terminated"].get("exitCode", 0) == 0
        elif (entry.get("lastState") or {}).get("terminated"):
            stopped += 1
        else:
            waiting += 1
    initialized = any(entry.get("containerID") for entry in regular)
    if lost and not initialized:
        return "Failed"
    if ended and not running:
        return "Succeeded" if stopped == succeeded and not waiting and not failed else "Failed"
    if ((pending or failed) and not initialized) or waiting:
        return "Pending"
    if running:
        return "Running"
    if stopped:
        if not all(_final(pod, container, by_name[container["name"]]) for container in podspec.containers(pod)):
            return "Running"
        return "Succeeded" if succeeded == stopped else "Failed"
    return "Pending"


def _final(pod: Object, container: Object, entry: Object) -> bool:
    """The container has ended and its restart policy lets it stay so."""
    terminated = (entry.get("state") or {}).get("terminated")
    return terminated is not None and not podspec.restart_wanted(pod, container, terminated.get("exitCode", 0))


def _statuses(pod: Object, specs: Sequence[Object], seen: PodView, old: Sequence[Object], node: Node, facts: Facts,
              has_init: bool) -> list[Object]:
    previous = {entry["name"]: entry for entry in old}
    return [_status(pod, container, seen, previous.get(container["name"]), node, facts, has_init) for container in specs]


def _status(pod: Object, container: Object, seen: PodView, old: Object | None, node: Node, facts: Facts, has_init: bool) -> Object:
    name = container["name"]
    instances = seen.instances(name)
    view = instances[0] if instances else None
    entry: Object = {"name": name, "state": {}, "lastState": {}, "ready": False, "restartCount": 0,
                     "image": container.get("image", ""), "imageID": ""}
    if view is None:
        _without_instance(entry, old, facts, has_init)
    else:
        entry["restartCount"] = view.attempt
        entry["image"], entry["imageID"] = view.image or container.get("image", ""), view.image_ref
        entry["containerID"] = f"{node.runtime}://{view.id}"
        entry["state"] = _state(view, node, facts)
        before = next((other for other in instances[1:] if other.state == EXITED), None)
        if before is not None:
            entry["lastState"] = _state(before, node, facts)
        elif old and old.get("restartCount") == view.attempt and old.get("lastState"):
            entry["lastState"] = old["lastState"]  # the instance before has been removed meanwhile
        if view.uid is not None:
            entry["user"] = {"linux": {"uid": view.uid, "gid": view.gid or 0, "supplementalGroups": list(view.groups)}}
        if view.stop_signal and (container.get("lifecycle") or {}).get("stopSignal"):
            entry["stopSignal"] = view.stop_signal  # the feature is off in clusters that keep no such field
    held = facts.waiting.get(name)
    restart = view is None or view.state == CREATED or (
        view.state == EXITED and not facts.terminating and podspec.restart_wanted(pod, container, view.exit_code))
    if held is not None and restart and not facts.ended:
        if "terminated" in entry["state"]:
            entry["lastState"] = entry["state"]
        entry["state"] = {"waiting": _waiting(*held)}
    running = "running" in entry["state"]
    init = podspec.is_init(pod, name)
    if not init or podspec.is_sidecar(container):
        started = running and view is not None and facts.started.get(view.id, True)
        ready = started and view is not None and facts.ready.get(view.id, True)
        entry["started"], entry["ready"] = started, ready
    else:
        entry["started"] = False
        entry["ready"] = view is not None and view.state == EXITED and view.exit_code == 0
    if running and view is not None:
        given = (podspec.find_container(facts.given, name) if facts.given is not None else None) or container
        _resources(entry, given.get("resources") or {}, facts.resources.get(view.id, container.get("resources") or {}))
    if name in facts.health:
        entry["allocatedResourcesStatus"] = list(facts.health[name])
    if mounts := _volume_mounts(container, node):
        entry["volumeMounts"] = mounts
    if any(container is other for other in podspec.ephemeral_containers(pod)):
        entry["ready"] = False
        entry.pop("started", None)
    return entry


def _without_instance(entry: Object, old: Object | None, facts: Facts, has_init: bool) -> None:
    """No instance in the runtime: not yet, or no longer."""
    old = old or {}
    state = old.get("state") or {}
    entry["lastState"], entry["restartCount"] = old.get("lastState") or {}, old.get("restartCount") or 0
    if "terminated" in state:
        for key in ("state", "containerID", "imageID", "image", "user"):
            if key in old:
                entry[key] = old[key]
        return
    entry["state"] = {"waiting": {"reason": "PodInitializing" if has_init else "ContainerCreating"}}
    if not old.get("containerID"):
        return
    # It ran and its traces are gone.
    entry["containerID"], entry["imageID"] = old["containerID"], old.get("imageID", "")
    lost: Object = {"exitCode": 137, "reason": "ContainerStatusUnknown", "startedAt": None, "finishedAt": None,
                    "message": "The container could not be located when the pod was terminated"}
    if facts.ended:
        entry["state"] = {"terminated": lost}
    elif "running" in state:
        lost["message"] = "The container could not be located when the pod was deleted.  The container used to be Running"
        entry["lastState"] = {"terminated": lost}
        entry["restartCount"] += 1


def _state(view: ContainerView, node: Node, facts: Facts) -> Object:
    if view.state == RUNNING:
        return {"running": {"startedAt": format_time(view.started_at)}}
    if view.state == EXITED:
        ended: Object = {"exitCode": view.exit_code, "reason": view.reason or ("Completed" if view.exit_code == 0 else "Error"),
                         "startedAt": format_time(view.started_at), "finishedAt": format_time(view.finished_at),
                         "containerID": f"{node.runtime}://{view.id}"}
        message = facts.messages.get(view.id) or view.message
        if message:
            ended["message"] = message
        return {"terminated": ended}
    return {"waiting": {"reason": "ContainerCreating"}}


def _waiting(reason: str, message: str) -> Object:
    return {"reason": reason, "message": message} if message else {"reason": reason}


def _resources(entry: Object, given: Mapping[str, Object], actual: Mapping[str, Object]) -> None:
    if given.get("requests"):
        entry["allocatedResources"] = dict(given["requests"])
    entry["resources"] = {side: dict(actual[side]) for side in ("limits", "requests") if actual.get(side)}


def _volume_mounts(container: Object, node: Node) -> list[Object]:
    """Every mount, and for read-only ones whether what is mounted below them is read-only too."""
    result = []
    for mount in container.get("volumeMounts") or ():
        shown: Object = {"name": mount["name"], "mountPath": mount["mountPath"]}
        if mount.get("readOnly"):
            wanted = mount.get("recursiveReadOnly") or "Disabled"
            shown["readOnly"] = True
            possible = wanted == "IfPossible" and node.recursive
            shown["recursiveReadOnly"] = "Enabled" if wanted == "Enabled" or possible else "Disabled"
        result.append(shown)
    return result
