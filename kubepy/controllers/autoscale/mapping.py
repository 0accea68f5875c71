"""From a kind as a reference names it to the resources it may be: in any version of its group, the preferred one first."""
from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import orjson

from kubepy.api.errors import NotFound
from kubepy.api.resource import Resource
from kubepy.api.types import Object
from kubepy.base.clock import Clock
from kubepy.client.interface import Client

TTL = 60.0


class InvalidVersion(ValueError):
    """No `version` and no `group/version`."""


class _Known(NamedTuple):
    until: float
    resources: Sequence[Resource]


class Mapping:
    """Discovery is kept for a minute, but what it does not hold is looked for anew."""

    def __init__(self, client: Client, clock: Clock) -> None:
        self._client, self._clock = client, clock
        self._known: dict[str, _Known] = {}

    async def of(self, api_version: str, kind: str) -> Sequence[Resource]:
        """Raises InvalidVersion, NotFound, or what the API server answers."""
        group = group_of(api_version)
        known = self._known.get(group)
        if known is None or known.until < self._clock.monotonic():
            known = self._known[group] = _Known(self._clock.monotonic() + TTL, await self._read(group))
        found = [item for item in known.resources if item.kind == kind]
        if not found:
            self._known.pop(group, None)
            raise NotFound(f'no matches for kind "{kind}" in group "{group}"')
        return found

    async def _read(self, group: str) -> list[Resource]:
        try:
            answer: Object = orjson.loads(await self._client.raw("GET", f"/apis/{group}")) if group else {"versions": [{"version": "v1"}]}
        except NotFound:
            return []
        preferred = (answer.get("preferredVersion") or {}).get("version")
        found = []
        for version in sorted((item["version"] for item in answer.get("versions") or ()), key=lambda version: version != preferred):
            path = f"/apis/{group}/{version}" if group else f"/api/{version}"
            for item in orjson.loads(await self._client.raw("GET", path)).get("resources") or ():
                if "/" not in item["name"]:
                    found.append(Resource(group, version, item["name"], item["kind"], bool(item["namespaced"])))
        return found


def group_of(api_version: str) -> str:
    if api_version.count("/") > 1:
        raise InvalidVersion(f"unexpected GroupVersion string: {api_version}")
    return api_version.rpartition("/")[0]
