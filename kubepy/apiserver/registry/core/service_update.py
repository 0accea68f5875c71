"""What an update of a Service may not change (`ValidateServiceUpdate`)."""
from __future__ import annotations

from kubepy.api import field
from kubepy.api.field import Errors
from kubepy.api.types import Object
from kubepy.apiserver.registry.core.service_validation import SPEC


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


def needs_health_port(spec: Object) -> bool:
    return spec.get("type") == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local"
