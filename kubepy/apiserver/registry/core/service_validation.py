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
TOPOLOGY_HINTS = "service.kubernetes.io/topology-aware-hints"
TOPOLOGY_MODE = "service.kubernetes.io/topology-mode"
SOURCE_RANGES = "service.beta.kubernetes.io/load-balancer-source-ranges"
_ONLY_LOAD_BALANCER = "may only be used when `type` is 'LoadBalancer'"


def is_headless(spec: Object) -> bool:
    return spec.get("clusterIPs") == ["None"]


def externally_accessible(spec: Object) -> bool:
    return spec.get("type") in ("LoadBalancer", "NodePort") or (spec.get("type") == "ClusterIP" and bool(spec.get("externalIPs")))


def family_of(address: str) -> str:
    return "IPv6" if ":" in address else "IPv4"


def service(obj: Object) -> Errors:
    """Everything but addresses and families."""
    spec, annotations = obj.get("spec") or {}, (obj.get("metadata") or {}).get("annotations") or {}
    ports, headless, kind = spec.get("ports") or [], is_headless(spec), spec.get("type", "")
    errors = _topology(annotations)
    if not ports and not headless and kind != "ExternalName":
        errors.append(field.required(SPEC.child("ports")))
    if headless and kind in ("LoadBalancer", "NodePort"):
        errors.append(field.invalid(SPEC.child("clusterIPs").index(0), "None", f"may not be set to 'None' for {kind} services"))
    if kind == "ExternalName":
        errors += _external_name(spec)
    names: set[str] = set()
    for position, port in enumerate(ports):
        errors += _port(port, len(ports) > 1, names, SPEC.child("ports").index(position))
    errors += check.labels(spec.get("selector"), SPEC.child("selector"))
    errors += _affinity(spec)
    for position, address in enumerate(spec.get("externalIPs") or ()):
        errors += external_address(address, SPEC.child("externalIPs").index(position))
    errors += check.need_one_of(kind, SPEC.child("type"), _TYPES)
    errors += _repeated(ports, kind)
    errors += _load_balancer(spec, annotations, kind)
    errors += _policies(spec)
    return errors


def _topology(annotations: Object) -> Errors:
    hints, mode = annotations.get(TOPOLOGY_HINTS), annotations.get(TOPOLOGY_MODE)
    if None in (hints, mode) or hints == mode:
        return []
    return [field.invalid(Path("metadata.annotations").key(TOPOLOGY_MODE), mode,
                          f"must match annotations[{TOPOLOGY_HINTS}] when both are specified")]


def _external_name(spec: Object) -> Errors:
    """A name elsewhere has no addresses here."""
    errors = [field.forbidden(SPEC.child(key), "may not be set for ExternalName services")
              for key in ("clusterIPs", "ipFamilies", "ipFamilyPolicy") if spec.get(key)]
    return errors + check.need_named(name.subdomain, spec.get("externalName", "").removesuffix("."), SPEC.child("externalName"))


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
    at, config = SPEC.child("sessionAffinityConfig"), spec.get("sessionAffinityConfig")
    if affinity == "None" and config is not None:
        errors.append(field.forbidden(at, "must not be set when session affinity is None"))
    if affinity == "ClientIP":
        for key in ("", "clientIP", "timeoutSeconds"):
            at, config = (at.child(key), config.get(key)) if key and config is not None else (at, config)
            if config is None:
                return [*errors, field.required(at, "when session affinity type is ClientIP")]
        if not isinstance(config, int) or not 0 < config <= 86400:
            errors.append(field.invalid(at, config, "must be greater than 0 and less than 86400"))
    return errors


def external_address(address: str, path: Path) -> Errors:
    """An address that clients outside may use: well-formed, and none of the special ones."""
    return check.named(name.ip, address, path) or special_address(address, path)


def special_address(address: str, path: Path) -> Errors:
    """ValidateEndpointIP: neither unspecified nor loopback, link-local or link-local multicast."""
    parsed = name.sloppy_ip(address)
    if parsed is None:
        return [field.invalid(path, address, "must be a valid IP address")]
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
    at = SPEC.child("ports")
    if kind == "ClusterIP":
        errors += [field.forbidden(at.index(position).child("nodePort"), "may not be used when `type` is 'ClusterIP'")
                   for position, port in enumerate(ports) if port.get("nodePort")]
    taken: set[tuple[str, int]] = set()
    for position, port in enumerate(ports):
        key = (port.get("protocol", ""), port.get("nodePort", 0))
        if key[1] and key in taken:
            errors.append(field.duplicate(at.index(position).child("nodePort"), key[1]) if kind == "ClusterIP" else
                          field.invalid(at.index(position).child("nodePort"), key[1], "provided port is already allocated"))
        taken.add(key)
    seen: set[tuple[str, int]] = set()
    for position, port in enumerate(ports):
        protocol, number = port.get("protocol", ""), port.get("port", 0)
        if (protocol, number) in seen:
            errors.append(field.duplicate(at.index(position), field.Struct(Name="", Protocol=protocol, AppProtocol=None, Port=number,
                                                                           TargetPort=0, NodePort=0)))
        seen.add((protocol, number))
    return errors


def _source_ranges(spec: Object, annotations: Object, kind: str) -> Errors:
    """The field, or the annotation that it has replaced."""
    ranges, text = spec.get("loadBalancerSourceRanges") or [], annotations.get(SOURCE_RANGES)
    if not ranges and text is None:
        return []
    at = SPEC.child("LoadBalancerSourceRanges") if ranges else Path("metadata.annotations").key(SOURCE_RANGES)
    errors = [] if kind == "LoadBalancer" else [field.forbidden(at, _ONLY_LOAD_BALANCER)]
    listed = ranges or (text.strip().split(",") if text and text.strip() else [])
    for position, cidr in enumerate(listed):
        errors += check.named(name.cidr, cidr.strip(), at.index(position) if ranges else at)
    return errors


def _load_balancer(spec: Object, annotations: Object, kind: str) -> Errors:
    errors = _source_ranges(spec, annotations, kind)
    if kind == "LoadBalancer":
        if spec.get("allocateLoadBalancerNodePorts") is None:
            errors.append(field.required(Path("allocateLoadBalancerNodePorts")))
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
    if internal is not None or spec.get("type") in ("ClusterIP", "NodePort", "LoadBalancer"):
        errors += check.need_one_of(internal, SPEC.child("internalTrafficPolicy"), ("Cluster", "Local"))
    if spec.get("trafficDistribution") is not None:
        errors += check.one_of(spec["trafficDistribution"], SPEC.child("trafficDistribution"), _DISTRIBUTIONS)
    return errors


def load_balancer_status(obj: Object) -> Errors:
    """ValidateLoadBalancerStatus."""
    path = Path("status.loadBalancer.ingress")
    items = ((obj.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []
    if items and (obj.get("spec") or {}).get("type") != "LoadBalancer":
        return [field.forbidden(path, "may only be used when `spec.type` is 'LoadBalancer'")]
    errors: Errors = []
    for position, ingress in enumerate(items):
        at, address, mode = path.index(position), ingress.get("ip", ""), ingress.get("ipMode")
        if address:
            errors += check.named(name.ip, address, at.child("ip"))
        if mode is None and address:
            errors.append(field.required(at.child("ipMode"), "must be specified when `ip` is set"))
        elif mode is not None and not address:
            errors.append(field.forbidden(at.child("ipMode"), "may not be specified when `ip` is not set"))
        elif mode is not None:
            errors += check.one_of(mode, at.child("ipMode"), ("Proxy", "VIP"))
        errors += balancer_hostname(ingress.get("hostname", ""), at.child("hostname"))
    return errors


def balancer_hostname(text: str, path: Path) -> Errors:
    if not text:
        return []
    errors = check.named(name.subdomain, text, path)
    if name.sloppy_ip(text) is not None:
        errors.append(field.invalid(path, text, "must be a DNS name, not an IP address"))
    return errors


def addresses(spec: Object) -> Errors:
    """ValidateServiceClusterIPsRelatedFields."""
    if spec.get("type") == "ExternalName":
        return []
    single, many = spec.get("clusterIP", ""), spec.get("clusterIPs") or []
    families, policy, at = spec.get("ipFamilies") or [], spec.get("ipFamilyPolicy"), SPEC.child("clusterIPs")
    errors: Errors = []
    if single and not many:
        errors.append(field.required(at))
    elif single != (many or [""])[0]:
        errors.append(field.invalid(at, many, "first value must match `clusterIP`" if single else "must be empty when `clusterIP` is not "
                                                                                                  "specified"))
    for position, family in enumerate(families):
        here = SPEC.child("ipFamilies").index(position)
        errors += check.one_of(family, here, ("IPv4", "IPv6"))
        if family in families[:position]:
            errors.append(field.duplicate(here, family))
    if policy is not None:
        errors += check.one_of(policy, SPEC.child("ipFamilyPolicy"), _FAMILY_POLICIES)
    complaints: Errors = []
    for position, address in enumerate(many):
        if position == 0 and address == "None":
            if len(many) > 1:
                complaints.append(field.invalid(at, many, "'None' must be the first and only value"))
        else:
            complaints += check.named(name.ip, address, at.index(position))
    errors += complaints
    if len(many) > 2:
        errors.append(field.invalid(at, many, "may only hold up to 2 values"))
    if complaints:
        return errors
    if len(many) > 1 and len({family_of(address) for address in many}) < 2:
        errors.append(field.invalid(at, many, "may specify no more than one IP for each IP family"))
    if not is_headless(spec):
        errors += [field.invalid(at.index(position), address, f"expected an {family} value as indicated by `ipFamilies[{position}]`")
                   for position, (address, family) in enumerate(zip(many, families, strict=False))
                   if family in ("IPv4", "IPv6") and family_of(address) != family]
    return errors
