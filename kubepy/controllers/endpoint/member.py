"""Which pods are behind a Service, at which ports and addresses (`k8s.io/endpointslice/util`)."""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kubepy.api.pod import is_ready, is_terminal
from kubepy.api.types import Object
from kubepy.base.clock import parse_time
from kubepy.client.store import Store, key_of

TRIGGER_TIME = "endpoints.kubernetes.io/last-change-trigger-time"


def selects(service: Object, labels: Mapping[str, str] | None) -> bool:
    selector = service["spec"].get("selector")
    if not selector or service["spec"].get("type") == "ExternalName":
        return False
    present = labels or {}
    return all(present.get(key) == value for key, value in selector.items())


def services_of(services: Store) -> Callable[[Object], Sequence[str]]:
    """For a pod, the keys of the services that select it."""

    def keys(pod: Object) -> Sequence[str]:
        labels = pod["metadata"].get("labels")
        return [key_of(item) for item in services.list(pod["metadata"]["namespace"]) if selects(item, labels)] if labels else ()

    return keys


def pod_matters(old: Object | None, new: Object | None) -> bool:
    """Whether a change of a pod can change what services publish: its labels, address, node, readiness, or end."""
    if old is None or new is None:
        return True
    before, after = old["metadata"], new["metadata"]
    if before.get("labels") != after.get("labels") or ("deletionTimestamp" in before) != ("deletionTimestamp" in after):
        return True
    one, other = old["spec"], new["spec"]
    if one is not other and any(one.get(key) != other.get(key) for key in ("nodeName", "hostname", "subdomain")):
        return True
    return old.get("status") is not new.get("status") and (
        addresses(old) != addresses(new) or is_ready(old) != is_ready(new) or is_terminal(old) != is_terminal(new))


def belongs(pod: Object, *, terminating: bool) -> bool:
    """Whether the pod has an endpoint at all; `terminating` ones only where they are wanted."""
    if is_terminal(pod) or not addresses(pod):
        return False
    return terminating or pod["metadata"].get("deletionTimestamp") is None


def addresses(pod: Object) -> list[str]:
    status = pod.get("status") or {}
    found = [item["ip"] for item in status.get("podIPs") or () if item.get("ip")]
    return found or ([status["podIP"]] if status.get("podIP") else [])


def address_of(pod: Object, ipv6: bool) -> str | None:
    """The pod's address of one family."""
    return next((ip for ip in addresses(pod) if (":" in ip) is ipv6), None)


def is_published(service: Object, pod: Object) -> bool:
    """Ready, or published before it is."""
    return bool(service["spec"].get("publishNotReadyAddresses")) or is_ready(pod)


def is_headless(service: Object) -> bool:
    return bool(service["spec"].get("clusterIP") == "None")


def find_port(pod: Object, port: Object) -> int | None:
    """The number of a service port's target in the pod; named ports are looked up in containers and sidecars."""
    target: Any = port.get("targetPort", port.get("port"))
    if isinstance(target, int):
        return target or port["port"]
    protocol = port.get("protocol") or "TCP"
    sidecars = [item for item in pod["spec"].get("initContainers") or () if item.get("restartPolicy") == "Always"]
    for container in [*(pod["spec"].get("containers") or ()), *sidecars]:
        for item in container.get("ports") or ():
            if item.get("name") == target and (item.get("protocol") or "TCP") == protocol:
                return int(item["containerPort"])
    return None


def hostname(service: Object, pod: Object) -> str:
    """The name under which a pod is found behind a headless service that is its subdomain."""
    spec = pod["spec"]
    return str(spec["hostname"]) if spec.get("hostname") and spec.get("subdomain") == service["metadata"]["name"] else ""


def target(pod: Object) -> Object:
    metadata = pod["metadata"]
    return {"kind": "Pod", "namespace": metadata["namespace"], "name": metadata["name"], "uid": metadata["uid"]}


def trigger_time(service: Object, pods: Sequence[Object]) -> str:
    """When the latest change happened that these endpoints show: the newest readiness, or the service's creation."""
    moments = [service["metadata"].get("creationTimestamp") or ""]
    for pod in pods:
        moments += [item["lastTransitionTime"] for item in (pod.get("status") or {}).get("conditions") or ()
                    if item["type"] == "Ready" and item.get("lastTransitionTime")]
    return max(filter(None, moments), key=parse_time, default="")
