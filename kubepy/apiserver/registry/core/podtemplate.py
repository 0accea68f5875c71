"""PodTemplate: names and write flags."""
from __future__ import annotations

from kubepy.api.resource import Resource
from kubepy.apiserver.registry.kind import Kind, Strategy


class PodTemplateStrategy(Strategy):
    tracks_generation = True
    returns_deleted = True


KIND = Kind(
    Resource("", "v1", "podtemplates", "PodTemplate", True),
    "podtemplate",
    PodTemplateStrategy(),
)
