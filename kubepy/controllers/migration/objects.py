"""Which resource a migration is about, and writing each of its objects again, as it is.

An object is written by an apply patch that says nothing but which object it is, of which version: the server decodes what is stored and
encodes it as it would store it now. Who wrote it in between has done the same, so a conflict is as good as success.
"""
from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

import orjson

from kubepy.api.errors import ApiError, Conflict, Expired, Gone, NotFound, Timeout, TooManyRequests
from kubepy.api.resource import Resource
from kubepy.api.types import Object
from kubepy.client.interface import Client

MANAGER = "storage-version-migrator-controller"
PAGE = 500
NEEDED = frozenset(("list", "patch"))


class Unmigratable(Exception):
    """The resource cannot be migrated; the message goes into the condition."""


async def resource_of(client: Client, wanted: Mapping[str, str]) -> Resource | None:
    """The resource as its group prefers to serve it; None when nobody serves it. Raises ApiError, Unmigratable."""
    group, plural = wanted.get("group", ""), wanted["resource"]
    try:
        if not group:
            versions = ["v1"]
        else:
            found = orjson.loads(await client.raw("GET", f"/apis/{quote(group)}"))
            versions = [item["version"] for item in found["versions"]]
            preferred = (found.get("preferredVersion") or {}).get("version")
            versions.sort(key=lambda version: version != preferred)
        for version in versions:
            path = f"/apis/{quote(group)}/{version}" if group else f"/api/{version}"
            for item in orjson.loads(await client.raw("GET", path))["resources"]:
                if item["name"] == plural:
                    if not frozenset(item.get("verbs") or ()) >= NEEDED:
                        raise Unmigratable("resource cannot be listed and patched")
                    return Resource(group, version, plural, item["kind"], bool(item["namespaced"]))
    except NotFound:
        return None
    return None


async def newest_version(client: Client, resource: Resource) -> str:
    """The resource version of the whole collection now: what is older is to be written again."""
    listed = await client.list(resource, limit=1)
    return str(listed["metadata"].get("resourceVersion") or "")


async def migrate(client: Client, resource: Resource) -> int:
    """Writes every object again; returns how many there were. Raises ApiError for what does not pass by itself.

    What is written while this goes on is written as it should be, so pages of different moments do no harm."""
    count, token = 0, ""
    while True:
        try:
            page = await client.list(resource, limit=PAGE, continue_token=token)
        except (Expired, Gone):
            count, token = 0, ""  # took longer than history is kept; those that are done cost a request that changes nothing
            continue
        for item in page["items"]:
            await _rewrite(client, resource, item["metadata"])
        count += len(page["items"])
        token = page["metadata"].get("continue") or ""
        if not token:
            return count


async def _rewrite(client: Client, resource: Resource, metadata: Object) -> None:
    """`uid` keeps the patch from making a new object where this one has gone, `resourceVersion` from meeting another one of its name."""
    patch = {"apiVersion": resource.api_version, "kind": resource.kind,
             "metadata": {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]}}
    try:
        await client.patch(resource, metadata["name"], patch, metadata.get("namespace"), type="apply", field_manager=MANAGER)
    except (Conflict, NotFound):
        return


def passes(error: ApiError) -> bool:
    """Whether it is worth another try."""
    return isinstance(error, (TooManyRequests, Timeout)) or error.code >= 500
