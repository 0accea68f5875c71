"""A webhook that the server's operator names by a kubeconfig file: audit, token review, authorization (`util/webhook.GenericWebhook`)."""
from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, Any

import orjson

from kubepy.base.clock import Clock
from kubepy.client.credentials import Credentials
from kubepy.client.kubeconfig import ConfigError, load

if TYPE_CHECKING:
    import aiohttp

MAX_ANSWER = 4 << 20


class PeerError(Exception):
    """No usable answer."""

    timeout = False


class Peer:
    def __init__(self, path: str, clock: Clock, *, flag: str, seconds: float = 30.0) -> None:
        """Reads the file; raises ValueError, naming the flag, when it is no kubeconfig."""
        try:
            self._config = load(path)
        except (ConfigError, OSError) as error:
            raise ValueError(f"--{flag}: {error}") from error
        self._credentials = Credentials(self._config, clock)
        self._seconds = seconds
        self._opened: aiohttp.ClientSession | None = None

    async def post(self, obj: Any) -> Any:
        """The decoded answer; None for an empty one. Raises PeerError."""
        import aiohttp

        if self._opened is None:
            self._opened = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())
        headers = {"Content-Type": "application/json", "Accept": "application/json", "User-Agent": "kube-apiserver"}
        try:
            if self._credentials.plugin is not None:
                await self._credentials.plugin.ready()
            if authorization := self._credentials.authorization():
                headers["Authorization"] = authorization
            async with asyncio.timeout(self._seconds), self._opened.post(
                    self._config.server, data=orjson.dumps(obj), headers=headers, allow_redirects=False,
                    ssl=self._credentials.context() if self._config.server.startswith("https:") else True,
                    server_hostname=self._config.server_name or None) as answer:
                data = await answer.content.read(MAX_ANSWER)
                while len(data) < MAX_ANSWER and (more := await answer.content.read(64 << 10)):
                    data += more
                if not 200 <= answer.status < 300:
                    raise PeerError(f"{self._config.server} answered {answer.status}")
                return orjson.loads(data) if data.strip() else None
        except (aiohttp.ClientError, OSError, ssl.SSLError, TimeoutError, orjson.JSONDecodeError) as error:
            late = isinstance(error, TimeoutError)
            why = "context deadline exceeded" if late else str(error) or type(error).__name__
            failure = PeerError(f'Post "{self._config.server}": {why}')
            failure.timeout = late
            raise failure from error

    async def close(self) -> None:
        if self._opened is not None:
            await self._opened.close()
