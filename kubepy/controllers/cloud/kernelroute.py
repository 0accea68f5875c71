"""Routes in the kernel of the machine that the controller manager runs on: for one that is the gateway of its nodes.

They carry a protocol number of their own, so that others' routes are never touched."""
from __future__ import annotations

import asyncio
from ipaddress import ip_network

import orjson

from kubepy.controllers.cloud.provider import ProviderError, Route

PROTOCOL = "186"


class KernelRoutes:
    async def all(self) -> list[Route]:
        found = []
        for family in ("-4", "-6"):
            for item in orjson.loads(await _ip(family, "-j", "route", "show", "proto", PROTOCOL) or b"[]"):
                if item.get("gateway") and item.get("dst") not in (None, "default"):
                    found.append(Route(str(ip_network(item["dst"])), item["gateway"]))
        return found

    async def make(self, route: Route) -> None:
        await _ip("route", "replace", route.cidr, "via", route.address, "proto", PROTOCOL)

    async def remove(self, route: Route) -> None:
        await _ip("route", "del", route.cidr, "via", route.address, "proto", PROTOCOL)


async def _ip(*arguments: str) -> bytes:
    try:
        process = await asyncio.create_subprocess_exec("ip", *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE)
    except OSError as error:
        raise ProviderError(f"cannot run ip: {error}") from error
    output, problem = await process.communicate()
    if process.returncode:
        raise ProviderError(f"ip {' '.join(arguments)}: {problem.decode().strip()}")
    return output
