"""What else is approved for nodes that joined with `kubepy join`: their serving certificates, and client certificates of their proxy and
their DNS.

Known difference: upstream leaves kubelet-serving requests to people and has no request for proxies and DNS (they are pods there). All
need a right that no role of upstream's gives, so without kubepy's own bindings nothing is approved here:
`create certificatesigningrequests/selfnodeserver`, `…/nodeproxy` and `…/nodedns`.
"""
from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import ip_address, ip_network

from kubepy.api.types import Object
from kubepy.controllers.certificate.request import CLIENT, KUBELET_SERVING, Refused, check, parse, usages

PROXY_USER, DNS_USER = "system:kube-proxy", "system:kube-dns"
_CLIENTS = {PROXY_USER: "nodeproxy", DNS_USER: "nodedns"}


def recognize(obj: Object, nodes: Iterable[Object], service_ranges: Sequence[str]) -> str:
    """The subresource whose `create` permits the approval; "" for what must not be approved by itself."""
    signer = obj["spec"].get("signerName")
    if signer not in (CLIENT, KUBELET_SERVING):
        return ""
    try:
        wish = parse(obj)
        check(signer, wish, usages(obj))
    except Refused:
        return ""
    if signer == CLIENT:
        plain = not (wish.organizations or wish.dns or wish.ips or wish.emails or wish.uris)
        return _CLIENTS.get(wish.name, "") if plain and "client auth" in usages(obj) else ""
    if obj["spec"].get("username") != wish.name or wish.dns:  # a node chooses its name: it must not become a name that others serve
        return ""
    return "selfnodeserver" if may_serve(wish.name.removeprefix("system:node:"), wish.ips, nodes, service_ranges) else ""


def may_serve(name: str, ips: Sequence[str], nodes: Iterable[Object], service_ranges: Sequence[str]) -> bool:
    """Whether all the addresses are this node's and nobody else's.

    A node writes its own addresses, so one that another node also claims, a loopback or a Service's is not believed."""
    own: set[str] = set()
    others: set[str] = set()
    for node in nodes:
        (own if node["metadata"]["name"] == name else others).update(
            entry.get("address") or "" for entry in (node.get("status") or {}).get("addresses") or ())
    services = [ip_network(text) for text in service_ranges]
    for text in ips:
        address = ip_address(text)
        if text not in own or text in others or address.is_loopback or any(address in network for network in services):
            return False
    return bool(ips)
