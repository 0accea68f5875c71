"""Validation of Services (`ValidateService`), in upstream's order; addresses and families are judged first, alone."""
from __future__ import annotations

import ipaddress

from kubepy.api import field, name
from kubepy.api.field import Errors, Path
from kubepy.api.types import Object
from kubepy.apiserver.registry import check

SPEC = Path("spec")
PROTOCOLS = ("SCTP", "TCP", "UDP")
_TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
_FAMILY_POLICIES = ("PreferDualStack", "RequireDualStack", "SingleStack")
_DISTRIBUTIONS = ("PreferClose", "PreferSameZone", "PreferSameNode")
_ONLY_LOAD_BALANCER = "may only be used when `type` is 'LoadBalancer'"


def is_headless(spec: Object) -> bool:
    return (spec.get("clusterIPs") or [None])[0] == "None" or spec.get("clusterIP") == "None"


_KUBELET = 10250


def externally_accessible(spec: Object) -> bool:
    return spec.get("type") in ("LoadBalancer", "NodePort") or (spec.get("type") == "ClusterIP" and bool(spec.get("externalIPs")))


def family_of(address: str) -> str:
    return "IPv6" if ":" in address else "IPv4"


def service(spec: Object) -> Errors:
    """Everything but addresses and families."""
    errors: Errors = []
    ports, headless, kind = spec.get("ports") or [], is_headless(spec), spec.get("type", "")
    if not ports and not headless and kind != "ExternalName":
        errors.append(field.required(SPEC.child("ports")))
    if kind == "LoadBalancer":
        errors += [field.invalid(SPEC.child("ports").index(position), _KUBELET,
                                 f"may not expose port {_KUBELET} externally since it is used by kubelet")
                   for position, port in enumerate(ports) if port.get("port") == _KUBELET]
    if headless and kind in ("LoadBalancer", "NodePort"):
        errors.append(field.invalid(SPEC.child("clusterIPs").index(0), "None", f"may not be set to 'None' for {kind} services"))
    if kind == "ExternalName":
        external = spec.get("externalName", "").rstrip(".")
        errors += check.need_named(name.subdomain, external, SPEC.child("externalName"))
    names: set[str] = set()
    for position, port in enumerate(ports):
        errors += _port(port, len(ports) > 1, names, SPEC.child("ports").index(position))
    errors += check.labels(spec.get("selector"), SPEC.child("selector"))
    errors += _affinity(spec)
    for position, address in enumerate(spec.get("externalIPs") or ()):
        errors += external_address(address, SPEC.child("externalIPs").index(position))
    errors += check.need_one_of(kind, SPEC.child("type"), _TYPES)
    errors += _repeated(ports, kind)
    errors += _load_balancer(spec, kind)
    errors += _policies(spec)
    return errors


def _port(port: Object, need_name: bool, names: set[str], path: Path) -> Errors:
    errors: Errors = []
    title = port.get("name", "")
    if title:
        complaints = check.named(name.label, title, path.child("name"))
        errors += complaints
        if title in names:
            errors.append(field.duplicate(path.child("name"), title))
        names.add(title)
    elif need_name:
        errors.append(field.required(path.child("name")))
    errors += check.port(port.get("port", 0), path.child("port"))
    errors += check.need_one_of(port.get("protocol"), path.child("protocol"), PROTOCOLS)
    errors += check.port_or_name(port.get("targetPort"), path.child("targetPort"))
    if port.get("appProtocol") is not None:
        errors += check.named(name.qualified, port["appProtocol"], path.child("appProtocol"))
    return errors


def _affinity(spec: Object) -> Errors:
    affinity = spec.get("sessionAffinity", "")
    errors = check.need_one_of(affinity, SPEC.child("sessionAffinity"), ("ClientIP", "None"))
    if affinity == "ClientIP":
        timeout = ((spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}).get("timeoutSeconds")
        at = SPEC.child("sessionAffinityConfig", "clientIP", "timeoutSeconds")
        if timeout is None:
            errors.append(field.required(at))
        elif not 0 < timeout <= 86400:
            errors.append(field.invalid(at, timeout, "must be greater than 0 and less than 86400"))
    return errors


def external_address(address: str, path: Path) -> Errors:
    """An address that clients outside may use: well-formed, and none of the special ones."""
    if _has_leading_zero(address):
        return [field.invalid(path, address, "must not have leading 0s")]
    complaints = check.named(name.ip, address, path)
    return complaints or special_address(address, path)


def _has_leading_zero(address: str) -> bool:
    parts = address.split(".")
    return len(parts) == 4 and all(part.isdigit() for part in parts) and any(len(part) > 1 and part[0] == "0" for part in parts)


def special_address(address: str, path: Path) -> Errors:
    """ValidateEndpointIP: neither unspecified nor loopback, link-local or link-local multicast."""
    parsed = ipaddress.ip_address(address)
    errors: Errors = []
    if parsed.is_unspecified:
        errors.append(field.invalid(path, address, f"may not be unspecified ({address})"))
    if parsed.is_loopback:
        errors.append(field.invalid(path, address, "may not be in the loopback range (127.0.0.0/8, ::1/128)"))
    if parsed.is_link_local:
        errors.append(field.invalid(path, address, "may not be in the link-local range (169.254.0.0/16, fe80::/10)"))
    if parsed in ipaddress.ip_network("224.0.0.0/24" if parsed.version == 4 else "ff02::/16"):
        errors.append(field.invalid(path, address, "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"))
    return errors


def _repeated(ports: list[Object], kind: str) -> Errors:
    """The same protocol and port, or node ports where there can be none."""
    errors: Errors = []
    seen: set[tuple[str, int]] = set()
    taken: set[tuple[str, int]] = set()
    for position, port in enumerate(ports):
        at = SPEC.child("ports").index(position)
        protocol, number, node_port = port.get("protocol", ""), port.get("port", 0), port.get("nodePort", 0)
        if (protocol, number) in seen:
            errors.append(field.duplicate(at, field.Struct(Name="", Protocol=protocol, AppProtocol=None, Port=number, TargetPort=0,
                                                           NodePort=0)))
        seen.add((protocol, number))
        if node_port and kind == "ClusterIP":
            errors.append(field.forbidden(at.child("nodePort"), "may not be used when `type` is 'ClusterIP'"))
        elif node_port:
            if (protocol, node_port) in taken:
                errors.append(field.invalid(at.child("nodePort"), node_port, "provided port is already allocated"))
            taken.add((protocol, node_port))
    return errors


def _load_balancer(spec: Object, kind: str) -> Errors:
    errors: Errors = []
    ranges = spec.get("loadBalancerSourceRanges") or []
    at = SPEC.child("LoadBalancerSourceRanges")
    if ranges:
        if kind != "LoadBalancer":
            errors.append(field.forbidden(at, _ONLY_LOAD_BALANCER))
        else:
            for position, cidr in enumerate(ranges):
                errors += check.named(name.cidr, cidr.strip(), at.index(position))
    if kind == "LoadBalancer":
        if spec.get("allocateLoadBalancerNodePorts") is None:
            errors.append(field.required(SPEC.child("allocateLoadBalancerNodePorts")))
    elif spec.get("allocateLoadBalancerNodePorts") is not None:
        errors.append(field.forbidden(SPEC.child("allocateLoadBalancerNodePorts"), _ONLY_LOAD_BALANCER))
    if spec.get("loadBalancerClass") is not None:
        if kind != "LoadBalancer":
            errors.append(field.forbidden(SPEC.child("loadBalancerClass"), _ONLY_LOAD_BALANCER))
        else:
            errors += check.named(name.qualified, spec["loadBalancerClass"], SPEC.child("loadBalancerClass"))
    return errors


def _policies(spec: Object) -> Errors:
    errors: Errors = []
    external, health = spec.get("externalTrafficPolicy", ""), spec.get("healthCheckNodePort", 0)
    at = SPEC.child("externalTrafficPolicy")
    if not externally_accessible(spec):
        if external:
            errors.append(field.invalid(at, external, "may only be set for externally-accessible services"))
    else:
        errors += check.need_one_of(external, at, ("Cluster", "Local"))
    needs_health = spec.get("type") == "LoadBalancer" and external == "Local"
    if health and not needs_health:
        errors.append(field.invalid(SPEC.child("healthCheckNodePort"), health,
                                    "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"))
    elif health < 0:
        errors.append(field.invalid(SPEC.child("healthCheckNodePort"), health, "must be between 1 and 65535, inclusive"))
    internal = spec.get("internalTrafficPolicy")
    if spec.get("type") in ("ClusterIP", "NodePort", "LoadBalancer"):
        errors += check.need_one_of(internal, SPEC.child("internalTrafficPolicy"), ("Cluster", "Local"))
    if spec.get("trafficDistribution") is not None:
        errors += check.one_of(spec["trafficDistribution"], SPEC.child("trafficDistribution"), _DISTRIBUTIONS)
    return errors


def load_balancer_status(obj: Object) -> Errors:
    """ValidateLoadBalancerStatus."""
    path = Path("status.loadBalancer.ingress")
    items = ((obj.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []
    if items and (obj.get("spec") or {}).get("type") != "LoadBalancer":
        return [field.forbidden(path, "may only be used when `spec.type` is LoadBalancer")]
    errors: Errors = []
    for position, ingress in enumerate(items):
        at, address, mode = path.index(position), ingress.get("ip", ""), ingress.get("ipMode")
        if address:
            errors += check.named(name.ip, address, at.child("ip"))
            if mode is None:
                errors.append(field.required(at.child("ipMode"), "must be specified when `ip` is set"))
        elif mode is not None:
            errors.append(field.forbidden(at.child("ipMode"), "may not be specified when `ip` is not set"))
        if address and mode is not None:
            errors += check.one_of(mode, at.child("ipMode"), ("Proxy", "VIP"))
        errors += balancer_hostname(ingress.get("hostname", ""), at.child("hostname"))
    return errors


def balancer_hostname(text: str, path: Path) -> Errors:
    if not text:
        return []
    errors = check.named(name.subdomain, text, path)
    if not name.ip(text):
        errors.append(field.invalid(path, text, "must be a DNS name, not an IP address"))
    return errors


def addresses(spec: Object) -> Errors:
    """ValidateServiceClusterIPsRelatedFields."""
    single, many = spec.get("clusterIP", ""), spec.get("clusterIPs") or []
    families, policy = spec.get("ipFamilies") or [], spec.get("ipFamilyPolicy")
    if spec.get("type") == "ExternalName":
        given = (("clusterIPs", single or many), ("ipFamilies", families), ("ipFamilyPolicy", policy))
        return [field.forbidden(SPEC.child(key), "may not be set for ExternalName services") for key, value in given if value]
    at = SPEC.child("clusterIPs")
    errors: Errors = []
    if many and not single:
        errors.append(field.invalid(at, many, "must be empty when `clusterIP` is not specified"))
    elif many and many[0] != single:
        errors.append(field.invalid(at, many, "first value must match `clusterIP`"))
    if policy is not None:
        errors += check.one_of(policy, SPEC.child("ipFamilyPolicy"), _FAMILY_POLICIES)
    seen: set[str] = set()
    for position, family in enumerate(families):
        here = SPEC.child("ipFamilies").index(position)
        errors += check.one_of(family, here, ("IPv4", "IPv6"))
        if family in seen:
            errors.append(field.duplicate(here, family))
        seen.add(family)
    if many and many[0] == "None":
        if len(many) > 1:
            errors.append(field.invalid(at, many, "may not hold more than one value when 'None' is used"))
        return errors
    if errors:
        return errors
    for position, address in enumerate(many):
        errors += check.named(name.ip, address, at.index(position))
    if len(many) > 2:
        errors.append(field.invalid(at, many, "may only hold up to 2 values"))
    if not errors and len(many) == 2 and family_of(many[0]) == family_of(many[1]):
        errors.append(field.invalid(at, many, "may specify no more than one IP for each IP family"))
    return errors
