"""What a node's object says of the node: where its kubelet is."""
from __future__ import annotations

from collections.abc import Sequence

from kubepy.api.types import Object

KUBELET_PORT = 10250
PREFERRED = ("InternalIP", "Hostname", "InternalDNS", "ExternalDNS", "ExternalIP")


def kubelet_url(node: Object, preferred: Sequence[str] = PREFERRED, *, use_status_port: bool = True,
                port: int = KUBELET_PORT) -> str | None:
    """`https://host:port` of a node's kubelet, by the first kind of address that it has."""
    status = node.get("status") or {}
    known = {item["type"]: item["address"] for item in reversed(status.get("addresses") or [])}
    host = next((known[type] for type in preferred if type in known), None)
    if host is None:
        return None
    if use_status_port:
        port = ((status.get("daemonEndpoints") or {}).get("kubeletEndpoint") or {}).get("Port") or port
    return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
