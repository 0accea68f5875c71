"""Asks a webhook: one POST with a deadline; what goes wrong is told in client-go's words.

Redirects are not followed, answers are bounded, connections are kept for the next call.
"""
from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

import orjson

from kubepy.api.types import Object
from kubepy.api.yaml import YamlProblem, parse_yaml
from kubepy.apiserver.services import Services
from kubepy.apiserver.transport import failure
from kubepy.apiserver.webhook.endpoint import Unresolved, resolve_service
from kubepy.apiserver.webhook.tls import BadBundle, context_for

if TYPE_CHECKING:
    import aiohttp

MAX_ANSWER = 16 << 20
"""Bytes a webhook may answer."""
_META = 'struct { APIVersion string "json:\\"apiVersion,omitempty\\""; Kind string "json:\\"kind,omitempty\\"" }'
_REFUSALS = {
    400: "the server rejected our request for an unknown reason", 401: "the server has asked for the client to provide credentials",
    403: "{text}", 404: "the server could not find the requested resource",
    405: "the server does not allow this method on the requested resource",
    413: "Request entity too large: {text}", 415: "the server could not understand the request because of its media type: {text}",
    429: "the server has received too many requests and has asked us to try again later",
    503: "the server is currently unable to handle the request",
    504: "the server was unable to return a response in the time allotted, but may still be processing the request",
}


class CallError(Exception):
    """No usable answer; the message is what upstream says after `failed to call webhook: `. `code` is the HTTP status, if any."""

    def __init__(self, message: str, code: int = 0) -> None:
        super().__init__(message)
        self.code = code


class Place(NamedTuple):
    """Where a webhook is: what is shown (`url`), what is dialled, and the name its certificate must have."""

    url: str
    host: str
    port: int
    name: str
    authority: str
    path: str


class Caller:
    """One for the process."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._opened: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        if self._opened is not None:
            await self._opened.close()
            self._opened = None

    def _session(self) -> aiohttp.ClientSession:
        if self._opened is None:
            import aiohttp  # takes a while to load, and most servers have no webhooks

            connector = aiohttp.TCPConnector(limit=0, limit_per_host=0, keepalive_timeout=30)
            self._opened = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar(),
                                                 headers={"User-Agent": "kube-apiserver-admission"})
        return self._opened

    async def review(self, config: Object, review: Object, *, seconds: float) -> Object:
        """The review a webhook answers, of the same apiVersion and kind; raises CallError."""
        status, text, data = await self._post(config, orjson.dumps(review), seconds)
        if not 200 <= status < 300:
            raise _refusal(status, text, data)
        found = _decode(data)
        version, kind = str(found.get("apiVersion") or ""), str(found.get("kind") or "")
        wanted, own = str(review["apiVersion"]), str(review["kind"])
        if (version, kind) == (wanted, own):
            return found
        if kind == own and version.partition("/")[0] == wanted.partition("/")[0]:
            raise CallError(f"converting ({version.rpartition('/')[2]}.{kind}) to ({wanted.rpartition('/')[2]}.{own}): unknown conversion")
        if not kind:
            raise CallError("Object 'Kind' is missing in '" + data.decode(errors="replace") + "'")
        raise CallError(f'no kind "{kind}" is registered for version "{version}" in scheme '
                        '"k8s.io/apiserver/pkg/admission/plugin/webhook/config/client.go"')

    async def _post(self, config: Object, body: bytes, seconds: float) -> tuple[int, bool, bytes]:
        shown = _shown(config, seconds)
        import aiohttp

        try:
            async with asyncio.timeout(seconds):
                place = await self._place(config, shown)
                context = context_for(config.get("caBundle") or "")
                host = f"[{place.host}]" if ":" in place.host else place.host
                async with self._session().post(
                        f"https://{host}:{place.port}{place.path}", data=body, ssl=context, server_hostname=place.name,
                        allow_redirects=False, timeout=aiohttp.ClientTimeout(total=None),
                        headers={"Host": place.authority, "Content-Type": "application/json", "Accept": "application/json"}) as answer:
                    data = await answer.content.read(MAX_ANSWER + 1) if answer.content_length is None else await _read(answer)
                    while answer.content_length is None and len(data) <= MAX_ANSWER and (more := await answer.content.read(64 << 10)):
                        data += more
                    if len(data) > MAX_ANSWER:
                        raise CallError(f"the answer is longer than {MAX_ANSWER} bytes")
                    return answer.status, answer.content_type.startswith("text/"), data
        except TimeoutError as error:
            raise CallError(f'Post "{shown}": context deadline exceeded') from error
        except Unresolved as error:
            raise CallError(f'Post "{shown}": {error}') from error
        except BadBundle as error:
            raise CallError(str(error)) from error
        except (aiohttp.ClientError, OSError) as error:
            raise CallError(f'Post "{shown}": {failure(error, f"{host}:{place.port}", place.name)}') from error

    async def _place(self, config: Object, shown: str) -> Place:
        url = urlsplit(shown)
        path = (url.path or "/") + f"?{url.query}"
        service = config.get("service")
        if service is None:
            name = url.hostname or ""
            return Place(shown, name, url.port or 443, name, url.netloc, path)
        port = int(service.get("port") or 443)
        name = f"{service['name']}.{service['namespace']}.svc"
        backend = await resolve_service(self._services, service["namespace"], service["name"], port)
        return Place(shown, backend.host, backend.port, name, f"{name}:{port}", path)


async def _read(answer: aiohttp.ClientResponse) -> bytes:
    if (answer.content_length or 0) > MAX_ANSWER:
        raise CallError(f"the answer is longer than {MAX_ANSWER} bytes")
    return await answer.read()


def _shown(config: Object, seconds: float) -> str:
    service = config.get("service")
    if service is None:
        base = str(config.get("url") or "")
    else:
        path = str(service.get("path") or "/")
        base = f"https://{service['name']}.{service['namespace']}.svc:{service.get('port') or 443}/{path.removeprefix('/')}"
    return f"{base}?timeout={seconds:g}s"


def _refusal(status: int, text: bool, data: bytes) -> CallError:
    """A status other than 2xx: the message of a Status, or what client-go makes of the code."""
    try:
        found = orjson.loads(data)
    except orjson.JSONDecodeError:
        found = None
    if isinstance(found, dict) and found.get("kind") == "Status" and found.get("message"):
        return CallError(str(found["message"]), status)
    shown = data.decode(errors="replace").strip()[:2048] if text else "unknown"
    known = _REFUSALS.get(status)
    if known is not None:
        return CallError(known.replace("{text}", shown), status)
    if status >= 500:
        return CallError(f'an error on the server ("{shown}") has prevented the request from succeeding', status)
    return CallError(f"the server responded with the status code {status} but did not return more information", status)


def _decode(data: bytes) -> Object:
    try:
        value: Any = orjson.loads(data)
    except orjson.JSONDecodeError:
        try:
            value, _ = parse_yaml(data)
        except YamlProblem as error:
            raise CallError(f"couldn't get version/kind; json parse error: {error}") from error
    if isinstance(value, dict):
        return value
    kind = {str: "string", list: "array", bool: "bool", int: "number", float: "number"}.get(type(value), "null")
    raise CallError(f"couldn't get version/kind; json parse error: json: cannot unmarshal {kind} into Go value of type {_META}")
