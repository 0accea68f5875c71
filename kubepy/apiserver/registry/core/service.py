"""Service: a stable address for a set of pods.

Follows `pkg/registry/core/service`. Families, cluster addresses and node ports are settled before validation by
`apiserver/service`, which also carries over what an update leaves out.
"""
from __future__ import annotations

from kubepy.api.field import Errors
from kubepy.api.resource import SERVICES
from kubepy.api.types import Object
from kubepy.apiserver.registry.columns import AGE, NAME, NONE, at, column, field, labels
from kubepy.apiserver.registry.core.service_update import changes
from kubepy.apiserver.registry.core.service_validation import (
    SPEC,
    TOPOLOGY_HINTS,
    TOPOLOGY_MODE,
    addresses,
    externally_accessible,
    load_balancer_status,
    service,
)
from kubepy.apiserver.registry.kind import STATUS, Kind, Strategy, Subresource
from kubepy.apiserver.registry.networking.canonical import address_warnings, range_warnings
from kubepy.apiserver.request import Context

_PROXY = ("create", "delete", "get", "patch", "update")


class ServiceStrategy(Strategy):
    updates_whole = True
    allow_create_on_update = True
    has_status = True
    returns_deleted = True
    name_kind = "label"

    def fill(self, obj: Object) -> None:
        spec = obj["spec"]
        affinity = spec.setdefault("sessionAffinity", "None")
        if affinity == "None":
            spec.pop("sessionAffinityConfig", None)
        elif affinity == "ClientIP":
            spec.setdefault("sessionAffinityConfig", {}).setdefault("clientIP", {}).setdefault("timeoutSeconds", 10800)
        kind = spec.setdefault("type", "ClusterIP")
        for port in spec.get("ports") or ():
            port.setdefault("protocol", "TCP")
            if port.get("targetPort") in (None, 0, ""):
                port["targetPort"] = port.get("port", 0)
        if externally_accessible(spec):
            spec.setdefault("externalTrafficPolicy", "Cluster")
        if kind in ("ClusterIP", "NodePort", "LoadBalancer"):
            spec.setdefault("internalTrafficPolicy", "Cluster")
        if kind == "LoadBalancer":
            spec.setdefault("allocateLoadBalancerNodePorts", True)
        for ingress in at(obj, "status.loadBalancer.ingress", []):
            if ingress.get("ip"):
                ingress.setdefault("ipMode", "VIP")

    def validate(self, context: Context, obj: Object) -> Errors:
        return addresses(obj.get("spec") or {}) or service(obj)

    def validate_update(self, context: Context, obj: Object, old: Object) -> Errors:
        spec = obj.get("spec") or {}
        return addresses(spec) or changes(spec, old.get("spec") or {}) + service(obj)

    def validate_status(self, context: Context, obj: Object, old: Object) -> Errors:
        return load_balancer_status(obj)

    def warnings(self, context: Context, obj: Object, old: Object | None) -> list[str]:
        spec, found = obj.get("spec") or {}, []
        if TOPOLOGY_HINTS in at(obj, "metadata.annotations", {}):
            found.append(f"annotation {TOPOLOGY_HINTS} is deprecated, please use {TOPOLOGY_MODE} instead")
        for key in ("clusterIPs", "externalIPs"):
            for position, address in enumerate(spec.get(key) or ()):
                found += address_warnings(address, SPEC.child(key).index(position))
        found += address_warnings(spec.get("loadBalancerIP", ""), SPEC.child("loadBalancerIP"))
        for position, cidr in enumerate(spec.get("loadBalancerSourceRanges") or ()):
            found += range_warnings(cidr, SPEC.child("loadBalancerSourceRanges").index(position))
        if spec.get("externalIPs") and spec.get("type") == "ExternalName":
            found.append('spec.externalIPs is ignored when spec.type is "ExternalName"')
        if spec.get("type") != "ExternalName" and spec.get("externalName"):
            found.append('spec.externalName is ignored when spec.type is not "ExternalName"')
        return found


def _cluster_ip(obj: Object) -> str:
    many = at(obj, "spec.clusterIPs", [])
    return many[0] if many else NONE


def _external_ip(obj: Object) -> str:
    kind, external = at(obj, "spec.type", ""), at(obj, "spec.externalIPs", [])
    if kind == "ExternalName":
        return str(at(obj, "spec.externalName", ""))
    if kind == "LoadBalancer":
        balancers = sorted({ingress.get("ip") or ingress.get("hostname") for ingress in at(obj, "status.loadBalancer.ingress", [])})
        return ",".join([*balancers, *external]) or "<pending>"
    return ",".join(external) or NONE


def _ports(obj: Object) -> str:
    def one(port: Object) -> str:
        node = f":{port['nodePort']}" if port.get("nodePort") else ""
        return f"{port.get('port', 0)}{node}/{port.get('protocol', '')}"

    return ",".join(one(port) for port in at(obj, "spec.ports", [])) or NONE


KIND = Kind(
    SERVICES,
    "service",
    ServiceStrategy(),
    columns=(
        NAME,
        column("Type", "string", "=core.v1.ServiceSpec.type", field("spec.type")),
        column("Cluster-IP", "string", "=core.v1.ServiceSpec.clusterIP", _cluster_ip),
        column("External-IP", "string", "=core.v1.ServiceSpec.externalIPs", _external_ip),
        column("Port(s)", "string", "=core.v1.ServiceSpec.ports", _ports),
        AGE,
        column("Selector", "string", "=core.v1.ServiceSpec.selector", lambda obj: labels(at(obj, "spec.selector")), 1),
    ),
    short_names=("svc",),
    categories=("all",),
    selectable={
        "spec.clusterIP": lambda obj: at(obj, "spec.clusterIP", ""),
        "spec.type": lambda obj: at(obj, "spec.type", ""),
    },
    unknown_field="field label not supported: {field}",
    subresources=(Subresource("proxy", _PROXY, "ServiceProxyOptions"), STATUS),
)
