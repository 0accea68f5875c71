"""What this server tells of how it stores things: an entry in the StorageVersion of each built-in resource (StorageVersionAPI, alpha).

Follows `k8s.io/apiserver/pkg/storageversion`: written at start, before the server is ready, and again every ten minutes in case somebody
has changed or removed them. Known differences: writes are not held back until then (readiness is), and the versions that can be read are
those that can be served.
"""
from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from kubepy.api.resource import STORAGE_VERSIONS
from kubepy.api.storage_version import concluded
from kubepy.api.types import Object
from kubepy.apiserver.ensure import ensure
from kubepy.apiserver.registry.kind import Kind
from kubepy.apiserver.registry.optional import OPTIONAL
from kubepy.apiserver.registry.table import KINDS
from kubepy.apiserver.server import Server, stored
from kubepy.apiserver.storage.interface import Entry
from kubepy.base.clock import format_time

AGAIN_SECONDS = 600.0


class Told(NamedTuple):
    """What a server says of a resource."""

    name: str
    encoding: str
    decodable: tuple[str, ...]
    served: tuple[str, ...]


def told(kinds: Iterable[Kind]) -> list[Told]:
    """Of every stored resource among the served kinds, by group and plural; sorted by name."""
    every = [*KINDS, *(item.kind for item in OPTIONAL)]
    found: dict[str, list[Kind]] = {}
    for kind in kinds:
        if kind.handler is None and "create" in kind.verbs and "get" in kind.verbs:
            found.setdefault(f"{kind.resource.group or 'core'}.{kind.resource.plural}", []).append(kind)
    result = []
    for name, versions in sorted(found.items()):
        resource = versions[0].resource
        encoding = stored(versions[0]).api_version
        readable = {kind.resource.api_version for kind in every
                    if (kind.resource.group, kind.resource.plural) == (resource.group, resource.plural)} | {encoding}
        result.append(Told(name, encoding, tuple(sorted(readable)), tuple(sorted(kind.resource.api_version for kind in versions))))
    return result


def entered(status: Object, identity: str, item: Told, now: str) -> Object:
    """The status with this server's entry, and what follows from all entries."""
    mine = {"apiServerID": identity, "encodingVersion": item.encoding, "decodableVersions": list(item.decodable),
            "servedVersions": list(item.served)}
    before: Sequence[Object] = status.get("storageVersions") or []
    if any(server["apiServerID"] == identity for server in before):
        servers = [mine if server["apiServerID"] == identity else server for server in before]
    else:
        servers = [*before, mine]
    return concluded({**status, "storageVersions": servers}, now)


class Publisher:
    def __init__(self, server: Server, identity: str) -> None:
        self._server, self._identity = server, identity

    async def once(self) -> None:
        store = self._server.services.store(STORAGE_VERSIONS)
        for item in told(self._server.kinds.builtin):
            await ensure(self._server, STORAGE_VERSIONS, {"metadata": {"name": item.name}, "spec": {}})

            async def change(entry: Entry, item: Told = item) -> Object:
                obj = entry.decode()
                status = entered(obj.get("status") or {}, self._identity, item, format_time(self._server.clock.now()))
                return obj if status == obj.get("status") else {**obj, "status": status}

            await store.update("", item.name, change)

    async def run(self) -> None:
        while True:
            await self._server.clock.sleep(AGAIN_SECONDS)
            await self.once()
