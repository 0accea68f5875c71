"""EndpointSlice: a part of the addresses behind a Service (`pkg/registry/discovery/endpointslice`); labels count as a generation."""
from __future__ import annotations

from kubepy.api import field, name
from kubepy.api.field import Errors, Path
from kubepy.api.resource import ENDPOINT_SLICES
from kubepy.api.types import Object
from kubepy.apiserver.registry import check
from kubepy.apiserver.registry.columns import AGE, NAME, UNSET, at, column
from kubepy.apiserver.registry.core.service_validation import PROTOCOLS, special_address
from kubepy.apiserver.registry.kind import Kind, Strategy
from kubepy.apiserver.request import Context

_ENDPOINTS, _PORTS = Path("endpoints"), Path("ports")
_MAX_HINTS = 8
_TYPES = ("FQDN", "IPv4", "IPv6")


class EndpointSliceStrategy(Strategy):
    null_when_empty = (("endpoints",), ("ports",))
    tracks_generation = True

    def fill(self, obj: Object) -> None:
        for endpoint in obj.get("endpoints") or ():
            endpoint.setdefault("conditions", {})
        for port in obj.get("ports") or ():
            port.setdefault("name", "")
            port.setdefault("protocol", "TCP")

    def validate(self, context: Context, obj: Object) -> Errors:
        kind = obj.get("addressType", "")
        errors = check.need_one_of(kind, Path("addressType"), _TYPES)
        endpoints, ports = obj.get("endpoints") or [], obj.get("ports") or []
        if len(endpoints) > 1000:
            errors.append(field.too_many(_ENDPOINTS, len(endpoints), 1000))
        else:
            for position, endpoint in enumerate(endpoints):
                errors += _endpoint(endpoint, kind, _ENDPOINTS.index(position))
        if len(ports) > 20000:
            return [*errors, field.too_many(_PORTS, len(ports), 20000)]
        return errors + _ports(ports)

    def validate_update(self, context: Context, obj: Object, old: Object) -> Errors:
        return self.validate(context, obj) + check.immutable(obj.get("addressType"), old.get("addressType"), Path("addressType"))

    def warnings(self, context: Context, obj: Object, old: Object | None) -> list[str]:
        return ["spec.addressType: FQDN endpoints are deprecated"] if obj.get("addressType") == "FQDN" else []

    def changes_generation(self, obj: Object, old: Object) -> bool:
        return super().changes_generation(obj, old) or at(obj, "metadata.labels", {}) != at(old, "metadata.labels", {})


def _endpoint(endpoint: Object, kind: str, path: Path) -> Errors:
    errors: Errors = []
    addresses = endpoint.get("addresses") or []
    if not addresses:
        errors.append(field.required(path.child("addresses"), "must contain at least 1 address"))
    elif len(addresses) > 100:
        errors.append(field.too_many(path.child("addresses"), len(addresses), 100))
    for position, address in enumerate(addresses):
        errors += _address(address, kind, path.child("addresses").index(position))
    if endpoint.get("nodeName") is not None:
        errors += check.named(name.subdomain, endpoint["nodeName"], path.child("nodeName"))
    topology = endpoint.get("deprecatedTopology") or {}
    if len(topology) > 16:
        errors.append(field.too_many(path.child("deprecatedTopology"), len(topology), 16))
    errors += check.labels(topology, path.child("deprecatedTopology"))
    if endpoint.get("hostname") is not None:
        errors += check.named(name.label, endpoint["hostname"], path.child("hostname"))
    hints = endpoint.get("hints") or {}
    errors += _hints(hints.get("forZones") or [], name.label_value, path.child("hints", "forZones"))
    errors += _hints(hints.get("forNodes") or [], name.subdomain, path.child("hints", "forNodes"))
    return errors


def _hints(items: list[Object], validator: name.Validator, path: Path) -> Errors:
    if len(items) > _MAX_HINTS:
        return [field.too_many(path, len(items), _MAX_HINTS)]
    errors: Errors = []
    seen: set[str] = set()
    for position, item in enumerate(items):
        title, at_name = item.get("name", ""), path.index(position).child("name")
        if title in seen:
            errors.append(field.duplicate(at_name, title))
        seen.add(title)
        errors += check.named(validator, title, at_name)
    return errors


def _address(address: str, kind: str, path: Path) -> Errors:
    if kind == "FQDN":
        return [field.invalid(path, part, why) for part, why in name.full_domain(address)] if address else [field.required(path)]
    if kind not in ("IPv4", "IPv6"):
        return []
    errors = check.named(name.ip, address, path)
    if errors:
        return errors
    if (":" in address) != (kind == "IPv6"):
        return [field.invalid(path, address, f"must be a valid {kind} address")]
    return special_address(address, path)


def _ports(ports: list[Object]) -> Errors:
    errors: Errors = []
    seen: set[str] = set()
    for position, port in enumerate(ports):
        path = _PORTS.index(position)
        title = port.get("name", "")
        if title:
            errors += check.named(name.label, title, path.child("name"))
        if title in seen:
            errors.append(field.duplicate(path.child("name"), title))
        seen.add(title)
        errors += check.need_one_of(port.get("protocol"), path.child("protocol"), PROTOCOLS)
        if port.get("appProtocol") is not None:
            errors += check.named(name.qualified, port["appProtocol"], path.child("appProtocol"))
    return errors


def _few(items: list[str]) -> str:
    if not items:
        return UNSET
    more = f" + {len(items) - 3} more..." if len(items) > 3 else ""
    return ",".join(items[:3]) + more


def _shown_ports(obj: Object) -> str:
    ports = obj.get("ports") or []
    return _few([str(port["port"]) if port.get("port") is not None else port.get("name") or "*" for port in ports])


def _shown_endpoints(obj: Object) -> str:
    return _few([address for endpoint in obj.get("endpoints") or () for address in endpoint.get("addresses") or ()])


KIND = Kind(
    ENDPOINT_SLICES,
    "endpointslice",
    EndpointSliceStrategy(),
    columns=(
        NAME,
        column("AddressType", "string", "=discovery.v1.EndpointSlice.addressType", lambda obj: obj.get("addressType", "")),
        column("Ports", "string", "=discovery.v1.EndpointSlice.ports", _shown_ports),
        column("Endpoints", "string", "=discovery.v1.EndpointSlice.endpoints", _shown_endpoints),
        AGE,
    ),
)
