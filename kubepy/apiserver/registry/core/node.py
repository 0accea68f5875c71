"""Node: names and write flags."""
from __future__ import annotations

from kubepy.api.resource import NODES
from kubepy.apiserver.registry.kind import STATUS, Kind, Strategy, Subresource


class NodeStrategy(Strategy):
    has_status = True


KIND = Kind(
    NODES,
    "node",
    NodeStrategy(),
    short_names=("no",),
    subresources=(Subresource("proxy", ("create", "delete", "get", "patch", "update"), "NodeProxyOptions"), STATUS),
)
