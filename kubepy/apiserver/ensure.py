"""Requests of the server to itself: objects that must be there are created through the whole pipeline, as anyone's are."""
from __future__ import annotations

from kubepy.api.errors import AlreadyExists, NotFound
from kubepy.api.resource import Resource
from kubepy.api.types import Object
from kubepy.apiserver.request import Context, RequestInfo, User
from kubepy.apiserver.server import Server
from kubepy.apiserver.verbs.create import create_object

SYSTEM = User("system:apiserver", "", ("system:masters", "system:authenticated"))


def context_for(server: Server, resource: Resource, verb: str, namespace: str, name: str) -> Context:
    """A request of the server to itself."""
    info = RequestInfo(resource.path(namespace or None, name or None), verb, True, resource.group, resource.version, resource.plural, "",
                       namespace, name, (resource.plural, name) if name else (resource.plural,))
    return Context(SYSTEM, info, server.kinds.of(resource), user_agent="kube-apiserver/v1.36.0")


async def ensure(server: Server, resource: Resource, obj: Object, namespace: str = "") -> bool:
    """Creates an object through the whole pipeline unless it is there; tells whether it was made."""
    name = obj["metadata"]["name"]
    try:
        await server.services.store(resource).get(namespace, name)
        return False
    except NotFound:
        pass
    made = {"apiVersion": resource.api_version, "kind": resource.kind, **obj, "metadata": dict(obj["metadata"])}
    if namespace:
        made["metadata"]["namespace"] = namespace
    kind = server.kinds.of(resource)
    kind.strategy.default(made)
    try:
        await create_object(server, context_for(server, resource, "create", namespace, ""), made)
    except AlreadyExists:
        return False
    return True
