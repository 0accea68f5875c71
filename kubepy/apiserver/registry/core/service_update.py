"""What an update of a Service may not change (`ValidateServiceUpdate`)."""
from __future__ import annotations

from kubepy.api import field
from kubepy.api.field import Errors
from kubepy.api.types import Object
from kubepy.apiserver.registry.core.service_validation import SPEC, is_headless

_FIXED = "may not change once set"


def changes(new: Object, old: Object) -> Errors:
    """What may not change."""
    errors: Errors = []
    if "ExternalName" not in (new.get("type"), old.get("type")):
        errors += _addresses(new, old) + _families(new, old)
    if new.get("type") == "LoadBalancer" and old.get("type") == "LoadBalancer" \
            and new.get("loadBalancerClass") != old.get("loadBalancerClass"):
        errors.append(field.invalid(SPEC.child("loadBalancerClass"), new.get("loadBalancerClass"), _FIXED))
    if needs_health_port(new) and needs_health_port(old) and new.get("healthCheckNodePort") != old.get("healthCheckNodePort"):
        errors.append(field.forbidden(SPEC.child("healthCheckNodePort"), "field is immutable"))
    return errors


def _addresses(new: Object, old: Object) -> Errors:
    """A second address may come and, with the policy saying so, go; none changes."""
    if is_headless(new) and is_headless(old):
        return []
    now, before, path = new.get("clusterIPs") or [], old.get("clusterIPs") or [], SPEC.child("clusterIPs")
    if len(now) == len(before):
        return [field.invalid(path.index(position), now, _FIXED) for position, address in enumerate(before) if now[position] != address]
    errors: Errors = []
    if not now:
        errors.append(field.invalid(path.index(0), now, "primary clusterIP can not be unset"))
    if now and before and now[0] != before[0]:
        errors.append(field.invalid(path.index(0), now, _FIXED))
    if len(before) > len(now) == 1:
        errors += _released(new, "clusterIP")
    return errors


def _families(new: Object, old: Object) -> Errors:
    if is_headless(new) or is_headless(old):
        return []
    now, before, path = new.get("ipFamilies") or [], old.get("ipFamilies") or [], SPEC.child("ipFamilies").index(0)
    if len(now) == len(before):
        return [field.invalid(path, now, _FIXED) for one, other in zip(now, before, strict=True) if one != other]
    errors: Errors = []
    if len(before) > len(now) and not new.get("clusterIPs"):
        errors.append(field.invalid(path, now, "primary ipFamily can not be unset"))
    if now and before and now[0] != before[0]:
        errors.append(field.invalid(path, new.get("clusterIPs"), _FIXED))
    if len(before) > len(now) == 1:
        errors += _released(new, "ipFamily")
    return errors


def _released(new: Object, what: str) -> Errors:
    policy = new.get("ipFamilyPolicy")
    if policy == "SingleStack":
        return []
    return [field.invalid(SPEC.child("ipFamilyPolicy"), policy, f"must be set to 'SingleStack' when releasing the secondary {what}")]


def needs_address(spec: Object) -> bool:
    return spec.get("type", "ClusterIP") in ("ClusterIP", "NodePort", "LoadBalancer")


def needs_health_port(spec: Object) -> bool:
    return spec.get("type") == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local"
