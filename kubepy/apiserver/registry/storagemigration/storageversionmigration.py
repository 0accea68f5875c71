"""StorageVersionMigration: the wish that all objects of a resource be written again, in the version they are stored in now (beta).

Follows `pkg/registry/storagemigration` and `pkg/apis/storagemigration/validation`.
"""
from __future__ import annotations

from kubepy.api import field
from kubepy.api.field import Errors, Path
from kubepy.api.resource import STORAGE_VERSION_MIGRATIONS
from kubepy.api.types import Object
from kubepy.apiserver.registry import check
from kubepy.apiserver.registry.columns import AGE, NAME
from kubepy.apiserver.registry.kind import STATUS, Kind, Strategy
from kubepy.apiserver.request import Context

_STATUS = Path("status")
_CONDITIONS = _STATUS.child("conditions")


class StorageVersionMigrationStrategy(Strategy):
    has_status = True
    allow_unconditional_update = False

    def validate(self, context: Context, obj: Object) -> Errors:
        return check.need(_resource(obj).get("resource"), Path("spec.resource.resource"), "resource is required")

    def validate_update(self, context: Context, obj: Object, old: Object) -> Errors:
        new, before = _resource(obj), _resource(old)
        errors = self.validate(context, obj)
        for key in ("group", "resource"):
            errors += check.immutable(new.get(key, ""), before.get(key, ""), Path(key))
        return errors

    def validate_status(self, context: Context, obj: Object, old: Object) -> Errors:
        status, before = obj.get("status") or {}, old.get("status") or {}
        version = status.get("resourceVersion", "")
        errors = _version_problems(version)
        errors += check.conditions(status.get("conditions") or [], _CONDITIONS)
        if before.get("resourceVersion") and before["resourceVersion"] != version:
            errors.append(field.invalid(_STATUS.child("resourceVersion"), version, "cannot be updated"))
        return errors + _phase_problems(status, before)


def _resource(obj: Object) -> Object:
    found: Object = (obj.get("spec") or {}).get("resource") or {}
    return found


def _version_problems(version: str) -> Errors:
    path = _STATUS.child("resourceVersion")
    if not version or (version.isascii() and version.isdigit()):
        return []
    number = version.removeprefix("-")
    if number.isascii() and number.isdigit():
        return check.non_negative(int(version), path)
    return [field.invalid(path, version, f'failed to parse resource version "{version}": strconv.ParseInt: parsing "{version}": '
                                         "invalid syntax")]


def _phase_problems(status: Object, before: Object) -> Errors:
    """A migration ends once, and is not running then."""
    conditions = status.get("conditions") or []
    succeeded, failed, running = (_is(status, kind) for kind in ("Succeeded", "Failed", "Running"))
    messages = []
    if succeeded and failed:
        messages.append("Both success and failed conditions cannot be true at the same time")
    if succeeded and running:
        messages.append("Running condition cannot be true when success condition is true")
    if failed and running:
        messages.append("Running condition cannot be true when failed condition is true")
    if _is(before, "Succeeded") and not succeeded:
        messages.append("Success condition cannot be set to false once it is true")
    if _is(before, "Failed") and not failed:
        messages.append("Failed condition cannot be set to false once it is true")
    return [field.invalid(_CONDITIONS, conditions, message) for message in messages]


def _is(status: Object, kind: str) -> bool:
    return any(item.get("type") == kind and item.get("status") == "True" for item in status.get("conditions") or ())


KIND = Kind(
    STORAGE_VERSION_MIGRATIONS,
    "storageversionmigration",
    StorageVersionMigrationStrategy(),
    columns=(NAME, AGE),
    subresources=(STATUS,),
)
