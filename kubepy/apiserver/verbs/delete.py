"""DELETE of one object and of a collection."""
from __future__ import annotations

import asyncio
from typing import Any

import orjson

from kubepy.api.errors import BadRequest, Conflict, Forbidden, NotFound
from kubepy.api.types import Object
from kubepy.api.yaml import YamlProblem, parse_yaml
from kubepy.apiserver import media
from kubepy.apiserver.body import json_of
from kubepy.apiserver.exchange import Exchange
from kubepy.apiserver.registry.kind import Kind
from kubepy.apiserver.representation import answer_list, answer_written
from kubepy.apiserver.request import Attributes, Context, RequestInfo
from kubepy.apiserver.server import Server
from kubepy.apiserver.storage.interface import Entry
from kubepy.apiserver.verbs import lifecycle, option
from kubepy.apiserver.verbs.select import list_page

COLLECTION_WORKERS = 8
JOB_WARNING = ("child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them or set "
               "propagationPolicy=Orphan to suppress this warning")
_SCHEME = '"k8s.io/apimachinery/pkg/apis/meta/internalversion/scheme/register.go:27"'
_FIELDS: dict[str, tuple[type | tuple[type, ...], str]] = {
    "gracePeriodSeconds": (int, "int64"), "orphanDependents": (bool, "bool"), "propagationPolicy": (str, "v1.DeletionPropagation"),
    "dryRun": (list, "[]string"), "preconditions": (dict, "v1.Preconditions"),
}


async def read_options(exchange: Exchange, context: Context) -> Object:
    """DeleteOptions of the request; raises BadRequest or Invalid."""
    data = await exchange.body()
    if not data.strip():
        return option.delete_options(context, None)
    kind = media.body_type(exchange.header(b"content-type"))
    if kind == media.PROTOBUF:
        data = json_of(data, "DeleteOptions")
    try:
        body: Any = (await asyncio.to_thread(parse_yaml, data))[0] if kind == media.YAML else orjson.loads(data)
    except (orjson.JSONDecodeError, YamlProblem) as error:
        raise BadRequest(f"couldn't get version/kind; json parse error: {_json_error(data)}") from error
    if body is None:
        body = {}
    if not isinstance(body, dict):
        raise BadRequest("couldn't get version/kind; json parse error: json: cannot unmarshal array into Go value")
    found = body.get("kind") or "DeleteOptions"
    if found != "DeleteOptions":
        version = str(body.get("apiVersion") or "v1")
        raise BadRequest(f'no kind "{found}" is registered for version "{version}" in scheme {_SCHEME}')
    for name, (type_, go) in _FIELDS.items():
        value = body.get(name)
        if value is not None and (not isinstance(value, type_) or (type_ is int and isinstance(value, bool))):
            raise BadRequest(f"json: cannot unmarshal {_go_kind(value)} into Go struct field DeleteOptions.{name} of type {go}")
    return option.delete_options(context, body)


def _go_kind(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, str):
        return "string"
    if isinstance(value, (int, float)):
        return "number"
    return "array" if isinstance(value, list) else "object"


def _json_error(data: bytes) -> str:
    text = data.strip()
    if text[:1] == b"{" and text[1:2] not in (b'"', b"}", b""):
        return f"invalid character '{chr(text[1])}' looking for beginning of object key string"
    if text[:1] not in (b"{", b"["):
        return f"invalid character '{chr(text[0])}' looking for beginning of value"
    return "unexpected end of JSON input"


async def delete(server: Server, exchange: Exchange, context: Context) -> None:
    kind = context.kind
    options = await read_options(exchange, context)
    if (kind.resource.group, kind.resource.plural) == ("batch", "jobs") and \
            options.get("propagationPolicy") is None and options.get("orphanDependents") is None:
        context.warn(JOB_WARNING)
    result, removed = await delete_object(server, context, context.info.name, options)
    if removed and not kind.strategy.returns_deleted:
        chosen = media.negotiate(exchange.header(b"accept"))
        await exchange.answer_object(200, success(kind, result), media.Media(chosen.type, "", "", chosen.pretty))
        return
    accepted = not removed and options.get("orphanDependents") is False
    await answer_written(server, exchange, context, 202 if accepted else 200, result)


def success(kind: Kind, obj: Entry | Object) -> Object:
    """The Status that answers a deletion."""
    name, uid = (obj["metadata"]["name"], obj["metadata"].get("uid", "")) if isinstance(obj, dict) else (obj.name, obj.uid)
    details: Object = {"name": name}
    if kind.resource.group:
        details["group"] = kind.resource.group
    details["kind"] = kind.resource.plural
    details["uid"] = uid
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}


class _Now(Exception):
    """The plan is to remove the object, not to write it."""

    def __init__(self, entry: Entry, obj: Object | None) -> None:
        super().__init__()
        self.entry = entry
        self.obj = obj


class _Keep(Exception):
    def __init__(self, entry: Entry) -> None:
        super().__init__()
        self.entry = entry


async def delete_object(server: Server, context: Context, name: str, options: Object, *,
                        admit: bool = True) -> tuple[Entry | Object, bool]:
    """Deletes or marks; answers the object's last state, and whether it is gone. Raises NotFound, Conflict."""
    kind, info = context.kind, context.info
    namespace = info.namespace if kind.resource.namespaced else ""
    store = server.store(kind)
    if admit:
        await store.get(namespace, name)
        attributes = Attributes(context, "DELETE", None, None, options, info.subresource, namespace, name)
        current = store.cached(namespace, name)
        if current is not None:
            attributes.old = _served(kind, current)
            if why := kind.strategy.deletion_refused(attributes.old):
                raise Forbidden.of(kind.resource, name, why)
        await server.admission.admit(attributes)
        await server.admission.admit_valid(attributes)
    now = server.clock.now()
    state = _State()

    async def change(entry: Entry) -> Object:
        old = _served(kind, entry)
        plan = lifecycle.plan_delete(context, kind, old, options, now)
        if plan.action == "remove":
            at_once = context.dry_run or not lifecycle.is_graceful(kind.strategy)
            if plan.obj is None or at_once or plan.obj["metadata"] == old["metadata"]:
                raise _Now(entry, plan.obj)
            state.marked = True  # watchers see the shortened grace period before the object goes
            return plan.obj
        if plan.action == "keep" or plan.obj is None or plan.obj["metadata"] == old["metadata"]:
            raise _Keep(entry)
        return kind.conversion.to_stored(plan.obj) if kind.conversion else plan.obj

    while True:
        try:
            if context.dry_run:
                obj = await change(await store.get(namespace, name))
                return obj, False
            state.marked = False
            entry, _ = await store.update(namespace, name, change)
            if not state.marked:
                return entry, False
            raise _Now(entry, None)
        except _Keep as keep:
            return keep.entry, False
        except _Now as now_plan:
            if context.dry_run:
                return now_plan.obj or now_plan.entry, True
            seen = now_plan.entry

            def unchanged(entry: Entry, seen: Entry = seen) -> None:
                if entry.revision != seen.revision:
                    raise _Changed

            try:
                gone = await store.delete(namespace, name, unchanged)
            except _Changed:
                continue
            await server.deleted(kind.resource, now_plan.obj or _served(kind, gone))
            if now_plan.obj is None:
                return gone, True
            now_plan.obj["metadata"]["resourceVersion"] = str(gone.revision)
            return now_plan.obj, True


class _State:
    __slots__ = ("marked",)

    def __init__(self) -> None:
        self.marked = False


class _Changed(Exception):
    """Another writer came in between: the plan is made again."""


def _served(kind: Kind, entry: Entry) -> Object:
    obj = entry.decode()
    return kind.conversion.from_stored(obj) if kind.conversion else obj


async def delete_collection(server: Server, exchange: Exchange, context: Context) -> None:
    """Deletes what a list with the same options shows; those that vanish meanwhile do not matter."""
    kind, info = context.kind, context.info
    options = await read_options(exchange, context)
    page = await list_page(server, context)
    namespace = info.namespace if kind.resource.namespaced else ""
    if options.get("preconditions", {}).get("uid") is not None:
        options = {**options, "preconditions": {}}
    queue = list(reversed(page.entries))

    async def worker() -> None:
        while queue:
            entry = queue.pop()
            own = Context(context.user, RequestInfo(info.path, info.verb, True, info.group, info.version, info.resource, "",
                                                    entry.namespace or namespace, entry.name), kind, context.query, context.user_agent,
                          context.dry_run, context.field_manager)
            try:
                await delete_object(server, own, entry.name, options)
            except (NotFound, Conflict) as error:
                if isinstance(error, Conflict):
                    raise

    await asyncio.gather(*(worker() for _ in range(min(COLLECTION_WORKERS, len(queue)))))
    await answer_list(server, exchange, context, page)
