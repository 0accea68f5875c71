"""The status of a ResourceClaim: the devices allocated, who may use them, what their driver says of them."""
from __future__ import annotations

from kubepy.api import field, name
from kubepy.api.field import Errors, FieldError, Path
from kubepy.api.types import Object
from kubepy.apiserver.registry import check
from kubepy.apiserver.registry.columns import at
from kubepy.apiserver.registry.core.podspec_network_volumes import csi_driver_name
from kubepy.apiserver.registry.core.podspec_scheduling import node_selector
from kubepy.apiserver.registry.resource.claim_spec import device_config, request_names, request_ref, request_refs
from kubepy.apiserver.registry.resource.device_names import binding_conditions, opaque, pool_name, share_id, toleration
from kubepy.apiserver.registry.resource.slice_device import limited

_STATUS = Path("status")
_MAX_RESERVED, _MAX_RESULTS, _MAX_CONFIGS, _MAX_CONDITIONS, _MAX_DATA, _MAX_IPS = 256, 32, 64, 8, 10 * 1024, 16
_TERMINATING = "new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set"


def claim_status(claim: Object, old: Object) -> Errors:
    status, before = claim.get("status") or {}, old.get("status") or {}
    reserved, devices, allocation = status.get("reservedFor") or [], status.get("devices") or [], status.get("allocation")
    path = _STATUS.child("reservedFor")
    errors = limited(reserved, _MAX_RESERVED, path, _consumer)
    if len(reserved) <= _MAX_RESERVED:
        errors += check.unique([consumer.get("uid", "") for consumer in reserved], path)
    held = _held(status)
    for position, device in enumerate(devices):
        errors += _device(device, _STATUS.child("devices").index(position), held)
    errors += _twice(devices, _STATUS.child("devices"))
    if reserved and allocation is None:
        errors.append(field.forbidden(path, "may not be specified when `allocated` is not set"))
    elif at(claim, "metadata.deletionTimestamp") and any(item not in (before.get("reservedFor") or []) for item in reserved):
        errors.append(field.forbidden(path, _TERMINATING))
    if allocation is None:
        return errors
    if before.get("allocation") is not None:
        return errors + check.immutable(allocation, before["allocation"], _STATUS.child("allocation"))
    return errors + _allocation(allocation, _STATUS.child("allocation"), request_names(claim.get("spec") or {}))


def forget_deallocated(claim: Object, old: Object) -> None:
    """What drivers said of devices goes when the devices do."""
    gone = _held(old.get("status") or {}) - _held(claim.get("status") or {})
    status = claim.get("status") or {}
    if gone and status.get("devices"):
        status["devices"] = [device for device in status["devices"] if _identity(device) not in gone]
        if not status["devices"]:
            del status["devices"]


def _identity(device: Object) -> str:
    """As errors show it."""
    share = device.get("shareID")
    return "/".join([device.get("driver", ""), device.get("pool", ""), device.get("device", ""), *([share] if share else [])])


def _held(status: Object) -> set[str]:
    return {_identity(result) for result in at(status, "allocation.devices.results", [])}


def _twice(devices: list[Object], path: Path) -> Errors:
    seen: set[str] = set()
    errors: Errors = []
    for position, device in enumerate(devices):
        if _identity(device) in seen:
            errors.append(FieldError(str(path.index(position)), "FieldValueDuplicate", f"Duplicate value: {_identity(device)}"))
        seen.add(_identity(device))
    return errors


def _consumer(consumer: Object, path: Path) -> Errors:
    return [field.required(path.child(key)) for key in ("resource", "name", "uid") if not consumer.get(key)]


def _place(device: Object, path: Path) -> Errors:
    errors = csi_driver_name(device.get("driver", ""), path.child("driver"))
    errors += pool_name(device.get("pool", ""), path.child("pool"))
    return errors + check.named(name.label, device.get("device", ""), path.child("device"))


def _share(device: Object, path: Path) -> Errors:
    return [] if device.get("shareID") is None else share_id(device["shareID"], path.child("shareID"))


def _device(device: Object, path: Path, held: set[str]) -> Errors:
    errors = _place(device, path) + _share(device, path)
    if _identity(device) not in held:
        why = f"Invalid value: {_identity(device)}: must be an allocated device in the claim"
        errors.append(FieldError(str(path), "FieldValueInvalid", why))
    conditions = device.get("conditions") or []
    if len(conditions) > _MAX_CONDITIONS:
        errors.append(field.too_many(path.child("conditions"), len(conditions), _MAX_CONDITIONS))
    errors += check.conditions(conditions, path.child("conditions"))
    if device.get("data") is not None:
        errors += opaque(device["data"], path.child("data"), _MAX_DATA)
    return errors + _network(device.get("networkData") or {}, path.child("networkData"))


def _network(data: Object, path: Path) -> Errors:
    errors = [field.too_long(path.child(key), limit) for key, limit in (("interfaceName", 256), ("hardwareAddress", 128))
              if len(data.get(key, "").encode()) > limit]
    addresses = data.get("ips") or []
    if len(addresses) > _MAX_IPS:
        return [*errors, field.too_many(path.child("ips"), len(addresses), _MAX_IPS)]
    for position, address in enumerate(addresses):
        errors += check.named(name.interface_address, address, path.child("ips").index(position))
    return errors + check.unique(addresses, path.child("ips"))


def _allocation(allocation: Object, path: Path, known: set[str]) -> Errors:
    devices = allocation.get("devices") or {}

    def result(item: Object, here: Path) -> Errors:
        errors = request_ref(item.get("request", ""), known, here.child("request"))
        errors += _place(item, here) + binding_conditions(item, here)
        for position, tolerated in enumerate(item.get("tolerations") or ()):
            errors += toleration(tolerated, here.child("tolerations").index(position))
        return errors + _share(item, here)

    def config(item: Object, here: Path) -> Errors:
        errors = check.need_one_of(item.get("source", ""), here.child("source"), ("FromClaim", "FromClass"))
        errors += request_refs(item.get("requests") or [], known, here.child("requests"))
        return errors + device_config(item, here)

    errors = limited(devices.get("results") or [], _MAX_RESULTS, path.child("devices", "results"), result)
    errors += limited(devices.get("config") or [], _MAX_CONFIGS, path.child("devices", "config"), config)
    if allocation.get("nodeSelector") is not None:
        errors += node_selector(allocation["nodeSelector"], path.child("nodeSelector"))
    return errors
