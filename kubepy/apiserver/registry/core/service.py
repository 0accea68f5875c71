"""Service: a stable address for a set of pods.

Follows `pkg/registry/core/service`: families are filled in before validation, an update keeps what was allocated. Cluster addresses and
node ports themselves are allocated by the server, which also tells the strategy the cluster's families.
"""
from __future__ import annotations

from kubepy.api.field import Errors
from kubepy.api.resource import SERVICES
from kubepy.api.types import Object
from kubepy.apiserver.registry.columns import AGE, NAME, NONE, at, column, field, labels
from kubepy.apiserver.registry.core.service_family import fill_families, refused_families
from kubepy.apiserver.registry.core.service_update import changes, drop_stale, keep_allocated
from kubepy.apiserver.registry.core.service_validation import addresses, externally_accessible, service
from kubepy.apiserver.registry.kind import STATUS, Kind, Strategy, Subresource
from kubepy.apiserver.request import Context

_PROXY = ("create", "delete", "get", "patch", "update")


class ServiceStrategy(Strategy):
    allow_create_on_update = True
    has_status = True
    returns_deleted = True
    name_kind = "label"

    def __init__(self) -> None:
        self.families: tuple[str, ...] = ("IPv4",)
        """The families of the cluster's service ranges, the first one preferred; set when the server starts."""

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

    def prepare_create(self, context: Context, obj: Object) -> None:
        spec = obj["spec"]
        if spec.get("clusterIP") and not spec.get("clusterIPs"):
            spec["clusterIPs"] = [spec["clusterIP"]]
        if spec.get("type") != "ExternalName" and not addresses(spec):
            fill_families(spec, self.families)

    def prepare_update(self, context: Context, obj: Object, old: Object) -> None:
        spec, before = obj["spec"], old.get("spec") or {}
        if spec.get("clusterIP") != before.get("clusterIP") and spec.get("clusterIPs") == before.get("clusterIPs"):
            spec["clusterIPs"] = [spec["clusterIP"]] if spec.get("clusterIP") else []
        elif spec.get("clusterIP") and not spec.get("clusterIPs"):
            spec["clusterIPs"] = before["clusterIPs"] if spec["clusterIP"] == before.get("clusterIP") else [spec["clusterIP"]]
        keep_allocated(spec, before)
        drop_stale(spec, before)
        if not spec.get("clusterIPs"):
            spec.pop("clusterIPs", None)
        if spec.get("type") != "ExternalName" and not addresses(spec):
            fill_families(spec, self.families)

    def validate(self, context: Context, obj: Object) -> Errors:
        spec = obj.get("spec") or {}
        return addresses(spec) or refused_families(spec, self.families) or service(spec)

    def validate_update(self, context: Context, obj: Object, old: Object) -> Errors:
        spec = obj.get("spec") or {}
        first = addresses(spec) or refused_families(spec, self.families)
        return first or changes(spec, old.get("spec") or {}) + service(spec)

    def warnings(self, context: Context, obj: Object, old: Object | None) -> list[str]:
        spec = obj.get("spec") or {}
        found = []
        if spec.get("externalIPs") and spec.get("type") == "ExternalName":
            found.append('spec.externalIPs is ignored when spec.type is "ExternalName"')
        if spec.get("type") != "ExternalName" and spec.get("externalName"):
            found.append(f'spec.externalName is ignored when spec.type is not "ExternalName", but {spec.get("type")}')
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
