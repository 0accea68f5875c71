"""Addresses, networks and URLs (`library/ip.go`, `library/cidr.go`, `library/urls.go`)."""
from __future__ import annotations

import ipaddress
from typing import Any
from urllib.parse import parse_qs, urlsplit

from kubepy.api.cel.function.opaque import make, text_of
from kubepy.api.structural.format import FORMATS

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def _ip(text: str) -> Address:
    found = ipaddress.ip_address(text)
    if "%" in text or (found.version == 6 and found.ipv4_mapped is not None):
        raise ValueError(f"IP Address {text!r} is not allowed")
    return found


def _address(item: Any) -> Address:
    return ipaddress.ip_address(text_of(item))


def _network(item: Any) -> Network:
    return ipaddress.ip_network(text_of(item), strict=False)


def _is(parse: Any, text: str) -> bool:
    try:
        parse(text)
    except ValueError:
        return False
    return True


def _cidr(text: str) -> Network:
    if "/" not in text or not text.rpartition("/")[2].isdigit():
        raise ValueError(f"network address parse error during conversion from string: {text}")
    return ipaddress.ip_network(text, strict=False)


def _contains(item: Any, address: Address) -> bool:
    network = _network(item)
    return network.version == address.version and address in network


def _contains_network(item: Any, other: Network) -> bool:
    network = _network(item)
    return network.version == other.version and other.subnet_of(network)  # type: ignore[arg-type]


def url(text: str) -> Any:
    if not FORMATS["uri"](text):
        raise ValueError(f"URL parse error during conversion from string: parse {text!r}: invalid URI for request")
    return make("URL", text)


def _escaped_path(item: Any) -> str:
    return urlsplit(text_of(item)).path


FUNCTIONS: list[tuple[Any, ...]] = [
    ("ip", False, ("string",), "IP", lambda text: make("IP", str(_ip(text)))),
    ("isIP", False, ("string",), "bool", lambda text: _is(_ip, text)),
    ("ip.isCanonical", False, ("string",), "bool", lambda text: str(_ip(text)) == text),
    ("family", True, ("IP",), "int", lambda item: _address(item).version),
    ("isUnspecified", True, ("IP",), "bool", lambda item: _address(item).is_unspecified),
    ("isLoopback", True, ("IP",), "bool", lambda item: _address(item).is_loopback),
    ("isLinkLocalMulticast", True, ("IP",), "bool",
     lambda item: _address(item) in (ipaddress.ip_network("224.0.0.0/24"), ipaddress.ip_network("ff02::/16"))[_address(item).version == 6]),
    ("isLinkLocalUnicast", True, ("IP",), "bool", lambda item: _address(item).is_link_local),
    ("isGlobalUnicast", True, ("IP",), "bool", lambda item: not (
        _address(item).is_unspecified or _address(item).is_loopback or _address(item).is_multicast or _address(item).is_link_local
        or text_of(item) == "255.255.255.255")),
    ("cidr", False, ("string",), "CIDR", lambda text: make("CIDR", text) if _cidr(text) else None),
    ("isCIDR", False, ("string",), "bool", lambda text: _is(_cidr, text)),
    ("containsIP", True, ("CIDR", "IP"), "bool", lambda item, address: _contains(item, _address(address))),
    ("containsIP", True, ("CIDR", "string"), "bool", lambda item, text: _contains(item, _ip(text))),
    ("containsCIDR", True, ("CIDR", "CIDR"), "bool", lambda item, other: _contains_network(item, _network(other))),
    ("containsCIDR", True, ("CIDR", "string"), "bool", lambda item, text: _contains_network(item, _cidr(text))),
    ("prefixLength", True, ("CIDR",), "int", lambda item: _network(item).prefixlen),
    ("masked", True, ("CIDR",), "CIDR", lambda item: make("CIDR", str(_network(item)))),
    ("ip", True, ("CIDR",), "IP", lambda item: make("IP", text_of(item).partition("/")[0])),
    ("url", False, ("string",), "URL", url),
    ("isURL", False, ("string",), "bool", lambda text: FORMATS["uri"](text)),
    ("getScheme", True, ("URL",), "string", lambda item: urlsplit(text_of(item)).scheme),
    ("getHost", True, ("URL",), "string", lambda item: urlsplit(text_of(item)).netloc.rpartition("@")[2]),
    ("getHostname", True, ("URL",), "string", lambda item: urlsplit(text_of(item)).hostname or ""),
    ("getPort", True, ("URL",), "string", lambda item: str(urlsplit(text_of(item)).port or "")),
    ("getEscapedPath", True, ("URL",), "string", _escaped_path),
    ("getQuery", True, ("URL",), "map(string,list(string))",
     lambda item: parse_qs(urlsplit(text_of(item)).query, keep_blank_values=True)),
]
