"""Which IP families a Service gets, from what it asks for and what the cluster has (`pkg/registry/core/service/storage/alloc.go`). Pure."""
from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from kubepy.api.errors import Invalid
from kubepy.api.field import Errors, Path, invalid
from kubepy.api.types import Object

IPV4, IPV6 = "IPv4", "IPv6"
_SPEC = Path("spec")


def family_of(address: str) -> str:
    return IPV6 if ":" in address else IPV4


def is_headless(spec: Object) -> bool:
    return bool(spec.get("clusterIP") == "None")


def has_address(spec: Object) -> bool:
    """Whether a service of this type has cluster IPs to be allocated."""
    return spec.get("type") != "ExternalName" and not is_headless(spec)


def carry_over(obj: Object, old: Object) -> None:
    """What an update left out of the old service's allocations is taken over, in place."""
    spec, before = obj["spec"], old["spec"]
    if spec.get("type") == "ExternalName" or before.get("type") == "ExternalName":
        return
    if not spec.get("clusterIP") and before.get("clusterIP"):
        spec["clusterIP"] = before["clusterIP"]
        if not spec.get("clusterIPs"):
            spec["clusterIPs"] = list(before.get("clusterIPs") or [])
    elif spec.get("clusterIP") == before.get("clusterIP") and not spec.get("clusterIPs"):
        spec["clusterIPs"] = list(before.get("clusterIPs") or [])
    if not spec.get("ipFamilies") and before.get("ipFamilies"):
        spec["ipFamilies"] = list(before["ipFamilies"])
    if not spec.get("ipFamilyPolicy") and before.get("ipFamilyPolicy"):
        spec["ipFamilyPolicy"] = before["ipFamilyPolicy"]
    if needs_node_ports(spec) and needs_node_ports(before):
        _carry_ports(spec, before)
    if needs_health_port(spec) and needs_health_port(before) and not spec.get("healthCheckNodePort") and before.get("healthCheckNodePort"):
        spec["healthCheckNodePort"] = before["healthCheckNodePort"]


def _carry_ports(spec: Object, before: Object) -> None:
    """Node ports follow the port number and protocol; the ones given explicitly keep theirs."""
    known = {(port.get("protocol"), port["port"]): port.get("nodePort") for port in before.get("ports") or () if port.get("nodePort")}
    used = {port.get("nodePort") for port in spec.get("ports") or () if port.get("nodePort")}
    for port in spec.get("ports") or ():
        if port.get("nodePort"):
            continue
        wanted = known.get((port.get("protocol"), port["port"]))
        if wanted and wanted not in used:
            port["nodePort"] = wanted


def needs_node_ports(spec: Object) -> bool:
    return spec.get("type") == "NodePort" or (spec.get("type") == "LoadBalancer" and spec.get("allocateLoadBalancerNodePorts") is not False)


def needs_health_port(spec: Object) -> bool:
    return spec.get("type") == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local"


def drop_unneeded(obj: Object, old: Object) -> None:
    """A change of type takes away what the new type has no use for, unless the client set it itself."""
    spec, before = obj["spec"], old["spec"]
    if before.get("type") != "ExternalName" and spec.get("type") == "ExternalName":
        if spec.get("clusterIP") == before.get("clusterIP"):
            for field in ("clusterIP", "clusterIPs"):
                spec.pop(field, None)
        for field in ("ipFamilies", "ipFamilyPolicy"):
            if spec.get(field) == before.get(field):
                spec.pop(field, None)
    if needs_node_ports(before) and not needs_node_ports(spec) and spec.get("type") != "LoadBalancer":
        old_ports = {port.get("nodePort") for port in before.get("ports") or ()}
        for port in spec.get("ports") or ():
            if port.get("nodePort") in old_ports:
                port.pop("nodePort", None)
    if spec.get("type") not in ("NodePort", "LoadBalancer") and before.get("type") in ("NodePort", "LoadBalancer") \
            and not spec.get("externalIPs") and spec.get("externalTrafficPolicy") == before.get("externalTrafficPolicy"):
        spec.pop("externalTrafficPolicy", None)
    if before.get("type") == "LoadBalancer" and spec.get("type") != "LoadBalancer":
        for field in ("allocateLoadBalancerNodePorts", "loadBalancerClass"):
            if spec.get(field) == before.get(field):
                spec.pop(field, None)
    if needs_health_port(before) and not needs_health_port(spec) and spec.get("healthCheckNodePort") == before.get("healthCheckNodePort"):
        spec.pop("healthCheckNodePort", None)


def set_families(obj: Object, families: Sequence[str], old: Object | None = None) -> None:
    """Fills `ipFamilies` and `ipFamilyPolicy` in place; `families` are the cluster's, the primary first. Raises Invalid."""
    spec = obj["spec"]
    if spec.get("type") == "ExternalName":
        return
    if spec.get("clusterIP") and not spec.get("clusterIPs"):
        spec["clusterIPs"] = [spec["clusterIP"]]
    addresses = spec.get("clusterIPs") or []
    errors: Errors = []
    asked = list(spec.get("ipFamilies") or [])
    for position, address in enumerate(addresses):
        if address == "None" or not _is_address(address):
            continue
        family = family_of(address)
        if family not in families:
            errors.append(invalid(_SPEC.child("clusterIPs").index(position), addresses, f"{family} is not configured on this cluster"))
        elif position >= len(asked):
            asked.append(family)
    headless_without_selector = is_headless(spec) and not spec.get("selector")
    if not headless_without_selector and not errors:
        for position, family in enumerate(asked):
            if family in (IPV4, IPV6) and family not in families:
                errors.append(invalid(_SPEC.child("ipFamilies").index(position), family, "not configured on this cluster"))
    policy = spec.get("ipFamilyPolicy")
    if policy is None:
        if headless_without_selector:
            policy = "RequireDualStack" if len(asked) != 1 or (old is None and not spec.get("ipFamilies")) else "SingleStack"
        else:
            policy = "RequireDualStack" if len(asked) == 2 else "SingleStack"
    if policy == "RequireDualStack" and len(families) < 2 and not headless_without_selector:
        errors.insert(0, invalid(_SPEC.child("ipFamilyPolicy"), policy, "this cluster is not configured for dual-stack services"))
    if errors:
        raise Invalid.of("", "Service", obj["metadata"].get("name") or "", errors)
    if not asked:
        asked = [families[0]]
    if policy in ("RequireDualStack", "PreferDualStack") and len(asked) == 1 and (len(families) == 2 or headless_without_selector):
        other = IPV6 if asked[0] == IPV4 else IPV4
        if policy == "RequireDualStack" or other in families:
            asked.append(other)
    spec["ipFamilyPolicy"], spec["ipFamilies"] = policy, asked


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
