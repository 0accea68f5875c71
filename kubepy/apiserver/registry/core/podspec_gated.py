"""Fields of a pod spec whose features are off: taken away after their ownership is recorded (upstream's `DropDisabledPodFields`)."""
from __future__ import annotations

from kubepy.api.types import Object


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
