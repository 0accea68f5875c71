"""NetworkPolicy: which connections pods accept and make (`pkg/registry/networking/networkpolicy`)."""
from __future__ import annotations

from kubepy.api import field, name, selector
from kubepy.api.field import Errors, Path
from kubepy.api.resource import NETWORK_POLICIES
from kubepy.api.types import Object
from kubepy.apiserver.registry import check
from kubepy.apiserver.registry.columns import AGE, NAME, at, column
from kubepy.apiserver.registry.columns import selector as selector_text
from kubepy.apiserver.registry.kind import Kind, Strategy
from kubepy.apiserver.registry.networking.canonical import range_warnings
from kubepy.apiserver.request import Context

_SPEC = Path("spec")
_PROTOCOLS = ("TCP", "UDP", "SCTP")


class NetworkPolicyStrategy(Strategy):
    tracks_generation = True

    def fill(self, obj: Object) -> None:
        spec = obj["spec"]
        if not spec.get("policyTypes"):
            spec["policyTypes"] = ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"]
        for key in ("ingress", "egress"):
            for rule in spec.get(key) or ():
                for port in rule.get("ports") or ():
                    port.setdefault("protocol", "TCP")

    def validate(self, context: Context, obj: Object) -> Errors:
        spec = obj.get("spec") or {}
        errors = selector.validate_object(spec.get("podSelector"), _SPEC.child("podSelector"))
        for key, peers in (("ingress", "from"), ("egress", "to")):
            for position, rule in enumerate(spec.get(key) or ()):
                errors += _rule(rule, peers, _SPEC.child(key).index(position))
        types = spec.get("policyTypes") or []
        if len(types) > 2:
            errors.append(field.invalid(_SPEC.child("policyTypes"), types, "may not specify more than two policyTypes"))
            return errors
        for position, kind in enumerate(types):
            errors += check.one_of(kind, _SPEC.child("policyTypes").index(position), ("Ingress", "Egress"))
        return errors

    def warnings(self, context: Context, obj: Object, old: Object | None) -> list[str]:
        found = []
        for key, peers in (("ingress", "from"), ("egress", "to")):
            for place, rule in enumerate(at(obj, f"spec.{key}", [])):
                for position, peer in enumerate(rule.get(peers) or ()):
                    block, path = peer.get("ipBlock") or {}, _SPEC.child(key).index(place).child(peers).index(position).child("ipBlock")
                    found += range_warnings(block.get("cidr", ""), path.child("cidr"))
                    for index, text in enumerate(block.get("except") or ()):
                        found += range_warnings(text, path.child("except").index(index))
        return found


def _rule(rule: Object, peers: str, path: Path) -> Errors:
    errors: Errors = []
    for position, port in enumerate(rule.get("ports") or ()):
        errors += _port(port, path.child("ports").index(position))
    for position, peer in enumerate(rule.get(peers) or ()):
        errors += _peer(peer, path.child(peers).index(position))
    return errors


def _port(port: Object, path: Path) -> Errors:
    errors: Errors = []
    if port.get("protocol") is not None:
        errors += check.one_of(port["protocol"], path.child("protocol"), _PROTOCOLS)
    number, end = port.get("port"), port.get("endPort")
    if number is not None:
        if isinstance(number, str) and end is not None:
            errors.append(field.invalid(path.child("endPort"), end, "may not be specified when `port` is non-numeric"))
        errors += check.port_or_name(number, path.child("port"))
        if isinstance(number, int) and end is not None:
            if end < number:
                errors.append(field.invalid(path.child("endPort"), end, "must be greater than or equal to `port`"))
            errors += check.port(end, path.child("endPort"))
    elif end is not None:
        errors.append(field.invalid(path.child("endPort"), end, "may not be specified when `port` is not specified"))
    return errors


def _peer(peer: Object, path: Path) -> Errors:
    errors: Errors = []
    pods, namespaces, block = peer.get("podSelector"), peer.get("namespaceSelector"), peer.get("ipBlock")
    errors += selector.validate_object(pods, path.child("podSelector"))
    errors += selector.validate_object(namespaces, path.child("namespaceSelector"))
    if block is not None:
        errors += _block(block, path.child("ipBlock"))
    if pods is None and namespaces is None and block is None:
        errors.append(field.required(path, "must specify a peer"))
    elif block is not None and (pods is not None or namespaces is not None):
        errors.append(field.forbidden(path, "may not specify both ipBlock and another peer"))
    return errors


def _block(block: Object, path: Path) -> Errors:
    cidr = block.get("cidr", "")
    if not cidr:
        return [field.required(path.child("cidr"))]
    errors = check.named(name.cidr, cidr, path.child("cidr"))
    outer = name.sloppy_cidr(cidr)
    if outer is None:
        return errors
    for position, text in enumerate(block.get("except") or ()):
        here = path.child("except").index(position)
        errors += check.named(name.cidr, text, here)
        inner = name.sloppy_cidr(text)
        if inner is not None and not (inner.network.prefixlen > outer.network.prefixlen
                                      and inner.network.network_address in outer.network):
            errors.append(field.invalid(here, text, "must be a strict subset of `cidr`"))
    return errors


KIND = Kind(
    NETWORK_POLICIES,
    "networkpolicy",
    NetworkPolicyStrategy(),
    columns=(
        NAME,
        column("Pod-Selector", "string", "=networking.v1.NetworkPolicySpec.podSelector",
               lambda obj: selector_text(at(obj, "spec.podSelector"))),
        AGE,
    ),
    short_names=("netpol",),
)
