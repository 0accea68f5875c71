"""What somebody else asks of a pod, and containers that wait because what was asked could not be done. Pure."""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from kubepy.api.types import Object
from kubepy.kubelet.pod.condition import OWNED


def intent(pod: Object) -> Any:
    """Changes when somebody has asked for something else; statuses do not count."""
    metadata = pod["metadata"]
    return metadata.get("generation"), metadata.get("annotations"), metadata.get("labels")


def foreign(pod: Object) -> Any:
    """What others write into the status of a pod and the kubelet goes by. Our own writes come back as well, and are no news."""
    status = pod.get("status") or {}
    return [status.get(key) for key in ("resourceClaimStatuses", "extendedResourceClaimStatus", "resize")], [
        entry for entry in status.get("conditions") or () if entry["type"] not in OWNED]


def asks(pod: Object, before: Object) -> bool:
    """Whether there is anything to be looked at, but for a changed `intent`."""
    return bool(pod["spec"] != before["spec"] or foreign(pod) != foreign(before))


@dataclass(slots=True)
class Holds:
    """Containers that could not be started, by name: until when (monotonic seconds), what was asked for then, and why.

    Without this every report of a failure would wake the worker and cause the next failure."""

    _held: dict[str, tuple[float, Any, str]] = field(default_factory=dict)

    def hold(self, name: str, pod: Object, until: float, reason: str) -> None:
        self._held[name] = until, intent(pod), reason

    def left(self, name: str, pod: Object, now: float) -> float:
        """Seconds until the container is tried again; that of a changed pod is tried at once."""
        held = self._held.get(name)
        return 0.0 if held is None or held[1] != intent(pod) else max(0.0, held[0] - now)

    def let_go(self, name: str) -> None:
        self._held.pop(name, None)

    def new_sandbox(self) -> None:
        """What failed in the one before is tried at once."""
        self._held = {name: held for name, held in self._held.items() if held[2] not in ("CreateContainerError", "RunContainerError")}
