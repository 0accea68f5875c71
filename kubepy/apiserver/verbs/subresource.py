"""Subresources: status and scale generically, others by the handler they declare."""
from __future__ import annotations

from kubepy.api.errors import ApiError, MethodNotAllowed
from kubepy.api.types import Object
from kubepy.apiserver.body import read_object
from kubepy.apiserver.exchange import Exchange
from kubepy.apiserver.registry.kind import Subresource
from kubepy.apiserver.representation import answer_written
from kubepy.apiserver.request import Attributes, Context
from kubepy.apiserver.server import Server
from kubepy.apiserver.verbs import option
from kubepy.apiserver.verbs.get import get
from kubepy.apiserver.verbs.patch import patch
from kubepy.apiserver.verbs.special import SPECIAL
from kubepy.apiserver.verbs.update import update


async def serve(server: Server, exchange: Exchange, context: Context, sub: Subresource) -> None:
    method = exchange.method
    special = SPECIAL.get((context.kind.resource.group, context.kind.resource.plural, sub.name)) or SPECIAL.get(("*", "*", sub.name))
    if special is not None:
        await special(server, exchange, context, sub)
    elif sub.handler is not None:
        await _by_handler(server, exchange, context, sub)
    elif method == "GET":
        await get(server, exchange, context)
    elif method == "PUT":
        await update(server, exchange, context)
    elif method == "PATCH":
        await patch(server, exchange, context)
    else:
        raise MethodNotAllowed("the server does not allow this method on the requested resource", {})


async def _by_handler(server: Server, exchange: Exchange, context: Context, sub: Subresource) -> None:
    """Asks the declared handler with the parent's entry: `handler(services, context, obj, entry)`."""
    assert sub.handler is not None
    kind, info = context.kind, context.info
    option.apply_write_options(context, "CreateOptions")
    group = kind.resource.group if sub.group is None else sub.group
    obj: Object | None = None
    if exchange.method != "GET":
        obj = await read_object(exchange, context, group, sub.version or kind.resource.version, sub.kind or kind.resource.kind)
    namespace = info.namespace if kind.resource.namespaced else ""
    entry = await server.store(kind).get(namespace, info.name)
    if obj is not None:
        attributes = Attributes(context, "CREATE", obj, None, {}, sub.name, namespace, info.name)
        await server.admission.admit(attributes)
        await server.admission.admit_valid(attributes)
        obj = attributes.obj
    answer = await sub.handler(server.services, context, obj, entry)
    if answer is None:
        raise ApiError(f"{sub.name} gave no answer")
    await answer_written(server, exchange, context, 201 if exchange.method == "POST" else 200, answer)
