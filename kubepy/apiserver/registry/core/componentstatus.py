"""ComponentStatus: names and write flags."""
from __future__ import annotations

from kubepy.api.resource import Resource
from kubepy.apiserver.registry.kind import Kind, Strategy

KIND = Kind(
    Resource("", "v1", "componentstatuses", "ComponentStatus", False),
    "componentstatus",
    Strategy(),
    short_names=("cs",),
    verbs=("get", "list"),
)
