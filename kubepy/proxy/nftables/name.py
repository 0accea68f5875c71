"""Names of the table's chains, sets and maps, as operators know them from kube-proxy."""
from __future__ import annotations

import base64
import hashlib
import re
from functools import lru_cache

from kubepy.proxy.model import Endpoint, PortName

TABLE = "kube-proxy"
CLUSTER_IPS = "cluster-ips"
NODE_PORT_IPS = "nodeport-ips"
HAIRPIN = "hairpin-connections"
SERVICE_IPS = "service-ips"
SERVICE_NODE_PORTS = "service-nodeports"
NO_ENDPOINT_SERVICES = "no-endpoint-services"
NO_ENDPOINT_NODE_PORTS = "no-endpoint-nodeports"
FIREWALL_IPS = "firewall-ips"
MARK_MASQ = "mark-for-masquerade"
MASQUERADING = "masquerading"
SERVICES = "services"
REJECT = "reject-chain"

_LONGEST = 120
"""Characters a chain's name may have."""
_ODD = re.compile(r"[^a-zA-Z0-9/._-]")


@lru_cache(maxsize=65536)
def _hash(text: str) -> str:
    return base64.b32encode(hashlib.sha256(text.encode()).digest()[:5]).decode()  # 8 characters


def _named(prefix: str, port: PortName, rest: str = "") -> str:
    """A hash that tells it apart from all others, then what a reader wants to know, cut where it is too long."""
    shown = f"{port.namespace}/{port.name}/{port.protocol.lower()}/{port.port}{rest}"
    return f"{prefix}-{_hash(shown)}-{_ODD.sub('.', shown)}"[:_LONGEST]


def cluster(port: PortName) -> str:
    return _named("service", port)


def local(port: PortName) -> str:
    return _named("local", port)


def external(port: PortName) -> str:
    return _named("external", port)


def firewall(port: PortName) -> str:
    return _named("firewall", port)


def endpoints(protocol: str, number: int) -> str:
    """A map from which the chains of some services choose."""
    return f"service-endpoints-{protocol}-{number}"


def choices(chain: str) -> str:
    """The map from which a service's chain chooses that has session affinity: it leads to chains."""
    return f"choices-{chain}"


def endpoint(port: PortName, where: Endpoint) -> str:
    return _named("endpoint", port, f"__{where.ip}/{where.port}")


def affinity(port: PortName, where: Endpoint) -> str:
    return _named("affinity", port, f"__{where.ip}/{where.port}")
