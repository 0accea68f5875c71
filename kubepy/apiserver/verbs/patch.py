"""PATCH: JSON patch, JSON merge patch, strategic merge patch and server-side apply."""
from __future__ import annotations

from kubepy.api.errors import NotFound, UnsupportedMediaType
from kubepy.api.types import Object
from kubepy.apiserver.aside import aside
from kubepy.apiserver.body import decode_patched
from kubepy.apiserver.crd.kind import custom_of
from kubepy.apiserver.exchange import Exchange
from kubepy.apiserver.media import unsupported
from kubepy.apiserver.registry.kind import Kind
from kubepy.apiserver.representation import answer_written
from kubepy.apiserver.request import Context
from kubepy.apiserver.server import Server
from kubepy.apiserver.verbs import manage, option
from kubepy.apiserver.verbs.patching import APPLY_TYPES, CUSTOM_TYPES, TYPES, Patch, check_identity, read_patch
from kubepy.apiserver.verbs.update import as_create, guaranteed_update, may_create


def patch_type(exchange: Exchange, kind: Kind) -> str:
    """The media type of the patch; raises UnsupportedMediaType. Custom kinds do not know strategic merge: kubectl then sends another."""
    found = exchange.header(b"content-type").partition(";")[0].strip()
    if custom_of(kind) is not None:
        if found not in CUSTOM_TYPES:
            raise unsupported(CUSTOM_TYPES)
    elif found not in TYPES:
        raise UnsupportedMediaType("415: Unsupported Media Type", {})
    return found


async def patch(server: Server, exchange: Exchange, context: Context) -> None:
    content_type = patch_type(exchange, context.kind)
    data = await exchange.body()
    force = option.apply_write_options(context, "PatchOptions", content_type)
    size = context.size = len(data)
    wanted: Patch = await aside(size, read_patch, context, content_type, data, force)
    now = server.clock.now()

    def patched_from(old: Object) -> Object:
        patched = wanted.apply(old, now)
        if wanted.tracks:
            if patched is old:
                return old
            obj = manage.complete(context, patched)
            check_identity(context, obj)
            return obj
        obj = decode_patched(context, context.kind, patched, wanted.shown, old)
        context.kind.strategy.fill(obj)
        check_identity(context, obj)
        return obj

    async def transform(old: Object) -> Object:
        return await aside(size, patched_from, old)

    try:
        result = await guaranteed_update(server, context, transform, tracked=wanted.tracks, patching=True)
    except NotFound:
        if content_type not in APPLY_TYPES or context.info.subresource:
            raise
        await may_create(server, context)
        context.info = as_create(context.info)
        await answer_written(server, exchange, context, 201, await wanted.create(server, context))
        return
    await answer_written(server, exchange, context, 200, result)
