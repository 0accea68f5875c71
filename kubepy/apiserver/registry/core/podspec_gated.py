"""Fields of a pod spec whose features are off: taken away after their ownership is recorded (upstream's `DropDisabledPodFields`)."""
from __future__ import annotations

from kubepy.api.types import Object
from kubepy.base.gate import DEFAULT, Gates


class Gated:
    """The features of this server; set once, before it serves."""

    features: Gates = DEFAULT


gated = Gated()
_PROJECTIONS = (("clusterTrustBundle", "ClusterTrustBundleProjection"), ("podCertificate", "PodCertificateRequest"))


def drop_projections(source: Object) -> None:
    """Of a source of a projected volume, what its feature being off takes away."""
    for key, feature in _PROJECTIONS:
        if key in source and not gated.features.enabled(feature):
            del source[key]


def drop_gated(spec: Object) -> None:
    """GenericWorkload: `schedulingGroup`, and ContainerStopSignals: `lifecycle.stopSignal` are not kept."""
    spec.pop("schedulingGroup", None)
    for kind in ("initContainers", "containers", "ephemeralContainers"):
        for container in spec.get(kind) or ():
            lifecycle = container.get("lifecycle")
            if lifecycle is not None and "stopSignal" in lifecycle:
                kept = {key: value for key, value in lifecycle.items() if key != "stopSignal"}
                if kept:
                    container["lifecycle"] = kept
                else:
                    del container["lifecycle"]
