"""Static pods from a URL (`--manifest-url`): one Pod or a PodList, fetched every twenty seconds (upstream's `config/http`).

What could not be fetched or read changes nothing: the pods of the last good answer stay.
"""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import aiohttp
import yaml

from kubepy.api.types import Object
from kubepy.base.clock import Clock
from kubepy.base.log import get_logger
from kubepy.kubelet.source.file import static_pod

log = get_logger("source")
_TIMEOUT, _LIMIT = 10.0, 10 << 20


def manifests(data: bytes, url: str, node_name: str, now: float) -> list[Object]:
    """The pods of an answer. Raises ValueError."""
    if not data:
        raise ValueError(f"zero-length data received from {url}")
    try:
        document = yaml.safe_load(data)
    except yaml.YAMLError as error:
        raise ValueError(f"{url} has neither YAML nor JSON: {error}") from error
    many = isinstance(document, dict) and document.get("kind") in ("PodList", "List")
    items = (document.get("items") or []) if many else [document]
    return [static_pod(item if item.get("kind") or not many else {"apiVersion": "v1", "kind": "Pod", **item}, url, node_name, now,
                       source="http") for item in items]


class UrlSource:
    """Calls `changed` with all pods of the URL whenever its answer is another one."""

    def __init__(self, url: str, headers: Mapping[str, Sequence[str]], node_name: str, period: float, clock: Clock,
                 changed: Callable[[list[Object]], None]) -> None:
        self._url = url
        self._headers = [(name, value) for name, values in headers.items() for value in values]
        self._node_name = node_name
        self._period = period
        self._clock = clock
        self._changed = changed
        self._last: bytes | None = None
        self._failures = 0

    async def run(self) -> None:
        async with aiohttp.ClientSession(headers=self._headers, timeout=aiohttp.ClientTimeout(total=_TIMEOUT)) as session:
            while True:
                await self.look(session)
                await self._clock.sleep(self._period)

    async def look(self, session: aiohttp.ClientSession) -> None:
        try:
            async with session.get(self._url) as answer:
                if answer.status != 200:
                    raise ValueError(f"{self._url}: {answer.status} {answer.reason}")
                data = b""
                async for piece in answer.content.iter_chunked(65536):
                    data += piece
                    if len(data) > _LIMIT:
                        raise ValueError(f"{self._url} sends more than {_LIMIT} bytes")
            if data == self._last:
                return
            pods = manifests(data, self._url, self._node_name, self._clock.now())
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError, AttributeError) as error:
            self._failures += 1
            if self._failures <= 3:  # as upstream: what stays wrong is not said for ever
                log.error("Static pods cannot be read from the URL", error, url=self._url)
            return
        self._failures, self._last = 0, data
        self._changed(pods)
