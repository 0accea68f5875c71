"""CustomResourceDefinition: names and write flags."""
from __future__ import annotations

from kubepy.api.resource import Resource
from kubepy.apiserver.registry.kind import STATUS, Kind, Strategy


class CustomResourceDefinitionStrategy(Strategy):
    allow_unconditional_update = False
    has_status = True
    tracks_generation = True


KIND = Kind(
    Resource("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", False),
    "customresourcedefinition",
    CustomResourceDefinitionStrategy(),
    short_names=("crd", "crds"),
    categories=("api-extensions",),
    subresources=(STATUS,),
)
