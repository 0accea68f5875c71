"""Names of chains, as operators know them from kube-proxy. Those of a service port carry a hash, so that they fit 28 characters."""
from __future__ import annotations

import base64
import hashlib
from functools import lru_cache

from kubepy.proxy.model import Endpoint, PortName

SERVICES = "KUBE-SERVICES"
EXTERNAL_SERVICES = "KUBE-EXTERNAL-SERVICES"
NODE_PORTS = "KUBE-NODEPORTS"
POSTROUTING = "KUBE-POSTROUTING"
MARK_MASQ = "KUBE-MARK-MASQ"
FORWARD = "KUBE-FORWARD"
FIREWALL = "KUBE-PROXY-FIREWALL"
CANARY = "KUBE-PROXY-CANARY"
LOCALNET = "KUBE-FIREWALL"
"""Upstream's kubelet makes this one; the one of this project leaves packets to the proxy."""

NODE_PORT, BALANCER, SOURCE_RANGES = "KUBE-NODE-PORT", "KUBE-LOAD-BALANCER", "KUBE-SOURCE-RANGES-FIREWALL"
IPVS_FILTER, IPVS_OUT_FILTER = "KUBE-IPVS-FILTER", "KUBE-IPVS-OUT-FILTER"
"""Of the IPVS backend alone."""
ALL = frozenset({SERVICES, EXTERNAL_SERVICES, NODE_PORTS, POSTROUTING, MARK_MASQ, FORWARD, FIREWALL, CANARY, LOCALNET, NODE_PORT,
                 BALANCER, SOURCE_RANGES, IPVS_FILTER, IPVS_OUT_FILTER})

OWN_PREFIXES = ("KUBE-SVC-", "KUBE-SVL-", "KUBE-SEP-", "KUBE-FW-", "KUBE-EXT-")
"""Chains with these beginnings are ours to delete when nothing needs them."""
ENDPOINT, ENTRIES = "KUBE-SEP-", ("KUBE-FW-", "KUBE-EXT-")
"""The beginnings of the chains that lead to no others, and of those that nothing but shared chains and each other leads to."""


@lru_cache(maxsize=65536)
def _hash(text: str) -> str:
    return base64.b32encode(hashlib.sha256(text.encode()).digest()[:10]).decode()  # 16 characters


def _port(name: PortName) -> str:
    return _hash(f"{name}{name.protocol.lower()}")


def cluster(name: PortName) -> str:
    return f"KUBE-SVC-{_port(name)}"


def local(name: PortName) -> str:
    return f"KUBE-SVL-{_port(name)}"


def external(name: PortName) -> str:
    return f"KUBE-EXT-{_port(name)}"


def firewall(name: PortName) -> str:
    return f"KUBE-FW-{_port(name)}"


def endpoint(name: PortName, where: Endpoint) -> str:
    return f"KUBE-SEP-{_hash(f'{name}{name.protocol.lower()}{where}')}"
