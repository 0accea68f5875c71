"""Whether a server serves a resource at all, from its discovery.

A component of v1.36 also works with servers that are older: what they do not serve is taken as empty. An answer of 404 alone does
not say so (a proxy in between gives it as well, and then "empty" would take pods down), nor does 403: authorization comes before
routing, so it is what a restricted identity gets for a path that nobody serves.
"""
from __future__ import annotations

from typing import Any

import orjson

from kubepy.api.errors import ApiError, Forbidden, NotFound
from kubepy.api.resource import Resource
from kubepy.base.clock import Clock
from kubepy.base.log import get_logger
from kubepy.client.interface import Client

log = get_logger("served")


async def lacks(client: Client, resource: Resource) -> bool:
    """Whether discovery is readable and does without `resource`. The core group is part of every server."""
    if not resource.group:
        return False
    try:
        groups = await _read(client, "/apis", "APIGroupList")
        if groups is None or not groups.get("groups"):
            return False
        served = {version.get("groupVersion") for group in groups["groups"] for version in group.get("versions") or ()}
        if resource.api_version not in served:
            return True
        found = await _read(client, f"/apis/{resource.api_version}", "APIResourceList")
    except (ApiError, ConnectionError):
        return False
    return found is not None and all(entry.get("name") != resource.plural for entry in found.get("resources") or ())


async def readable(client: Client, clock: Clock, resource: Resource) -> bool:
    """Whether the server has the resource and lets this client list it. Waits for a server that can say so."""
    while True:
        try:
            await client.list(resource, limit=1)
            return True
        except (NotFound, Forbidden):
            return False
        except (ApiError, ConnectionError) as error:
            log.v(2).info("Cannot ask the server yet", resource=resource.group_resource, err=error)
            await clock.sleep(1.0)


async def until_readable(client: Client, clock: Clock, *resources: Resource) -> None:
    for resource in resources:
        while not await readable(client, clock, resource):
            log.warning("Cannot read yet", resource=resource.group_resource)
            await clock.sleep(1.0)


async def _read(client: Client, path: str, kind: str) -> dict[str, Any] | None:
    try:
        found = orjson.loads(await client.raw("GET", path))
    except orjson.JSONDecodeError:
        return None
    return found if isinstance(found, dict) and found.get("kind") == kind else None
