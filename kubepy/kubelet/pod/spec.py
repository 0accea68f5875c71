"""What a pod's object says, in the kubelet's words. Pure."""
from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from kubepy.api.types import Object

POD_NAME = "io.kubernetes.pod.name"
POD_NAMESPACE = "io.kubernetes.pod.namespace"
POD_UID = "io.kubernetes.pod.uid"
CONTAINER_NAME = "io.kubernetes.container.name"
CONTAINER_HASH = "io.kubernetes.container.hash"
RESTART_COUNT = "io.kubernetes.container.restartCount"
TERMINATION_PATH = "io.kubernetes.container.terminationMessagePath"
TERMINATION_POLICY = "io.kubernetes.container.terminationMessagePolicy"
POD_GRACE = "io.kubernetes.pod.terminationGracePeriod"
PRE_STOP = "io.kubernetes.container.preStopHandler"

CONFIG_SOURCE = "kubernetes.io/config.source"
CONFIG_HASH = "kubernetes.io/config.hash"
CONFIG_MIRROR = "kubernetes.io/config.mirror"
CONFIG_SEEN = "kubernetes.io/config.seen"


def uid_of(pod: Object) -> str:
    """The identity the pod runs under: for a mirror pod that of the static pod it mirrors."""
    metadata = pod["metadata"]
    return str((metadata.get("annotations") or {}).get(CONFIG_MIRROR) or metadata["uid"])


def is_static(pod: Object) -> bool:
    source = (pod["metadata"].get("annotations") or {}).get(CONFIG_SOURCE)
    return source is not None and source != "api"


def is_mirror(pod: Object) -> bool:
    return CONFIG_MIRROR in (pod["metadata"].get("annotations") or {})


def full_name(pod: Object) -> str:
    return f"{pod['metadata']['name']}_{pod['metadata'].get('namespace') or 'default'}"


def describe(pod: Object) -> str:
    """`name_namespace(uid)`, as upstream prints a pod in messages."""
    return f"{full_name(pod)}({uid_of(pod)})"


def containers(pod: Object) -> list[Object]:
    return pod["spec"].get("containers") or []


def init_containers(pod: Object) -> list[Object]:
    return pod["spec"].get("initContainers") or []


def ephemeral_containers(pod: Object) -> list[Object]:
    return pod["spec"].get("ephemeralContainers") or []


def every_container(pod: Object) -> Iterator[Object]:
    yield from init_containers(pod)
    yield from containers(pod)
    yield from ephemeral_containers(pod)


def find_container(pod: Object, name: str) -> Object | None:
    return next((container for container in every_container(pod) if container["name"] == name), None)


def is_sidecar(container: Object) -> bool:
    """A restartable init container."""
    return container.get("restartPolicy") == "Always"


def is_init(pod: Object, name: str) -> bool:
    return any(container["name"] == name for container in init_containers(pod))


def host_network(pod: Object) -> bool:
    return bool(pod["spec"].get("hostNetwork"))


def grace_of(pod: Object) -> int:
    """Seconds the pod is given to end: what its deletion asked for, else what its spec says."""
    grace = pod["metadata"].get("deletionGracePeriodSeconds")
    if grace is None:
        grace = pod["spec"].get("terminationGracePeriodSeconds")
    return 30 if grace is None else int(grace)


def rule_action(container: Object, exit_code: int) -> str | None:
    """What the first of the container's own rules that fits says: Restart or RestartAllContainers; None when none fits."""
    for rule in container.get("restartPolicyRules") or ():
        codes = rule.get("exitCodes") or {}
        if (exit_code in (codes.get("values") or ())) == (codes.get("operator") == "In"):
            return str(rule.get("action", ""))
    return None


def restarts_all(pod: Object) -> bool:
    """Some container's end may restart all of them."""
    return any(rule.get("action") == "RestartAllContainers" for container in every_container(pod)
               for rule in container.get("restartPolicyRules") or ())


def restart_wanted(pod: Object, container: Object, exit_code: int) -> bool:
    """Whether a container that ended with `exit_code` is to run again: its own rules and policy, else the pod's policy."""
    if (action := rule_action(container, exit_code)) is not None:
        return action.startswith("Restart")
    policy = container.get("restartPolicy") or pod["spec"].get("restartPolicy") or "Always"
    return policy == "Always" or (policy == "OnFailure" and exit_code != 0)


def may_be_recursive(container: Object) -> bool:
    """Some mount asks to be read-only with all that is mounted below it."""
    return any((mount.get("recursiveReadOnly") or "Disabled") != "Disabled" for mount in container.get("volumeMounts") or ())


def may_restart(pod: Object, container: Object) -> bool:
    """Whether there is an exit after which the container would run again; a sidecar alone keeps no pod."""
    if is_sidecar(container) and is_init(pod, container["name"]):
        return False
    rules = container.get("restartPolicyRules") or ()
    policy = container.get("restartPolicy") or pod["spec"].get("restartPolicy") or "Always"
    return policy != "Never" or any(str(rule.get("action", "")).startswith("Restart") for rule in rules)


def container_hash(container: Mapping[str, Any]) -> str:
    """Changes when a running container must be replaced: with its image (upstream hashes name and image alone)."""
    text = orjson.dumps({"image": container.get("image", ""), "name": container["name"]})
    value = 0x811C9DC5
    for byte in text:
        value = (value ^ byte) * 0x01000193 & 0xFFFFFFFF
    return f"{value:x}"


def qos_class(pod: Object) -> str:
    """Upstream's ComputePodQOS: Guaranteed when every container's cpu and memory limits are there and equal its requests."""
    from kubepy.api.scheduling import amounts
    top = pod["spec"].get("resources") or {}
    sources = [top] if top.get("requests") or top.get("limits") else [
        container.get("resources") or {} for container in (*containers(pod), *init_containers(pod))]
    requests: dict[str, int] = {}
    limits: dict[str, int] = {}
    guaranteed = True
    for source in sources:
        for total, side in ((requests, "requests"), (limits, "limits")):
            for name, value in amounts(source.get(side)).items():
                if name in ("cpu", "memory") and value > 0:
                    total[name] = total.get(name, 0) + value
        have = {name for name, value in amounts(source.get("limits")).items() if value > 0}
        guaranteed = guaranteed and {"cpu", "memory"} <= have
    if not requests and not limits:
        return "BestEffort"
    if guaranteed and all(requests.get(name, limits[name]) == limits[name] for name in ("cpu", "memory")) and len(requests) in (0, 2):
        return "Guaranteed"
    return "Burstable"


def is_critical(pod: Object) -> bool:
    """Static, mirror and system-critical pods: never evicted, admitted by making room."""
    return is_static(pod) or is_mirror(pod) or int(pod["spec"].get("priority") or 0) >= 2_000_000_000
