"""Pod: names and write flags."""
from __future__ import annotations

from kubepy.api.resource import PODS
from kubepy.apiserver.registry.kind import STATUS, Kind, Strategy, Subresource


class PodStrategy(Strategy):
    has_status = True
    tracks_generation = True
    returns_deleted = True


KIND = Kind(
    PODS,
    "pod",
    PodStrategy(),
    short_names=("po",),
    categories=("all",),
    subresources=(
        Subresource("attach", ("create", "get"), "PodAttachOptions"),
        Subresource("binding", ("create",), "Binding"),
        Subresource("ephemeralcontainers", ("get", "patch", "update")),
        Subresource("eviction", ("create",), "Eviction", "policy", "v1"),
        Subresource("exec", ("create", "get"), "PodExecOptions"),
        Subresource("log", ("get",)),
        Subresource("portforward", ("create", "get"), "PodPortForwardOptions"),
        Subresource("proxy", ("create", "delete", "get", "patch", "update"), "PodProxyOptions"),
        Subresource("resize", ("get", "patch", "update")),
        STATUS,
    ),
)
