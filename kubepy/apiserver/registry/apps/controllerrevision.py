"""ControllerRevision: names and write flags."""
from __future__ import annotations

from kubepy.api.resource import CONTROLLER_REVISIONS
from kubepy.apiserver.registry.kind import Kind, Strategy

KIND = Kind(
    CONTROLLER_REVISIONS,
    "controllerrevision",
    Strategy(),
)
