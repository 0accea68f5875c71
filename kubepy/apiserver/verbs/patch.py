"""PATCH: JSON patch, JSON merge patch, strategic merge patch and server-side apply."""
from __future__ import annotations

from kubepy.api.errors import BadRequest, NotFound
from kubepy.api.types import Object
from kubepy.apiserver import media
from kubepy.apiserver.body import decode_patched
from kubepy.apiserver.exchange import Exchange
from kubepy.apiserver.representation import answer_written
from kubepy.apiserver.request import Context
from kubepy.apiserver.server import Server
from kubepy.apiserver.verbs import option
from kubepy.apiserver.verbs.patching import APPLY_TYPES, Patch, read_patch
from kubepy.apiserver.verbs.update import guaranteed_update

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
TYPES = (JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH, *APPLY_TYPES)


async def patch(server: Server, exchange: Exchange, context: Context) -> None:
    kind_of_patch = exchange.header(b"content-type").partition(";")[0].strip()
    if kind_of_patch not in TYPES:
        raise media.unsupported(TYPES)
    data = await exchange.body()
    force = option.apply_write_options(context, "PatchOptions", kind_of_patch)
    wanted: Patch = read_patch(context, kind_of_patch, data, force)

    async def transform(old: Object) -> Object:
        patched = wanted.apply(old, server.clock.now())
        if wanted.tracks:
            return patched
        obj = decode_patched(context, context.kind, patched)
        context.kind.strategy.fill(obj)
        check_identity(obj, old)
        return obj

    def check_identity(obj: Object, old: Object) -> None:
        name = obj["metadata"].get("name")
        if name != context.info.name:
            raise BadRequest(f"the name of the object ({name or ''}) does not match the name on the URL ({context.info.name})")
        if (obj["metadata"].get("namespace") or "") != (old["metadata"].get("namespace") or ""):
            raise BadRequest("the namespace of the provided object does not match the namespace sent on the request")

    try:
        result = await guaranteed_update(server, context, transform, tracked=wanted.tracks)
    except NotFound:
        if kind_of_patch not in APPLY_TYPES or context.info.subresource:
            raise
        await answer_written(server, exchange, context, 201, await wanted.create(server, context))
        return
    await answer_written(server, exchange, context, 200, result)
