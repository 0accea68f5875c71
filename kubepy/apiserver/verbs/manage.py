"""Field ownership (`metadata.managedFields`) on writes: the seam to `kubepy.api.apply`."""
from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from kubepy.api.apply import FieldManager, Shape, Shapes, Version
from kubepy.api.errors import ApiError
from kubepy.api.resource import Resource
from kubepy.api.schema.decode import DecodeError, decode
from kubepy.api.schema.definitions import Definitions, kinds
from kubepy.api.schema.shape import of_kind
from kubepy.api.structural import CoerceError
from kubepy.api.types import Object
from kubepy.apiserver.crd.decode import decode_patched
from kubepy.apiserver.crd.kind import CustomKind, custom_of, custom_shape
from kubepy.apiserver.crd.view import View
from kubepy.apiserver.registry.kind import Kind, keep_metadata
from kubepy.apiserver.registry.version import other_versions
from kubepy.apiserver.request import Context
from kubepy.apiserver.services import Services
from kubepy.apiserver.verbs.lifecycle import keep_all_but_status
from kubepy.apiserver.zero import zero, zero_of
from kubepy.base.clock import format_time
from kubepy.base.log import get_logger

log = get_logger("ownership")

_UNTYPED = Shape("deduced")


def manager_of(context: Context) -> str:
    """The name a writer is recorded under: what it says, or the first part of its user agent."""
    return context.field_manager or context.user_agent.partition("/")[0][:128] or "unknown"


def _definition(resource: Resource) -> str | None:
    """The definition of a resource's kind, or None for one that is not built in."""
    return kinds().get((resource.group, resource.version, resource.kind))


@lru_cache(maxsize=1)
def _shapes() -> Shapes:
    return Shapes(Definitions())


_managers: dict[tuple[str, str, str, str], FieldManager] = {}


def field_manager(kind: Kind, subresource: str) -> FieldManager:
    resource = kind.resource
    if (custom := custom_of(kind)) is not None:
        return _custom_manager(custom, subresource)
    key = (resource.group, resource.version, resource.kind, subresource)
    found = _managers.get(key)
    if found is None:
        name = _definition(resource)
        shape = _shapes().named(name) if name else _UNTYPED
        reset: Object = {}
        if kind.strategy.has_status:
            reset = {"f:spec": {}} if subresource in ("status", "approval") else {"f:status": {}}
        if kind.strategy.status_keeps_metadata and subresource == "status":
            reset["f:metadata"] = {}
        elif kind.strategy.status_keeps and subresource == "status":
            reset["f:metadata"] = {f"f:{name}": {} for name in kind.strategy.status_keeps}
        if kind.strategy.resets_spec:
            reset["f:spec"] = {}
        found = _managers[key] = FieldManager(shape, resource.api_version, subresource=subresource, reset=reset,
                                             versions=_other_versions(kind))
    return found


def _other_versions(kind: Kind) -> dict[str, Version]:
    found: dict[str, Version] = {}
    for other, convert in other_versions(kind):
        if (name := _definition(other.resource)) is not None:
            found[other.resource.api_version] = Version(_shapes().named(name), convert)
    return found


def _custom_manager(kind: CustomKind, subresource: str) -> FieldManager:
    """Kept with the version's schema, so that it goes with it."""
    compiled = kind.compiled
    assert compiled is not None
    key = (subresource, kind.strategy.has_status)
    found = compiled.managers.get(key)
    if found is None:
        reset: Object = {}
        if kind.strategy.has_status:
            reset = {"f:spec": {}, "f:metadata": {}} if subresource == "status" else {"f:status": {}}
        shape = _shapes().of(custom_shape(compiled.schema))
        found = compiled.managers[key] = FieldManager(shape, kind.resource.api_version, subresource=subresource, reset=reset)
    return found


async def elsewhere(context: Context, obj: Object, old: Object) -> Mapping[str, Version]:
    """Both objects in the other versions of a custom kind in which someone owns fields."""
    view = context.kind.view if isinstance(context.kind, CustomKind) else None
    if not isinstance(view, View):
        return {}
    found: dict[str, Version] = {}
    pair = [{**one, "metadata": {key: value for key, value in one["metadata"].items() if key != "managedFields"}} for one in (old, obj)]
    for api_version in {entry.get("apiVersion") for entry in old["metadata"].get("managedFields") or ()}:
        if api_version == context.kind.resource.api_version or (compiled := view.versions.get(api_version)) is None:
            continue
        try:
            before, after = await view.converted(pair, api_version)
        except ApiError as error:
            log.warning("Ownership in another version is left as it is", version=api_version, err=error.message)
            continue
        found[api_version] = Version(_shapes().of(custom_shape(compiled.schema)), dict, (before, after))
    return found


def shape_of(services: Services, kind: tuple[str, str, str]) -> Shape:
    """How values of a kind (group, version, kind) are merged."""
    found = services.kinds.by_kind.get(kind) if services.kinds is not None else None
    if found is not None and (custom := custom_of(found)) is not None and custom.compiled is not None:
        return _shapes().of(custom_shape(custom.compiled.schema))
    name = kinds().get(kind)
    return _shapes().named(name) if name else _UNTYPED


def track(context: Context, obj: Object, old: Object | None, subresource: str, now: float,
          versions: Mapping[str, Version] | None = None) -> Object:
    """The object with the writer's ownership recorded."""
    live = old if old is not None else zero(context.kind)
    strategy = context.kind.strategy
    own_status = subresource == "status" and strategy.has_status and custom_of(context.kind) is None
    if old is not None and own_status:  # what stays as it is stays its owner's
        keep_all_but_status(obj, old)
        if strategy.status_keeps_metadata:
            keep_metadata(obj, old)
    field_manager(context.kind, subresource).update(live, obj, manager_of(context), format_time(now), versions)
    return without_times(obj) if subresource == "scale" else obj


def without_times(obj: Object) -> Object:
    """Upstream records writes through `scale` without a time."""
    for entry in obj["metadata"].get("managedFields") or ():
        if entry.get("subresource") == "scale":
            entry.pop("time", None)
    return obj


def disown(context: Context, obj: Object) -> Object:
    """Drops what the writer owns through this subresource."""
    entries = obj["metadata"].get("managedFields") or []
    manager, subresource = manager_of(context), context.info.subresource
    kept = [entry for entry in entries if (entry.get("manager"), entry.get("operation"), entry.get("subresource"))
            != (manager, "Update", subresource)]
    if kept:
        obj["metadata"]["managedFields"] = kept
    else:
        obj["metadata"].pop("managedFields", None)
    return obj


def complete(context: Context, obj: Object) -> Object:
    """An applied object in normal form with its defaults; raises ApiError for what does not fit the type."""
    resource = context.kind.resource
    if (custom := custom_of(context.kind)) is not None:
        return _complete_custom(context, custom, obj)
    shape = of_kind(resource.group, resource.version, resource.kind)
    if shape is None:
        return obj
    managed = obj["metadata"].get("managedFields")
    try:
        found, warnings = decode(shape, obj, validation=context.field_validation)
    except DecodeError as error:
        raise ApiError(str(error), reason="") from error
    for text in warnings:
        context.warn(text)
    found["apiVersion"], found["kind"] = resource.api_version, resource.kind
    if managed:
        found["metadata"]["managedFields"] = managed
    context.kind.strategy.fill(found)
    return found


def _complete_custom(context: Context, kind: CustomKind, obj: Object) -> Object:
    try:
        return decode_patched(context, kind, obj)
    except (CoerceError, DecodeError) as error:
        raise ApiError(str(error), reason="") from error


def track_body(context: Context, resource: Resource, obj: Object, subresource: str, now: float) -> None:
    """Records the writer in an object that is only sent, not stored: the body of a subresource of another kind (TokenRequest)."""
    name = _definition(resource)
    manager = FieldManager(_shapes().named(name) if name else _UNTYPED, resource.api_version, subresource=subresource)
    given = {**obj, "spec": {key: value for key, value in (obj.get("spec") or {}).items() if value is not None}}
    manager.update(zero_of(resource.api_version, resource.kind), given, manager_of(context), format_time(now))
    obj["metadata"] = given["metadata"]


def apply(context: Context, live: Object, config: Object, force: bool, now: float) -> Object:
    """Server-side apply of `config` on `live`; raises ApiError."""
    return field_manager(context.kind, context.info.subresource).apply(live, config, context.field_manager, force=force,
                                                                       now=format_time(now))
