"""What the API server serves, custom and aggregated resources included: for those who care for every resource there is."""
from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import orjson

from kubepy.api.errors import ApiError
from kubepy.api.resource import Resource
from kubepy.base.log import get_logger
from kubepy.client.interface import Client

log = get_logger("discovery")


class Served(NamedTuple):
    resource: Resource
    verbs: frozenset[str]


class Discovered(NamedTuple):
    """The preferred version of each resource, and the group versions that did not answer."""

    served: list[Served]
    failed: list[str]


async def discover(client: Client) -> Discovered:
    """Every resource once, in its group's preferred version. Raises when the list of groups cannot be had."""
    groups = orjson.loads(await client.raw("GET", "/apis"))["groups"]
    order: list[tuple[str, str]] = [("", "v1")]
    for group in groups:
        versions = [item["version"] for item in group["versions"]]
        preferred = (group.get("preferredVersion") or {}).get("version")
        order += [(group["name"], version) for version in sorted(versions, key=lambda version: version != preferred)]
    served: dict[tuple[str, str], Served] = {}
    failed: list[str] = []
    for name, version in order:
        path = f"/apis/{name}/{version}" if name else f"/api/{version}"
        try:
            found = orjson.loads(await client.raw("GET", path))["resources"]
        except (ApiError, ConnectionError, ValueError, KeyError) as error:
            log.v(2).info("A group version cannot be discovered", path=path, err=error)
            failed.append(f"{name}/{version}" if name else version)
            continue
        for item in found:
            if "/" not in item["name"]:
                resource = Resource(name, version, item["name"], item["kind"], bool(item["namespaced"]))
                served.setdefault((name, item["name"]), Served(resource, frozenset(item.get("verbs") or ())))
    return Discovered(list(served.values()), failed)


def supporting(found: Discovered, *verbs: str) -> Sequence[Resource]:
    return [item.resource for item in found.served if item.verbs.issuperset(verbs)]
