"""Kinds that are not stored: a POST is answered by their handler (reviews), other verbs by the handler as well (component status)."""
from __future__ import annotations

from kubepy.api.errors import ApiError
from kubepy.api.types import Object
from kubepy.apiserver import media
from kubepy.apiserver.body import read_object
from kubepy.apiserver.exchange import Exchange
from kubepy.apiserver.request import Attributes, Context
from kubepy.apiserver.server import Server
from kubepy.apiserver.verbs import lifecycle, manage, option


async def serve(server: Server, exchange: Exchange, context: Context) -> None:
    kind, resource = context.kind, context.kind.resource
    assert kind.handler is not None
    if exchange.method != "POST":
        found: Object = await kind.handler(server.services, context, None)
        await exchange.answer_object(200, found)
        return
    media.negotiate(exchange.header(b"accept"), transforms=False)  # reviews have no tables
    option.apply_write_options(context, "CreateOptions")
    obj = await read_object(exchange, context, resource.group, resource.version, resource.kind)
    lifecycle.check_namespace(kind, obj, context.info.namespace if resource.namespaced else "")
    obj = manage.track(context, obj, None, "", server.clock.now())
    attributes = Attributes(context, "CREATE", obj, None, {}, "", context.info.namespace, obj["metadata"].get("name") or "")
    await server.admission.admit(attributes)
    await server.admission.admit_valid(attributes)
    chosen = media.negotiate(exchange.header(b"accept"), transforms=False)
    answer = await kind.handler(server.services, context, attributes.obj)
    if answer is None:
        raise ApiError(f"{resource.kind} gave no answer")
    await exchange.answer_object(201, answer, chosen)
