"""Addresses, networks and URLs (`library/ip.go`, `library/cidr.go`, `library/urls.go`)."""
from __future__ import annotations

import ipaddress
from typing import Any
from urllib.parse import parse_qs, urlsplit

from kubepy.api.cel.declaration import Declarations
from kubepy.api.cel.value import EvaluationError, Opaque
from kubepy.api.structural.format import FORMATS


class Ip(Opaque):
    kind = "net.IP"
    __slots__ = ()


class Cidr(Opaque):
    """`value` is an interface: the address as written and its network."""

    kind = "net.CIDR"
    __slots__ = ()


class Url(Opaque):
    """`value` is the result of urlsplit."""

    kind = "kubernetes.URL"
    __slots__ = ()

    def __str__(self) -> str:
        return str(self.value.geturl())


def ip(text: str) -> Ip:
    try:
        found = ipaddress.ip_address(text)
    except ValueError as error:
        raise EvaluationError(f"IP Address {_quoted(text)} parse error during conversion from string: ParseAddr({_quoted(text)}): "
                              f"{_why(text)}") from error
    if "%" in text:
        raise EvaluationError(f'IP address "{text}" with zone value is not allowed')
    if found.version == 6 and found.ipv4_mapped is not None:
        raise EvaluationError(f'IPv4-mapped IPv6 address "{text}" is not allowed')
    return Ip(found)


def _quoted(text: str) -> str:
    return f'"{text}"'


def _why(text: str) -> str:
    if ":" in text:
        return "unexpected character"
    fields = text.split(".")
    if len(fields) == 1 and not text.isdigit():
        return "unable to parse IP"
    if any(not field.isdigit() for field in fields if field):
        return "unexpected character"
    if any(field and int(field) > 255 for field in fields):
        return "IPv4 field has value >255"
    return "IPv4 address too short" if len(fields) < 4 else "IPv4 field must have at least one digit"


def cidr(text: str) -> Cidr:
    try:
        if not text.rpartition("/")[2].isdigit() or "/" not in text:
            raise ValueError(text)
        found = ipaddress.ip_interface(text)
    except ValueError as error:
        raise EvaluationError(f'network address parse error during conversion from string: network address parse error during conversion '
                              f'from string: netip.ParsePrefix("{text}"): no \'/\'' if "/" not in text else
                              f'network address parse error during conversion from string: netip.ParsePrefix("{text}"): '
                              f"{_prefix_words(text)}") from error
    if found.version == 6 and found.ip.ipv4_mapped is not None:
        raise EvaluationError(f'IPv4-mapped IPv6 address "{text}" is not allowed')
    return Cidr(found)


def _prefix_words(text: str) -> str:
    address, _, bits = text.rpartition("/")
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return f"ParseAddr({_quoted(address)}): {_why(address)}"
    return "prefix length out of range" if bits.isdigit() else f'bad bits after slash: "{bits}"'


def _is(parse: Any) -> Any:
    def check(text: str) -> bool:
        try:
            parse(text)
        except EvaluationError:
            return False
        return True

    return check


def _holds(network: Cidr, address: Ip) -> bool:
    return bool(network.value.version == address.value.version and address.value in network.value.network)


def _spans(network: Cidr, other: Cidr) -> bool:
    return bool(network.value.version == other.value.version and other.value.network.subnet_of(network.value.network))


def url(text: str) -> Url:
    if not FORMATS["uri"](text):
        raise EvaluationError(f'URL parse error during conversion from string: parse "{text}": invalid URI for request')
    return Url(urlsplit(text))


def _local_multicast(item: Ip) -> bool:
    return item.value in (ipaddress.ip_network("224.0.0.0/24"), ipaddress.ip_network("ff02::/16"))[item.value.version == 6]


def _global(item: Ip) -> bool:
    found = item.value
    return not (found.is_unspecified or found.is_loopback or found.is_multicast or found.is_link_local or str(found) == "255.255.255.255")


def declare(to: Declarations) -> None:
    address, network, link = Ip.kind, Cidr.kind, Url.kind
    to.add(f"ip(string) {address}", ip)
    to.add("isIP(string) bool", _is(ip))
    to.add("ip.isCanonical(string) bool", lambda text: str(ip(text)) == text)
    to.add(f"{address}::family() int", lambda item: item.value.version)
    to.add(f"{address}::isUnspecified() bool", lambda item: item.value.is_unspecified)
    to.add(f"{address}::isLoopback() bool", lambda item: item.value.is_loopback)
    to.add(f"{address}::isLinkLocalMulticast() bool", _local_multicast)
    to.add(f"{address}::isLinkLocalUnicast() bool", lambda item: item.value.is_link_local)
    to.add(f"{address}::isGlobalUnicast() bool", _global)
    to.add(f"string({address}) string", str)
    to.add(f"cidr(string) {network}", cidr)
    to.add("isCIDR(string) bool", _is(cidr))
    to.add(f"{network}::containsIP({address}) bool", _holds)
    to.add(f"{network}::containsIP(string) bool", lambda item, text: _holds(item, ip(text)))
    to.add(f"{network}::containsCIDR({network}) bool", _spans)
    to.add(f"{network}::containsCIDR(string) bool", lambda item, text: _spans(item, cidr(text)))
    to.add(f"{network}::prefixLength() int", lambda item: item.value.network.prefixlen)
    to.add(f"{network}::masked() {network}", lambda item: Cidr(ipaddress.ip_interface(str(item.value.network))))
    to.add(f"{network}::ip() {address}", lambda item: Ip(item.value.ip))
    to.add(f"string({network}) string", str)
    to.add(f"url(string) {link}", url)
    to.add("isURL(string) bool", _is(url))
    to.add(f"{link}::getScheme() string", lambda item: item.value.scheme)
    to.add(f"{link}::getHost() string", lambda item: item.value.netloc.rpartition("@")[2])
    to.add(f"{link}::getHostname() string", lambda item: item.value.hostname or "")
    to.add(f"{link}::getPort() string", lambda item: str(item.value.port or ""))
    to.add(f"{link}::getEscapedPath() string", lambda item: item.value.path)
    to.add(f"{link}::getQuery() map(string,list(string))", lambda item: parse_qs(item.value.query, keep_blank_values=True))
