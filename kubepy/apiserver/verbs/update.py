"""PUT: the whole object replaced; and the guaranteed update that PUT, PATCH and subresources share."""
from __future__ import annotations

from collections.abc import Awaitable, Callable
from math import inf

from kubepy.api.codec import with_raw
from kubepy.api.errors import BadRequest, Conflict, NotFound
from kubepy.api.types import Object
from kubepy.apiserver.aside import aside
from kubepy.apiserver.authz.interface import Access
from kubepy.apiserver.authz.message import forbidden
from kubepy.apiserver.body import read_object
from kubepy.apiserver.exchange import Exchange
from kubepy.apiserver.registry.kind import Kind
from kubepy.apiserver.representation import answer_written
from kubepy.apiserver.request import Attributes, Context, RequestInfo
from kubepy.apiserver.server import Reservation, Server
from kubepy.apiserver.storage.interface import Entry
from kubepy.apiserver.verbs import lifecycle, manage, option
from kubepy.apiserver.verbs.create import create_object

Transform = Callable[[Object], Awaitable[Object]]
"""The new object from the current one; may be called again. Must not change its argument."""


class _Removed(Exception):
    """The update took away the last finalizer: the object goes instead of being written."""

    def __init__(self, obj: Object) -> None:
        super().__init__()
        self.obj = obj


async def update(server: Server, exchange: Exchange, context: Context) -> None:
    option.apply_write_options(context, "UpdateOptions")
    kind, info = context.kind, context.info
    resource = kind.resource
    sent = await read_object(exchange, context, resource.group, resource.version, resource.kind)
    check_name(sent, info.name)
    lifecycle.check_namespace(kind, sent, info.namespace if resource.namespaced else "")
    kind.strategy.fill(sent)

    async def replace(old: Object) -> Object:
        return {**sent, "metadata": dict(sent["metadata"])}

    created = False
    try:
        result = await guaranteed_update(server, context, replace)
    except NotFound:
        if not kind.strategy.allow_create_on_update or info.subresource:
            raise
        await may_create(server, context)
        context.info = as_create(info)
        result, created = await create_object(server, context, sent), True
    await answer_written(server, exchange, context, 201 if created else 200, result)


def check_name(obj: Object, name: str) -> None:
    own = obj["metadata"].get("name") or ""
    if not own:
        raise BadRequest("the name of the object (" + name + " based on URL) was undeterminable: name must be provided")
    if own != name:
        raise BadRequest(f"the name of the object ({own}) does not match the name on the URL ({name})")


def as_create(info: RequestInfo) -> RequestInfo:
    return RequestInfo(info.path, "create", True, info.group, info.version, info.resource, info.subresource, info.namespace, info.name,
                       info.parts)


async def may_create(server: Server, context: Context) -> None:
    """PUT of a new name needs the permission to create, too."""
    access = Access.of(context.user, as_create(context.info))
    decision = await server.authorizer.authorize(access)
    if not decision.allowed:
        raise forbidden(access, decision.reason)


async def guaranteed_update(server: Server, context: Context, transform: Transform, *, unconditional: bool | None = None,
                            validate: bool = True, tracked: bool = False, patching: bool = False) -> Entry | Object:
    """Reads, transforms, admits, prepares, validates and stores until no other writer came in between.

    Answers the entry; in a dry run, or when the update removed the object, its last state. Raises ApiError."""
    kind, info = context.kind, context.info
    subresource = info.subresource
    namespace = info.namespace if kind.resource.namespaced else ""
    store = server.store(kind)
    if unconditional is None:
        unconditional = kind.strategy.allow_unconditional_update
    now = server.clock.now()

    reserver = server.reservers.get(kind.resource) if not subresource else None
    held = _Held()

    async def change(entry: Entry) -> Object:
        old = entry.decode()
        if kind.conversion:
            old = kind.conversion.from_stored(old)
        obj = await transform(old)
        if kind.raw_member:
            old = with_raw(old, kind.raw_member, entry.raw)
        if not patching:
            check_uid(kind, obj, old, namespace, info.name)
        lifecycle.check_version(kind, obj, old, unconditional=unconditional)
        if not tracked:
            obj = manage.track(context, obj, old, subresource, now, await manage.elsewhere(context, obj, old))
        attributes = Attributes(context, "UPDATE", obj, old, {}, subresource, namespace, info.name)
        await server.admission.admit(attributes)
        assert attributes.obj is not None
        obj = attributes.obj
        lifecycle.drop_repeated_owners(context, obj)
        lifecycle.before_update(context, kind, obj, old, subresource)
        if reserver is not None:
            reserver.prepare(obj, old)
        if validate:
            size = inf if kind.strategy.takes_long(obj) else context.size
            await aside(size, lifecycle.validate_update, context, kind, obj, old, subresource)
        for text in kind.strategy.warnings(context, obj, old):
            context.warn(text)
        await server.admission.admit_valid(attributes)
        if lifecycle.goes_with_update(obj, old):
            raise _Removed(obj)
        if reserver is not None:
            await held.undo()
            held.current = await reserver.reserve(obj, old, keep=not context.dry_run)
        return kind.conversion.to_stored(obj) if kind.conversion else obj

    try:
        if context.dry_run:
            current = await store.get(namespace, info.name)
            obj = await change(current)
            return kind.conversion.from_stored(obj) if kind.conversion else obj
        entry, _ = await store.update(namespace, info.name, change, ttl=int(server.options.event_ttl) if kind.ttl is not None else None)
        await held.commit()
        return entry
    except _Removed as removed:
        if context.dry_run:
            return removed.obj
        version = removed.obj["metadata"]["resourceVersion"]

        def unchanged(entry: Entry) -> None:
            if str(entry.revision) != version:
                raise Conflict.of(kind.resource, info.name, lifecycle.MODIFIED)

        gone = await store.delete(namespace, info.name, unchanged)
        await server.deleted(kind.resource, removed.obj)
        removed.obj["metadata"]["resourceVersion"] = str(gone.revision)
        return removed.obj
    except BaseException:
        await held.undo()
        raise


class _Held:
    """What the latest attempt of an update has reserved."""

    def __init__(self) -> None:
        self.current: Reservation | None = None

    async def undo(self) -> None:
        if self.current is not None:
            await self.current.undo()
            self.current = None

    async def commit(self) -> None:
        if self.current is not None:
            await self.current.commit()
            self.current = None


def check_uid(kind: Kind, obj: Object, old: Object, namespace: str, name: str) -> None:
    """An update that names another object's UID; raises Conflict."""
    uid, current = obj["metadata"].get("uid"), old["metadata"].get("uid")
    if uid and uid != current:
        key = "/".join(("/registry", kind.resource.plural, *((namespace,) if namespace else ()), name))
        raise Conflict.of(kind.resource, name,
                          f"StorageError: invalid object, Code: 4, Key: {key}, ResourceVersion: 0, AdditionalErrorMsg: "
                          f"Precondition failed: UID in precondition: {uid}, UID in object meta: {current}")
