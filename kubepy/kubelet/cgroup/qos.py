"""How much memory pods of lesser QoS may use, so that what better ones have asked for stays theirs (upstream's `qosReserved`). Pure."""
from __future__ import annotations

from collections.abc import Iterable, Mapping

from kubepy.api.scheduling import pod_requests
from kubepy.api.types import Object
from kubepy.kubelet.pod import spec as podspec


def qos_problems(reserved: Mapping[str, str]) -> list[str]:
    """What is wrong with the setting."""
    found = []
    for name, share in reserved.items():
        if name != "memory":
            found.append(f'cannot reserve "{name}" resource')
        elif not share.endswith("%"):
            found.append(f'failed to parse percentage "{share}" for "memory" resource: percentage expected, got \'{share}\'')
        elif not share[:-1].isdigit() or int(share[:-1]) > 100:
            found.append(f'failed to parse percentage "{share}" for "memory" resource: percentage must be between 0 and 100')
    return found


def memory_limits(pods: Iterable[Object], total: int, reserved: Mapping[str, str]) -> dict[str, int]:
    """Bytes by QoS class, of `total` for all pods; empty when nothing is reserved."""
    percent = int(reserved.get("memory", "0%")[:-1])
    if not percent or not total:
        return {}
    asked = {"Guaranteed": 0, "Burstable": 0, "BestEffort": 0}
    for pod in pods:
        asked[podspec.qos_class(pod)] += pod_requests(pod).get("memory", 0)
    burstable = total - asked["Guaranteed"] * percent // 100
    return {"Burstable": max(burstable, 0), "BestEffort": max(burstable - asked["Burstable"] * percent // 100, 0)}
