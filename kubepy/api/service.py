"""How Services and their EndpointSlices find each other: the labels, and the index of slices by Service that informers keep."""
from __future__ import annotations

from kubepy.api.types import Object

SERVICE_LABEL = "kubernetes.io/service-name"
"""On an EndpointSlice: its Service."""
HEADLESS_LABEL = "service.kubernetes.io/headless"
SLICES = "service"
"""The name of the index that `service_keys` fills."""


def service_key(slice_: Object) -> str:
    """`namespace/name` of the Service an EndpointSlice belongs to, "" where it belongs to none."""
    metadata = slice_["metadata"]
    name = (metadata.get("labels") or {}).get(SERVICE_LABEL)
    return f"{metadata['namespace']}/{name}" if name else ""


def service_keys(slice_: Object) -> tuple[str, ...]:
    """The same for an index."""
    key = service_key(slice_)
    return (key,) if key else ()
