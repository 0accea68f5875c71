"""Connections to extension API servers: their address, TLS with the front proxy's certificate, and requests of our own."""
from __future__ import annotations

import asyncio
import os
import ssl
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from kubepy.apiserver.aggregation.table import Remote
from kubepy.apiserver.options import Options
from kubepy.apiserver.services import Services
from kubepy.apiserver.stream.dial import Target
from kubepy.apiserver.webhook import Unresolved, resolve_service
from kubepy.apiserver.webhook.tls import BadBundle, context_for

if TYPE_CHECKING:
    import aiohttp

SECONDS = 5.0
MAX_DOCUMENT = 32 << 20
IDENTITY = (("X-Remote-User", "system:kube-aggregator"), ("X-Remote-Group", "system:masters"))
"""As whom the aggregator asks for discovery."""


class Answer(NamedTuple):
    status: int
    body: bytes

    def json(self) -> Any:
        try:
            return orjson.loads(self.body)
        except orjson.JSONDecodeError:
            return None


class Dialer:
    def __init__(self, options: Options, services: Services) -> None:
        self._cert, self._key = options.proxy_client_cert_file, options.proxy_client_key_file
        self._services = services
        self._opened: aiohttp.ClientSession | None = None

    def context(self, remote: Remote) -> ssl.SSLContext:
        """Raises BadBundle or OSError. A renewed client certificate is read when it has changed."""
        stamp = os.stat(self._cert).st_mtime if self._cert else 0.0
        return context_for(remote.bundle, remote.insecure, self._cert, self._key, stamp)

    async def target(self, remote: Remote, path: str) -> Target:
        """Raises Unresolved, BadBundle, OSError."""
        backend = await resolve_service(self._services, remote.namespace, remote.service, remote.port)
        return Target(backend.host, backend.port, self.context(remote), path, server_hostname=remote.host)

    async def get(self, remote: Remote, path: str) -> tuple[str, Answer | None, str]:
        """The address, and the answer or why there is none."""
        import aiohttp

        url = f"https://{remote.host}:{remote.port}{path}"
        try:
            target = await self.target(remote, path)
            url = f"https://{target.authority}{path}"
            if self._opened is None:
                self._opened = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())
            async with asyncio.timeout(SECONDS), self._opened.get(
                    url, ssl=target.context or True, server_hostname=remote.host, allow_redirects=False,
                    headers=[*IDENTITY, ("Accept", "application/json"), ("User-Agent", "kube-apiserver")]) as answer:
                body = b""
                async for chunk in answer.content.iter_any():
                    body += chunk
                    if len(body) > MAX_DOCUMENT:
                        return url, None, f"the answer is longer than {MAX_DOCUMENT} bytes"
                return url, Answer(answer.status, body), ""
        except (aiohttp.ClientError, OSError, TimeoutError, Unresolved, BadBundle) as error:
            why = "context deadline exceeded" if isinstance(error, TimeoutError) else str(error)
            return url, None, f'Get "{url}": {why}'

    async def close(self) -> None:
        if self._opened is not None:
            await self._opened.close()
