"""Subresources that connect a client with a node or a pod: log, exec, attach, portforward, proxy.

Nothing is served here yet but the refusal; the transport follows in `stream/`.
"""
from __future__ import annotations

from kubepy.api.errors import ServiceUnavailable
from kubepy.apiserver.exchange import Exchange
from kubepy.apiserver.registry.kind import Subresource
from kubepy.apiserver.request import Context
from kubepy.apiserver.server import Server


async def serve(server: Server, exchange: Exchange, context: Context, sub: Subresource) -> None:
    raise ServiceUnavailable(f"the {sub.name} subresource is not available on this server", {})
