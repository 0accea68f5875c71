"""The quality of service class of a pod (`pkg/apis/core/v1/helper/qos`)."""
from __future__ import annotations

from kubepy.api.types import Object
from kubepy.apiserver.registry.core.podspec_defaults import containers_of
from kubepy.apiserver.registry.core.podspec_resources import amount

_COUNTED = ("cpu", "memory")


def qos_class(spec: Object) -> str:
    """Guaranteed when every container has equal requests and limits of CPU and memory, BestEffort when none has any."""
    own = spec.get("resources") or {}
    holders = [own] if own.get("limits") or own.get("requests") else \
        [container.get("resources") or {} for container in containers_of(spec, "containers", "initContainers")]
    asked = False
    guaranteed = True
    for resources in holders:
        limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
        for resource in _COUNTED:
            limit, request = amount(limits.get(resource, "0")), amount(requests.get(resource, "0"))
            asked = asked or bool(limit) or bool(request)
            guaranteed = guaranteed and bool(limit) and limit == request
    if not asked:
        return "BestEffort"
    return "Guaranteed" if guaranteed else "Burstable"
