"""DeviceTaintRule: a taint that an administrator puts on devices (beta; `pkg/registry/resource/devicetaintrule`)."""
from __future__ import annotations

from kubepy.api import field, name
from kubepy.api.field import Errors, Path
from kubepy.api.resource import DEVICE_TAINT_RULES
from kubepy.api.types import Object
from kubepy.apiserver.registry import check
from kubepy.apiserver.registry.columns import AGE, NAME
from kubepy.apiserver.registry.core.podspec_network_volumes import csi_driver_name
from kubepy.apiserver.registry.kind import STATUS, Kind, Strategy
from kubepy.apiserver.registry.moment import now_text
from kubepy.apiserver.registry.relabel import in_version
from kubepy.apiserver.registry.resource.device_names import pool_name, taint
from kubepy.apiserver.request import Context

_SPEC, _CONDITIONS = Path("spec"), Path("status.conditions")
_MAX_CONDITIONS = 8


class DeviceTaintRuleStrategy(Strategy):
    has_status = True
    tracks_generation = True
    returns_deleted = True

    def fill(self, obj: Object) -> None:
        mark = (obj.get("spec") or {}).get("taint")
        if isinstance(mark, dict) and mark.get("timeAdded") is None:
            mark["timeAdded"] = now_text()

    def prepare_update(self, context: Context, obj: Object, old: Object) -> None:
        """The time is that of the effect: it moves on when the effect changes and the writer says no other one."""
        mark, before = _taint(obj), _taint(old)
        if mark.get("effect") != before.get("effect") and mark.get("timeAdded") == before.get("timeAdded"):
            obj["spec"] = {**obj["spec"], "taint": {**mark, "timeAdded": now_text()}}

    def validate(self, context: Context, obj: Object) -> Errors:
        spec = obj.get("spec") or {}
        selector, path = spec.get("deviceSelector"), _SPEC.child("deviceSelector")
        errors: Errors = []
        if selector is not None:
            if selector.get("driver") is not None:
                errors += csi_driver_name(selector["driver"], path.child("driver"))
            if selector.get("pool") is not None:
                errors += pool_name(selector["pool"], path.child("pool"))
            if selector.get("device") is not None:
                errors += check.named(name.label, selector["device"], path.child("device"))
        return errors + taint(spec.get("taint") or {}, _SPEC.child("taint"))

    def validate_status(self, context: Context, obj: Object, old: Object) -> Errors:
        items = (obj.get("status") or {}).get("conditions") or []
        if len(items) > _MAX_CONDITIONS:
            return [field.too_many(_CONDITIONS, len(items), _MAX_CONDITIONS)]
        return check.conditions(items, _CONDITIONS)


def _taint(obj: Object) -> Object:
    found: Object = (obj.get("spec") or {}).get("taint") or {}
    return found


KIND = Kind(
    DEVICE_TAINT_RULES,
    "devicetaintrule",
    DeviceTaintRuleStrategy(),
    columns=(NAME, AGE),
    subresources=(STATUS,),
)
ALPHA = in_version(KIND, "v1alpha3")
