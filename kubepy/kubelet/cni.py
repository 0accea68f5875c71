"""The node's pod network as a CNI configuration: a bridge with addresses from the node's pod CIDR, host ports,
bandwidth limits (the `kubernetes.io/ingress-bandwidth` and `egress-bandwidth` annotations).

containerd reloads the directory by itself, so writing the file is all there is to do. The file is replaced atomically and only
when it would change.
"""
from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

from kubepy.base.file import replace_file

CONFIG_NAME = "10-kubepy.conflist"
BRIDGE = "cni0"


def conflist(pod_cidrs: Sequence[str], *, bridge: str = BRIDGE, mtu: int = 0, data_dir: str = "/var/lib/cni/networks") -> dict[str, Any]:
    """The configuration for a node's pod CIDRs (one, or one for each address family)."""
    ranges = [[{"subnet": str(ipaddress.ip_network(cidr))}] for cidr in pod_cidrs]
    routes = [{"dst": "::/0" if ipaddress.ip_network(cidr).version == 6 else "0.0.0.0/0"} for cidr in pod_cidrs]
    plugin: dict[str, Any] = {
        "type": "bridge", "bridge": bridge, "isGateway": True, "forceAddress": True, "hairpinMode": True,
        "ipMasq": False,  # masquerading is the proxy's: it knows what leaves the cluster
        "ipam": {"type": "host-local", "ranges": ranges, "routes": routes, "dataDir": data_dir},
    }
    if mtu:
        plugin["mtu"] = mtu
    more = ({"type": "portmap", "capabilities": {"portMappings": True}}, {"type": "bandwidth", "capabilities": {"bandwidth": True}})
    return {"cniVersion": "0.4.0", "name": "kubepy", "plugins": [plugin, *more]}


def write_conflist(directory: Path | str, pod_cidrs: Sequence[str], *, bridge: str = BRIDGE, mtu: int = 0,
                   data_dir: str = "/var/lib/cni/networks") -> bool:
    """Writes the configuration; returns whether it changed."""
    path = Path(directory) / CONFIG_NAME
    data = orjson.dumps(conflist(pod_cidrs, bridge=bridge, mtu=mtu, data_dir=data_dir), option=orjson.OPT_INDENT_2) + b"\n"
    if path.exists() and path.read_bytes() == data:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, data, 0o644)
    return True
