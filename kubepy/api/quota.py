"""What objects use of a ResourceQuota, and which objects a quota counts (`pkg/quota/v1/evaluator/core`).

Usage is a mapping of quota resource names (`pods`, `requests.cpu`, `count/deployments.apps`) to quantities. Shared by admission, which
charges it, and the quota controller, which counts again.
"""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kubepy.api.quantity import Quantity, quantity
from kubepy.api.resource import PERSISTENT_VOLUME_CLAIMS, PODS, SERVICES, Resource
from kubepy.api.types import Object

Usage = dict[str, Quantity]

ONE = Quantity.of(1)
_PLAIN_COUNTS = frozenset({"configmaps", "resourcequotas", "replicationcontrollers", "secrets"})
"""Core resources that are also counted under their plain name."""
_CLASS_SUFFIX = ".storageclass.storage.k8s.io/"
_NATIVE = ("cpu", "memory", "ephemeral-storage")


def usage(resource: Resource, obj: Object) -> Usage:
    """What an object counts for."""
    used = {f"count/{resource.group_resource}": ONE}
    if resource.group == "":
        if resource.plural == PODS.plural:
            used |= {} if is_terminal(obj) else pod_usage(obj)
        elif resource.plural == SERVICES.plural:
            used |= _service_usage(obj)
        elif resource.plural == PERSISTENT_VOLUME_CLAIMS.plural:
            used |= _claim_usage(obj)
        elif resource.plural in _PLAIN_COUNTS:
            used[resource.plural] = ONE
    return used


def covers(resource: Resource, names: Mapping[str, Any]) -> list[str]:
    """Those of a quota's resource names that objects of this kind are counted under, sorted."""
    return sorted(name for name in names if _counted(resource, name))


def _counted(resource: Resource, name: str) -> bool:
    if name == f"count/{resource.group_resource}":
        return True
    if resource.group != "":
        return False
    if resource.plural == "pods":
        return name == "pods" or name in _NATIVE or name.startswith(("hugepages-", "limits.", "requests.hugepages-")) or (
            name.startswith("requests.") and (name.removeprefix("requests.") in _NATIVE or "/" in name))
    if resource.plural == "services":
        return name in ("services", "services.loadbalancers", "services.nodeports")
    if resource.plural == "persistentvolumeclaims":
        return name in ("persistentvolumeclaims", "requests.storage") or name.endswith(
            (f"{_CLASS_SUFFIX}requests.storage", f"{_CLASS_SUFFIX}persistentvolumeclaims"))
    return resource.plural in _PLAIN_COUNTS and name == resource.plural


def is_terminal(pod: Object) -> bool:
    return (pod.get("status") or {}).get("phase") in ("Failed", "Succeeded")


def pod_usage(pod: Object) -> Usage:
    used: Usage = {"pods": ONE}
    for name, value in pod_totals(pod, "requests").items():
        if name in _NATIVE or name.startswith("hugepages-"):
            used[name] = value
            used[f"requests.{name}"] = value
        elif "/" in name:
            used[f"requests.{name}"] = value
    for name, value in pod_totals(pod, "limits").items():
        if name in _NATIVE:
            used[f"limits.{name}"] = value
    return used


def pod_totals(pod: Object, side: str) -> Usage:
    """A pod's `requests` or `limits` as quantities: containers and sidecars together, or the largest init step if that is more."""
    spec = pod.get("spec") or {}
    total: Usage = {}
    for container in spec.get("containers") or ():
        _add(total, _amounts(container, side))
    sidecars: Usage = {}
    peak: Usage = {}
    for container in spec.get("initContainers") or ():
        step = _amounts(container, side)
        if container.get("restartPolicy") == "Always":
            _add(total, step)
            _add(sidecars, step)
            step = dict(sidecars)
        else:
            _add(step, sidecars)
        for name, value in step.items():
            peak[name] = max(peak.get(name, value), value)
    for name, value in peak.items():
        total[name] = max(total.get(name, value), value)
    for name, value in ((spec.get("resources") or {}).get(side) or {}).items():
        total[name] = quantity(value)
    for name, value in (spec.get("overhead") or {}).items():
        if side == "requests" or total.get(name):
            total[name] = total[name] + quantity(value) if name in total else quantity(value)
    return total


def container_list(pod: Object) -> list[Object]:
    spec = pod.get("spec") or {}
    return [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]


def missing_requirements(pod: Object, names: Mapping[str, Any] | list[str]) -> str:
    """What a quota of `names` wants every container to set and they do not: `limits.cpu for: c; …`, or ""."""
    required = [name for name in names if (name.startswith(("requests.", "limits.")) and name.split(".", 1)[1] in ("cpu", "memory"))
                or name in ("cpu", "memory")]
    top = _container_usage({"resources": (pod.get("spec") or {}).get("resources")})
    lacking: dict[str, list[str]] = {}
    for container in container_list(pod):
        given = _container_usage(container)
        for name in required:
            if name not in given and name not in top:
                lacking.setdefault(name, []).append(container.get("name", ""))
    return "; ".join(f"{name} for: {','.join(sorted(set(lacking[name])))}" for name in sorted(lacking))


def matches_scopes(spec: Object, resource: Resource, obj: Object) -> bool:
    """Whether a quota with this spec counts the object, as far as scopes go."""
    selectors = [{"scopeName": scope, "operator": "Exists"} for scope in spec.get("scopes") or ()]
    selectors += (spec.get("scopeSelector") or {}).get("matchExpressions") or ()
    return all(_matches_scope(selector, resource, obj) for selector in selectors)


def _matches_scope(selector: Object, resource: Resource, obj: Object) -> bool:
    scope = selector.get("scopeName")
    spec = obj.get("spec") or {}
    if resource.group == "" and resource.plural == "persistentvolumeclaims":
        return scope == "VolumeAttributesClass" and _matches_name(selector, spec.get("volumeAttributesClassName") or "")
    if resource.group != "" or resource.plural != "pods":
        return False
    if scope == "Terminating":
        return _is_terminating(spec)
    if scope == "NotTerminating":
        return not _is_terminating(spec)
    if scope == "BestEffort":
        return _is_best_effort(obj)
    if scope == "NotBestEffort":
        return not _is_best_effort(obj)
    if scope == "PriorityClass":
        return _matches_name(selector, spec.get("priorityClassName") or "")
    return scope == "CrossNamespacePodAffinity" and _crosses_namespaces(spec)


def _matches_name(selector: Object, name: str) -> bool:
    operator, values = selector.get("operator"), selector.get("values") or ()
    if operator == "In":
        return name in values
    if operator == "NotIn":
        return name not in values
    return bool(name) if operator == "Exists" else not name


def _is_terminating(spec: Object) -> bool:
    deadline = spec.get("activeDeadlineSeconds")
    return isinstance(deadline, int) and deadline >= 0


def _is_best_effort(pod: Object) -> bool:
    resources = [container.get("resources") or {} for container in container_list(pod)] + [(pod.get("spec") or {}).get("resources") or {}]
    return not any(quantity(value) for item in resources for side in ("requests", "limits")
                   for name, value in (item.get(side) or {}).items() if name in ("cpu", "memory"))


def _crosses_namespaces(spec: Object) -> bool:
    for kind in ("podAffinity", "podAntiAffinity"):
        affinity = (spec.get("affinity") or {}).get(kind) or {}
        terms = list(affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or ())
        terms += [term.get("podAffinityTerm") or {} for term in affinity.get("preferredDuringSchedulingIgnoredDuringExecution") or ()]
        if any(term.get("namespaces") or term.get("namespaceSelector") is not None for term in terms):
            return True
    return False


def _service_usage(service: Object) -> Usage:
    spec = service.get("spec") or {}
    kind, ports = spec.get("type"), spec.get("ports") or ()
    balanced = kind == "LoadBalancer"
    if balanced and spec.get("allocateLoadBalancerNodePorts") is False:
        node_ports = sum(1 for port in ports if port.get("nodePort"))
    else:
        node_ports = len(ports) if kind in ("NodePort", "LoadBalancer") else 0
    return {"services": ONE, "services.loadbalancers": Quantity.of(int(balanced)), "services.nodeports": Quantity.of(node_ports)}


def _claim_usage(claim: Object) -> Usage:
    spec, annotations = claim.get("spec") or {}, (claim.get("metadata") or {}).get("annotations") or {}
    used: Usage = {"persistentvolumeclaims": ONE}
    name = annotations.get("volume.beta.kubernetes.io/storage-class") or spec.get("storageClassName")
    if name:
        used[f"{name}{_CLASS_SUFFIX}persistentvolumeclaims"] = ONE
    asked = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
    if asked is not None:
        granted = ((claim.get("status") or {}).get("allocatedResources") or {}).get("storage")
        amount = max(quantity(asked), quantity(granted))
        used["requests.storage"] = amount
        if name:
            used[f"{name}{_CLASS_SUFFIX}requests.storage"] = amount
    return used


def _amounts(container: Object, side: str) -> Usage:
    return {name: quantity(value) for name, value in ((container.get("resources") or {}).get(side) or {}).items()}


def _container_usage(container: Object) -> set[str]:
    resources = container.get("resources") or {}
    requests, limits = resources.get("requests") or {}, resources.get("limits") or {}
    return {*requests, *(f"requests.{name}" for name in requests), *(f"limits.{name}" for name in limits)}


def _add(total: Usage, more: Usage) -> None:
    for name, value in more.items():
        total[name] = total[name] + value if name in total else value
