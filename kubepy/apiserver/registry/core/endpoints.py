"""Endpoints: the addresses behind a Service, in the old form (`pkg/registry/core/endpoint`)."""
from __future__ import annotations

from kubepy.api import field, name
from kubepy.api.field import Errors, Path
from kubepy.api.resource import ENDPOINTS
from kubepy.api.types import Object
from kubepy.apiserver.registry import check
from kubepy.apiserver.registry.columns import AGE, NAME, NONE, column
from kubepy.apiserver.registry.core.service_validation import PROTOCOLS, special_address
from kubepy.apiserver.registry.kind import Kind, Strategy
from kubepy.apiserver.registry.networking.canonical import address_warnings
from kubepy.apiserver.request import Context


class EndpointsStrategy(Strategy):
    allow_create_on_update = True

    def fill(self, obj: Object) -> None:
        for subset in obj.get("subsets") or ():
            for port in subset.get("ports") or ():
                port.setdefault("protocol", "TCP")

    def validate(self, context: Context, obj: Object) -> Errors:
        errors: Errors = []
        for position, subset in enumerate(obj.get("subsets") or ()):
            errors += _subset(subset, Path("subsets").index(position))
        return errors

    def warnings(self, context: Context, obj: Object, old: Object | None) -> list[str]:
        found = ["v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"]
        for place, subset in enumerate(obj.get("subsets") or ()):
            for key in ("addresses", "notReadyAddresses"):
                for position, address in enumerate(subset.get(key) or ()):
                    found += address_warnings(address.get("ip", ""), Path("subsets").index(place).child(key).index(position).child("ip"))
        return found


def _subset(subset: Object, path: Path) -> Errors:
    errors: Errors = []
    if not subset.get("addresses") and not subset.get("notReadyAddresses"):
        errors.append(field.required(path, "must specify `addresses` or `notReadyAddresses`"))
    for key in ("addresses", "notReadyAddresses"):
        for position, address in enumerate(subset.get(key) or ()):
            errors += _address(address, path.child(key).index(position))
    ports = subset.get("ports") or []
    for position, port in enumerate(ports):
        errors += _port(port, len(ports) > 1, path.child("ports").index(position))
    return errors


def _address(address: Object, path: Path) -> Errors:
    text = address.get("ip", "")
    errors = check.named(name.ip, text, path.child("ip"))
    if address.get("hostname"):
        errors += check.named(name.label, address["hostname"], path.child("hostname"))
    if address.get("nodeName") is not None:
        errors += check.named(name.subdomain, address["nodeName"], path.child("nodeName"))
    return errors + special_address(text, path.child("ip"))


def _port(port: Object, need_name: bool, path: Path) -> Errors:
    errors: Errors = []
    if port.get("name"):
        errors += check.named(name.label, port["name"], path.child("name"))
    elif need_name:
        errors.append(field.required(path.child("name")))
    errors += check.port(port.get("port", 0), path.child("port"))
    errors += check.need_one_of(port.get("protocol"), path.child("protocol"), PROTOCOLS)
    if port.get("appProtocol") is not None:
        errors += check.named(name.qualified, port["appProtocol"], path.child("appProtocol"))
    return errors


def _shown(obj: Object) -> str:
    """formatEndpoints: three at most."""
    listed = []
    for subset in obj.get("subsets") or ():
        addresses = subset.get("addresses") or ()
        ports = subset.get("ports") or ()
        if not ports:
            listed += [address.get("ip", "") for address in addresses]
        for port in ports:
            listed += [f"[{a['ip']}]:{port['port']}" if ":" in a.get("ip", "") else f"{a.get('ip', '')}:{port.get('port', 0)}"
                       for a in addresses]
    if not listed:
        return NONE
    more = f" + {len(listed) - 3} more..." if len(listed) > 3 else ""
    return ",".join(listed[:3]) + more


KIND = Kind(
    ENDPOINTS,
    "endpoints",
    EndpointsStrategy(),
    columns=(NAME, column("Endpoints", "string", "=core.v1.Endpoints.subsets", _shown), AGE),
    short_names=("ep",),
)
