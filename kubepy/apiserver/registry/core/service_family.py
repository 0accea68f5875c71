"""IP families of Services: what is filled in, and what a cluster of given families refuses (`initIPFamilyFields`)."""
from __future__ import annotations

from kubepy.api import field
from kubepy.api.field import Errors
from kubepy.api.types import Object
from kubepy.apiserver.registry.core.service_validation import SPEC, family_of, is_headless

_OTHER = {"IPv4": "IPv6", "IPv6": "IPv4"}


def fill_families(spec: Object, cluster: tuple[str, ...]) -> None:
    """Policy and families of a service that is not an ExternalName, in place."""
    families = spec.get("ipFamilies") or []
    if not is_headless(spec):
        for position, address in enumerate(spec.get("clusterIPs") or ()):
            if position >= len(families):
                families.append(family_of(address))
    policy = spec.get("ipFamilyPolicy")
    if is_headless(spec) and not spec.get("selector"):
        if policy is None:
            policy = "SingleStack" if len(families) == 1 else "RequireDualStack"
        if not families:
            families = [cluster[0]]
        if policy in ("PreferDualStack", "RequireDualStack") and len(families) == 1:
            families.append(_OTHER.get(families[0], "IPv6"))
    else:
        if policy is None:
            policy = "RequireDualStack" if len(families) == 2 else "SingleStack"
        if not families:
            families = [cluster[0]]
        if policy in ("PreferDualStack", "RequireDualStack") and len(families) == 1 and len(cluster) > 1:
            families.append(_OTHER.get(families[0], "IPv6"))
    spec["ipFamilyPolicy"] = policy
    spec["ipFamilies"] = families


def refused_families(spec: Object, cluster: tuple[str, ...]) -> Errors:
    """What this cluster cannot do; selectorless headless services may name any family."""
    if spec.get("type") == "ExternalName" or (is_headless(spec) and not spec.get("selector")):
        return []
    errors: Errors = []
    if not is_headless(spec):
        for position, address in enumerate(spec.get("clusterIPs") or ()):
            if family_of(address) not in cluster:
                return [field.invalid(SPEC.child("clusterIPs").index(position), spec["clusterIPs"],
                                      f"{family_of(address)} is not configured on this cluster")]
    if spec.get("ipFamilyPolicy") == "RequireDualStack" and len(cluster) < 2:
        errors.append(field.invalid(SPEC.child("ipFamilyPolicy"), "RequireDualStack",
                                    "this cluster is not configured for dual-stack services"))
    for position, family in enumerate(spec.get("ipFamilies") or ()):
        if family not in cluster:
            errors.append(field.invalid(SPEC.child("ipFamilies").index(position), family, "not configured on this cluster"))
    return errors
