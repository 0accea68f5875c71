"""POST of a new object."""
from __future__ import annotations

from math import inf

from kubepy.api import name as names
from kubepy.api.errors import AlreadyExists, ApiError, NotFound
from kubepy.api.types import Object
from kubepy.apiserver.aside import aside
from kubepy.apiserver.body import read_object
from kubepy.apiserver.exchange import Exchange
from kubepy.apiserver.registry.kind import Kind
from kubepy.apiserver.representation import answer_written
from kubepy.apiserver.request import Attributes, Context
from kubepy.apiserver.server import Server
from kubepy.apiserver.storage.interface import Entry
from kubepy.apiserver.verbs import lifecycle, manage, option

GENERATE_ATTEMPTS = 8


async def create(server: Server, exchange: Exchange, context: Context) -> None:
    kind, info = context.kind, context.info
    option.apply_write_options(context, "CreateOptions")
    resource = kind.resource
    obj = await read_object(exchange, context, resource.group, resource.version, resource.kind)
    kind.strategy.fill(obj)
    lifecycle.check_namespace(kind, obj, info.namespace if resource.namespaced else "")
    result = await create_object(server, context, obj)
    await answer_written(server, exchange, context, 201, result)


async def create_object(server: Server, context: Context, obj: Object, *, tracked: bool = False) -> Entry | Object:
    """Admission, preparation, validation and storage of a new object; the object itself in a dry run. Raises ApiError."""
    kind = context.kind
    resource = kind.resource
    if obj["metadata"].get("resourceVersion") not in (None, "", "0"):
        raise ApiError("resourceVersion should not be set on objects to be created", reason="")
    now = server.clock.now()
    for field in ("deletionTimestamp", "deletionGracePeriodSeconds", "selfLink"):
        obj["metadata"].pop(field, None)
    if not tracked:
        obj = manage.track(context, obj, None, "", now)
    name = context.info.named = obj["metadata"].get("name") or ""
    namespace = context.info.namespace if resource.namespaced else ""
    attributes = Attributes(context, "CREATE", obj, None, {}, "", namespace, name)
    await server.admission.admit(attributes)
    assert attributes.obj is not None
    obj = attributes.obj
    lifecycle.drop_repeated_owners(context, obj)
    generated = not obj["metadata"].get("name") and bool(obj["metadata"].get("generateName"))
    lifecycle.before_create(context, kind, obj, now)
    reserver = server.reservers.get(resource)
    if reserver is not None:
        reserver.prepare(obj, None)
    await aside(inf if kind.strategy.takes_long(obj) else context.size, lifecycle.validate_create, context, kind, obj)
    for text in kind.strategy.warnings(context, obj, None):
        context.warn(text)
    attributes.name = obj["metadata"]["name"]
    await server.admission.admit_valid(attributes)
    if reserver is None:
        return await _store(server, context, obj, generated)
    reservation = await reserver.reserve(obj, None, keep=not context.dry_run)
    try:
        result = await _store(server, context, obj, generated)
    except BaseException:
        await reservation.undo()
        raise
    await reservation.commit()
    return result


async def _store(server: Server, context: Context, obj: Object, generated: bool) -> Entry | Object:
    kind = context.kind
    namespace = context.info.namespace if kind.resource.namespaced else ""
    store = server.store(kind)
    to_store = kind.conversion.to_stored(obj) if kind.conversion else obj
    attempt = 1
    while True:
        name = obj["metadata"]["name"]
        try:
            if context.dry_run:
                await _must_not_exist(server, kind, namespace, name)
                return obj
            return await store.create(namespace, name, to_store, ttl=_ttl(server, kind))
        except AlreadyExists as error:
            if generated and attempt < GENERATE_ATTEMPTS:
                attempt += 1
                to_store["metadata"]["name"] = obj["metadata"]["name"] = names.generate(obj["metadata"]["generateName"])
                continue
            raise _exists(server, kind, namespace, name, generated, error) from error


def _ttl(server: Server, kind: Kind) -> int | None:
    return int(server.options.event_ttl) if kind.ttl is not None else None


async def _must_not_exist(server: Server, kind: Kind, namespace: str, name: str) -> None:
    try:
        await server.store(kind).get(namespace, name)
    except NotFound:
        return
    raise AlreadyExists.of(kind.resource, name)


def _exists(server: Server, kind: Kind, namespace: str, name: str, generated: bool, error: AlreadyExists) -> AlreadyExists:
    found = AlreadyExists.of(kind.resource, name)
    if generated:
        return AlreadyExists(f"{found.message}, the server was not able to generate a unique name for the object",
                             {**(found.details or {}), "retryAfterSeconds": 1})
    current = server.store(kind).cached(namespace, name)
    if current is not None and current.decode()["metadata"].get("deletionTimestamp"):
        return AlreadyExists(f"object is being deleted: {found.message}", found.details)
    return found


