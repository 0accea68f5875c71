"""GET of one object and of a list."""
from __future__ import annotations

from kubepy.api.errors import ApiError, BadRequest
from kubepy.apiserver.exchange import Exchange
from kubepy.apiserver.info import first, true
from kubepy.apiserver.representation import answer_entry, answer_list
from kubepy.apiserver.request import Context
from kubepy.apiserver.server import Server
from kubepy.apiserver.verbs.select import list_page


async def get(server: Server, exchange: Exchange, context: Context) -> None:
    kind, info = context.kind, context.info
    version = first(context.query, "resourceVersion") if context.query else ""
    if "export" in context.query and true(context.query, "export"):
        raise BadRequest("the export parameter, deprecated since v1.14, is no longer supported")
    if version:
        check_version(version)
    entry = await server.store(kind).get(info.namespace if kind.resource.namespaced else "", info.name, resource_version=version or None)
    await answer_entry(server, exchange, context, entry)


def check_version(version: str) -> None:
    """Upstream answers a resourceVersion that is no number with a bare 500."""
    if not version.isascii() or not version.isdigit():
        raise ApiError(f'resourceVersion: Invalid value: "{version}": strconv.ParseUint: parsing "{version}": invalid syntax', reason="")


async def list_objects(server: Server, exchange: Exchange, context: Context) -> None:
    await answer_list(server, exchange, context, await list_page(server, context))
