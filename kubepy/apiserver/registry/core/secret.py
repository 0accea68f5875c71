"""Secret: names and write flags."""
from __future__ import annotations

from kubepy.api.resource import SECRETS
from kubepy.apiserver.registry.kind import Kind, Strategy

KIND = Kind(
    SECRETS,
    "secret",
    Strategy(),
)
