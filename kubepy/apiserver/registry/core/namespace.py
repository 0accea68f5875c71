"""Namespace: names and write flags."""
from __future__ import annotations

from kubepy.api.resource import NAMESPACES
from kubepy.apiserver.registry.kind import STATUS, Kind, Strategy, Subresource


class NamespaceStrategy(Strategy):
    has_status = True
    name_kind = "label"


KIND = Kind(
    NAMESPACES,
    "namespace",
    NamespaceStrategy(),
    short_names=("ns",),
    verbs=("create", "delete", "get", "list", "patch", "update", "watch"),
    subresources=(Subresource("finalize", ("update",)), STATUS),
)
