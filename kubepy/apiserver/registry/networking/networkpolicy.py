"""NetworkPolicy: names and write flags."""
from __future__ import annotations

from kubepy.api.resource import NETWORK_POLICIES
from kubepy.apiserver.registry.kind import Kind, Strategy


class NetworkPolicyStrategy(Strategy):
    tracks_generation = True


KIND = Kind(
    NETWORK_POLICIES,
    "networkpolicy",
    NetworkPolicyStrategy(),
    short_names=("netpol",),
)
