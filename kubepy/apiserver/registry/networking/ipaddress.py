"""IPAddress: names and write flags."""
from __future__ import annotations

from kubepy.api.resource import Resource
from kubepy.apiserver.registry.kind import Kind, Strategy


class IPAddressStrategy(Strategy):
    name_kind = "path"


KIND = Kind(
    Resource("networking.k8s.io", "v1", "ipaddresses", "IPAddress", False),
    "ipaddress",
    IPAddressStrategy(),
    short_names=("ip",),
)
