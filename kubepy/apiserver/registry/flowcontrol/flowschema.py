"""FlowSchema: names and write flags."""
from __future__ import annotations

from kubepy.api.resource import Resource
from kubepy.apiserver.registry.kind import STATUS, Kind, Strategy


class FlowSchemaStrategy(Strategy):
    has_status = True
    tracks_generation = True


KIND = Kind(
    Resource("flowcontrol.apiserver.k8s.io", "v1", "flowschemas", "FlowSchema", False),
    "flowschema",
    FlowSchemaStrategy(),
    subresources=(STATUS,),
)
