"""Addresses and ranges that must be written in one way only (`IsValidIP`, `IsValidCIDR` of the strict kind)."""
from __future__ import annotations

import ipaddress

from kubepy.api import field, name
from kubepy.api.field import Errors, Path


def canonical_address(text: str, path: Path) -> Errors:
    if _leading_zeros(text):
        return [field.invalid(path, text, "must not have leading 0s")]
    complaints = name.ip(text)
    if complaints:
        return [field.invalid(path, text, message) for message in complaints]
    right = str(ipaddress.ip_address(text))
    return [] if right == text else [field.invalid(path, text, f'must be in canonical form ("{right}")')]


def canonical_range(text: str, path: Path) -> Errors:
    complaints = name.cidr(text)
    if complaints:
        return [field.invalid(path, text, message) for message in complaints]
    interface = ipaddress.ip_interface(text)
    if interface.ip != interface.network.network_address:
        return [field.invalid(path, text, "must not have bits set beyond the prefix length")]
    right = str(interface.network)
    return [] if right == text else [field.invalid(path, text, f'must be in canonical form ("{right}")')]


def _leading_zeros(text: str) -> bool:
    parts = text.split(".")
    return len(parts) == 4 and all(part.isdigit() for part in parts) and any(len(part) > 1 and part[0] == "0" for part in parts)
