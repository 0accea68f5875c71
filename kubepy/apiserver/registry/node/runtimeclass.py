"""RuntimeClass: names and write flags."""
from __future__ import annotations

from kubepy.api.resource import RUNTIME_CLASSES
from kubepy.apiserver.registry.kind import Kind, Strategy


class RuntimeClassStrategy(Strategy):
    allow_unconditional_update = False


KIND = Kind(
    RUNTIME_CLASSES,
    "runtimeclass",
    RuntimeClassStrategy(),
)
