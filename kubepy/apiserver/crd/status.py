"""Writes of a definition's status by the API server itself."""
from __future__ import annotations

from kubepy.api.types import Object
from kubepy.apiserver.ensure import context_for
from kubepy.apiserver.registry.apiextensions.customresourcedefinition import RESOURCE
from kubepy.apiserver.server import Server
from kubepy.apiserver.verbs import manage


def manage_status(server: Server, crd: Object, status: Object) -> Object:
    """The definition with another status, owned by the API server."""
    context = context_for(server, RESOURCE, "update", "", crd["metadata"]["name"])
    context.info.subresource = "status"
    changed = {**crd, "metadata": dict(crd["metadata"]), "status": status}
    return manage.track(context, changed, crd, "status", server.clock.now())
