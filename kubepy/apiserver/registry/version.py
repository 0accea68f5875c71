"""Built-in kinds that are served in several versions: the stored one first, then those converted from it."""
from __future__ import annotations

from collections.abc import Callable

import orjson

from kubepy.api.types import Object
from kubepy.apiserver.registry.autoscaling import horizontalpodautoscaler, horizontalpodautoscaler_v1
from kubepy.apiserver.registry.certificates import clustertrustbundle
from kubepy.apiserver.registry.core import event as core_event
from kubepy.apiserver.registry.events import event
from kubepy.apiserver.registry.kind import Kind
from kubepy.apiserver.registry.resource import devicetaintrule

_FAMILIES = ((horizontalpodautoscaler.KIND, horizontalpodautoscaler_v1.KIND), (core_event.KIND, event.KIND),
             (clustertrustbundle.KIND, clustertrustbundle.ALPHA), (devicetaintrule.KIND, devicetaintrule.ALPHA))


def other_versions(kind: Kind) -> list[tuple[Kind, Callable[[Object], Object]]]:
    """The kind's other versions and how to see an object in them; the object itself is not changed."""
    family = next((family for family in _FAMILIES if kind in family), ())
    return [(other, _converter(kind, other)) for other in family if other is not kind]


def _converter(kind: Kind, other: Kind) -> Callable[[Object], Object]:
    def convert(obj: Object) -> Object:
        seen: Object = orjson.loads(orjson.dumps(obj))
        if kind.conversion is not None:
            seen = kind.conversion.to_stored(seen)
        return other.conversion.from_stored(seen) if other.conversion is not None else seen
    return convert
