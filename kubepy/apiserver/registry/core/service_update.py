"""What an update of a Service keeps, drops and refuses (`patchAllocatedValues`, `dropTypeDependentFields`, `ValidateServiceUpdate`)."""
from __future__ import annotations

from kubepy.api import field
from kubepy.api.field import Errors
from kubepy.api.types import Object
from kubepy.apiserver.registry.core.service_validation import SPEC

_LOAD_BALANCER_FIELDS = ("allocateLoadBalancerNodePorts", "loadBalancerClass", "healthCheckNodePort")


def keep_allocated(new: Object, old: Object) -> None:
    """What was allocated stays when an update leaves it out."""
    if needs_address(new) and needs_address(old):
        if not new.get("clusterIP") and old.get("clusterIP"):
            new["clusterIP"] = old["clusterIP"]
            if not new.get("clusterIPs") and old.get("clusterIPs"):
                new["clusterIPs"] = old["clusterIPs"]
        elif not new.get("clusterIPs") and new.get("clusterIP") == old.get("clusterIP") and old.get("clusterIPs"):
            new["clusterIPs"] = old["clusterIPs"]
        for key in ("ipFamilies", "ipFamilyPolicy"):
            if not new.get(key) and old.get(key) and new.get("clusterIP") == old.get("clusterIP"):
                new[key] = old[key]
    if needs_node_port(new) and needs_node_port(old):
        _keep_node_ports(new, old)
    if needs_health_port(new) and needs_health_port(old) and not new.get("healthCheckNodePort") and old.get("healthCheckNodePort"):
        new["healthCheckNodePort"] = old["healthCheckNodePort"]


def _keep_node_ports(new: Object, old: Object) -> None:
    by_port = {(port.get("protocol"), port.get("port")): port.get("nodePort", 0) for port in old.get("ports") or ()}
    by_name = {port.get("name", ""): port.get("nodePort", 0) for port in old.get("ports") or ()}
    used = {port.get("nodePort") for port in new.get("ports") or () if port.get("nodePort")}
    for port in new.get("ports") or ():
        if port.get("nodePort"):
            continue
        kept = by_port.get((port.get("protocol"), port.get("port"))) or by_name.get(port.get("name", ""))
        if kept and kept not in used:
            port["nodePort"] = kept
            used.add(kept)


def drop_stale(new: Object, old: Object) -> None:
    """Fields that belonged to the old type and were merely carried along go away with it."""
    if needs_address(old) and not needs_address(new):
        for key in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"):
            if new.get(key) == old.get(key):
                new.pop(key, None)
    if needs_node_port(old) and not needs_node_port(new):
        before = {port.get("nodePort") for port in old.get("ports") or ()}
        for port in new.get("ports") or ():
            if port.get("nodePort") in before:
                port.pop("nodePort", None)
    if needs_health_port(old) and not needs_health_port(new) and new.get("healthCheckNodePort") == old.get("healthCheckNodePort"):
        new.pop("healthCheckNodePort", None)
    if old.get("type") == "LoadBalancer" and new.get("type") != "LoadBalancer":
        for key in _LOAD_BALANCER_FIELDS:
            if new.get(key) == old.get(key):
                new.pop(key, None)
    if old.get("type") in ("NodePort", "LoadBalancer") and new.get("type") in ("ClusterIP", "ExternalName") and not new.get("externalIPs") \
            and new.get("externalTrafficPolicy") == old.get("externalTrafficPolicy"):
        new.pop("externalTrafficPolicy", None)
    if new.get("type") == "ExternalName" and old.get("type") != "ExternalName" \
            and new.get("internalTrafficPolicy") == old.get("internalTrafficPolicy"):
        new.pop("internalTrafficPolicy", None)


def changes(new: Object, old: Object) -> Errors:
    """What may not change."""
    errors: Errors = []
    if needs_address(new) and needs_address(old):
        for position, address in enumerate(old.get("clusterIPs") or ()):
            now = new.get("clusterIPs") or []
            if position < len(now) and now[position] != address:
                errors.append(field.invalid(SPEC.child("clusterIPs").index(position), now, "may not change once set"))
                break
    if needs_health_port(new) and needs_health_port(old) and new.get("healthCheckNodePort") != old.get("healthCheckNodePort"):
        errors.append(field.forbidden(SPEC.child("healthCheckNodePort"), "field is immutable"))
    if new.get("type") == "LoadBalancer" and old.get("type") == "LoadBalancer" \
            and new.get("loadBalancerClass") != old.get("loadBalancerClass"):
        errors.append(field.invalid(SPEC.child("loadBalancerClass"), new.get("loadBalancerClass"), "may not change once set"))
    return errors


def needs_address(spec: Object) -> bool:
    return spec.get("type", "ClusterIP") in ("ClusterIP", "NodePort", "LoadBalancer")


def needs_node_port(spec: Object) -> bool:
    kind = spec.get("type")
    return kind == "NodePort" or (kind == "LoadBalancer" and spec.get("allocateLoadBalancerNodePorts") is not False)


def needs_health_port(spec: Object) -> bool:
    return spec.get("type") == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local"
