"""ConfigMap: names and write flags."""
from __future__ import annotations

from kubepy.api.resource import CONFIGMAPS
from kubepy.apiserver.registry.kind import Kind, Strategy

KIND = Kind(
    CONFIGMAPS,
    "configmap",
    Strategy(),
    short_names=("cm",),
)
