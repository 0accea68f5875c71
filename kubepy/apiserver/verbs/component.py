"""ComponentStatus: what the health ports of the other control plane parts on this machine say. Computed at each request, never stored.

Deprecated upstream since v1.19, but `kubectl get componentstatuses` still asks for it (`pkg/registry/core/componentstatus`).
"""
from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from kubepy.api.errors import NotFound
from kubepy.api.types import Object
from kubepy.apiserver.exchange import Exchange
from kubepy.apiserver.representation import answer_objects, answer_written
from kubepy.apiserver.request import Context
from kubepy.apiserver.server import Server
from kubepy.apiserver.transport import failure

if TYPE_CHECKING:
    import aiohttp

PROBES = {"controller-manager": "https://127.0.0.1:10257/healthz", "scheduler": "https://127.0.0.1:10259/healthz"}
TIMEOUT = 20.0
"""Seconds upstream's prober waits."""


async def serve(server: Server, exchange: Exchange, context: Context) -> None:
    name = context.info.name
    if name and name not in (*PROBES, "etcd-0"):
        raise NotFound.of(context.kind.resource, name)
    import aiohttp  # takes a while to load, and hardly anybody asks

    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT)) as session:
        wanted = [name] if name else [*PROBES, "etcd-0"]
        found = await asyncio.gather(*(_etcd(server) if part == "etcd-0" else _probe(session, PROBES[part]) for part in wanted))
    objects = [status_of(part, *outcome) for part, outcome in zip(wanted, found, strict=True)]
    if name:
        await answer_written(server, exchange, context, 200, objects[0])
    else:
        await answer_objects(server, exchange, context, sorted(objects, key=lambda item: str(item["metadata"]["name"])), {})


def status_of(name: str, healthy: bool, message: str) -> Object:
    condition = {"type": "Healthy", "status": "True" if healthy else "False", "message": message}
    return {"kind": "ComponentStatus", "apiVersion": "v1", "metadata": {"name": name}, "conditions": [condition]}


async def _probe(session: aiohttp.ClientSession, url: str) -> tuple[bool, str]:
    import aiohttp

    try:
        async with session.get(url, ssl=False) as answer:  # these ports have certificates of their own, as upstream's
            text = (await answer.text())[:1024]
            return answer.status == 200, text
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        return False, f'Get "{url}": {failure(error, url.split("/")[2])}'


async def _etcd(server: Server) -> tuple[bool, str]:
    try:
        async with asyncio.timeout(TIMEOUT):
            await server.check_storage()
    except Exception as error:  # whatever keeps etcd from answering is the answer
        return False, str(error)
    return True, "ok"
