"""Limits of ephemeral storage: volumes, containers and pods that have outgrown theirs (upstream's local storage eviction). Pure."""
from __future__ import annotations

from collections.abc import Mapping

from kubepy.api.scheduling import amount, pod_limits
from kubepy.api.types import Object
from kubepy.kubelet.eviction.rank import quantity
from kubepy.kubelet.pod import spec as podspec

_RESOURCE = "ephemeral-storage"


def limited(pod: Object) -> bool:
    """Whether the pod has a limit that must be watched."""
    containers = (*podspec.containers(pod), *podspec.init_containers(pod))
    return any(_RESOURCE in ((container.get("resources") or {}).get("limits") or {}) for container in containers) or \
        any(_disk_limit(volume) for volume in pod["spec"].get("volumes") or ())


def _disk_limit(volume: Object) -> str:
    source = volume.get("emptyDir") or {}
    return "" if source.get("medium") else str(source.get("sizeLimit") or "")


def exceeded(pod: Object, volumes: Mapping[str, int], containers: Mapping[str, int]) -> str:
    """Why the pod must go, "" when it may stay. `volumes` are bytes of its volumes on the node's disk, `containers` of each container's
    writable layer and logs."""
    for volume in pod["spec"].get("volumes") or ():
        limit = _disk_limit(volume)
        if limit and volumes.get(volume["name"], 0) > amount("memory", limit):
            return f'Usage of EmptyDir volume "{volume["name"]}" exceeds the limit "{limit}". '
    total = pod_limits(pod).get(_RESOURCE, 0)
    every = [*podspec.containers(pod), *podspec.init_containers(pod)]
    if total and all(_RESOURCE in ((container.get("resources") or {}).get("limits") or {}) for container in every) and \
            sum(volumes.values()) + sum(containers.values()) > total:
        return f"Pod ephemeral local storage usage exceeds the total limit of containers {quantity(total)}. "
    for container in every:
        limit = str(((container.get("resources") or {}).get("limits") or {}).get(_RESOURCE) or "")
        if limit and containers.get(container["name"], 0) > amount(_RESOURCE, limit):
            return f'Container {container["name"]} exceeded its local ephemeral storage limit "{limit}". '
    return ""
