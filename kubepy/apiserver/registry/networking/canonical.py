"""Addresses and ranges that must be written in one way only (`IsValidIP`, `IsValidCIDR`), and warnings about others where they may."""
from __future__ import annotations

import ipaddress

from kubepy.api import field, name
from kubepy.api.field import Errors, Path


def canonical_address(text: str, path: Path) -> Errors:
    complaints = name.ip(text)
    if complaints:
        return [field.invalid(path, text, message) for message in complaints]
    right = str(ipaddress.ip_address(text))
    return [] if right == text else [field.invalid(path, text, f'must be in canonical form ("{right}")')]


def canonical_range(text: str, path: Path) -> Errors:
    complaints = name.cidr(text)
    if complaints:
        return [field.invalid(path, text, message) for message in complaints]
    right = str(ipaddress.ip_interface(text).network)
    return [] if right == text else [field.invalid(path, text, f'must be in canonical form ("{right}")')]


def address_warnings(text: str, path: Path) -> list[str]:
    """GetWarningsForIP: IPv6 addresses written otherwise than RFC 5952 says; what is worse is refused."""
    address = name.sloppy_ip(text)
    if address is None or name.ip(text) or str(address) == text:
        return []
    return [f'{path}: IPv6 address "{text}" should be in RFC 5952 canonical format ("{address}")']


def range_warnings(text: str, path: Path) -> list[str]:
    """GetWarningsForCIDR."""
    interface = name.sloppy_cidr(text)
    if interface is None or name.cidr(text) or str(interface.network) == text:
        return []
    return [f'{path}: IPv6 CIDR value "{text}" should be in RFC 5952 canonical format ("{interface.network}")']
