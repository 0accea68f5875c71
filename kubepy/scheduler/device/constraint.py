"""What devices of a claim must have in common (matchAttribute) or must not (distinctAttribute)."""
from __future__ import annotations

from collections.abc import Sequence

from kubepy.api.types import Object
from kubepy.scheduler.device.pool import Device


class Constraint:
    """Of one claim, while devices are tried: `add` refuses one that breaks it. A list attribute matches where any value does."""

    def __init__(self, spec: Object) -> None:
        self._requests = tuple(spec.get("requests") or ())
        self._match: str | None = spec.get("matchAttribute")
        self._attribute: str = spec.get("matchAttribute") or spec.get("distinctAttribute") or ""
        self._common: list[frozenset[object]] = []
        """matchAttribute: after each device what all so far share; distinctAttribute: each device's values."""

    def concerns(self, path: str) -> bool:
        """Whether a request (or `request/subrequest`) is under it."""
        return not self._requests or path in self._requests or path.partition("/")[0] in self._requests

    def add(self, device: Device) -> bool:
        values = device.attribute(self._attribute)
        if values is None:
            return False
        if self._match is None:
            if any(values & other for other in self._common):
                return False
            self._common.append(values)
            return True
        shared = values & self._common[-1] if self._common else values
        if not shared:
            return False
        self._common.append(shared)
        return True

    def remove(self, device: Device) -> None:
        """Takes the device back that was added last."""
        self._common.pop()


def make_constraints(specs: Sequence[Object]) -> list[Constraint]:
    return [Constraint(spec) for spec in specs]
