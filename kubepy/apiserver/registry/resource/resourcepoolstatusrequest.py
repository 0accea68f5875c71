"""ResourcePoolStatusRequest: asks once how many devices a driver's pools have, and how many of them are free (alpha).

Follows `pkg/registry/resource/resourcepoolstatusrequest`: the question never changes, the answer is given once.
"""
from __future__ import annotations

from kubepy.api import field, name
from kubepy.api.field import Errors, Path
from kubepy.api.resource import RESOURCE_POOL_STATUS_REQUESTS
from kubepy.api.types import Object
from kubepy.apiserver.registry import check
from kubepy.apiserver.registry.columns import AGE, NAME
from kubepy.apiserver.registry.core.podspec_network_volumes import csi_driver_name
from kubepy.apiserver.registry.kind import STATUS, Kind, Strategy
from kubepy.apiserver.registry.resource.device_names import pool_name
from kubepy.apiserver.request import Context

_SPEC, _STATUS = Path("spec"), Path("status")
_DEFAULT_LIMIT, _MAX_LIMIT, _MAX_CONDITIONS, _MAX_ERROR = 100, 1000, 10, 256
_COUNTS = ("resourceSliceCount", "totalDevices", "allocatedDevices", "availableDevices", "unavailableDevices")


class ResourcePoolStatusRequestStrategy(Strategy):
    has_status = True
    returns_deleted = True

    def fill(self, obj: Object) -> None:
        spec = obj.get("spec")
        if isinstance(spec, dict) and spec.get("limit") is None:
            spec["limit"] = _DEFAULT_LIMIT

    def validate(self, context: Context, obj: Object) -> Errors:
        spec = obj.get("spec") or {}
        errors = csi_driver_name(spec.get("driver", ""), _SPEC.child("driver"))
        if spec.get("poolName") is not None:
            errors += pool_name(spec["poolName"], _SPEC.child("poolName"))
        limit = spec.get("limit")
        if limit is not None and limit < 1:
            errors.append(field.invalid(_SPEC.child("limit"), limit, "must be greater than or equal to 1"))
        if limit is not None and limit > _MAX_LIMIT:
            errors.append(field.invalid(_SPEC.child("limit"), limit, f"must be less than or equal to {_MAX_LIMIT}"))
        return errors

    def validate_update(self, context: Context, obj: Object, old: Object) -> Errors:
        return check.immutable(obj.get("spec"), old.get("spec"), _SPEC)

    def validate_status(self, context: Context, obj: Object, old: Object) -> Errors:
        status, before = obj.get("status"), old.get("status")
        if before is not None:
            return check.immutable(status, before, _STATUS)
        return _status_problems(status) if status is not None else []


def _status_problems(status: Object) -> Errors:
    if status.get("poolCount") is None:
        return [field.required(_STATUS.child("poolCount"))]
    errors = check.non_negative(status["poolCount"], _STATUS.child("poolCount"))
    pools, conditions = status.get("pools") or [], status.get("conditions") or []
    if len(pools) > _MAX_LIMIT:
        errors.append(field.too_many(_STATUS.child("pools"), len(pools), _MAX_LIMIT))
    else:
        errors += [error for position, pool in enumerate(pools)
                   for error in _pool_problems(pool, _STATUS.child("pools").index(position))]
    if len(conditions) > _MAX_CONDITIONS:
        errors.append(field.too_many(_STATUS.child("conditions"), len(conditions), _MAX_CONDITIONS))
    return errors + check.conditions(conditions, _STATUS.child("conditions"))


def _pool_problems(pool: Object, path: Path) -> Errors:
    errors = csi_driver_name(pool.get("driver", ""), path.child("driver")) + pool_name(pool.get("poolName", ""), path.child("poolName"))
    if pool.get("nodeName") is not None:
        errors += check.named(name.subdomain, pool["nodeName"], path.child("nodeName"))
    errors += check.non_negative(pool.get("generation"), path.child("generation"))
    errors += check.counts(pool, path, *_COUNTS)
    if len(pool.get("validationError", "").encode()) > _MAX_ERROR:
        errors.append(field.too_long(path.child("validationError"), _MAX_ERROR))
    return errors


KIND = Kind(
    RESOURCE_POOL_STATUS_REQUESTS,
    "resourcepoolstatusrequest",
    ResourcePoolStatusRequestStrategy(),
    columns=(NAME, AGE),
    subresources=(STATUS,),
)
