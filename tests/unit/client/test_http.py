"""The HTTP client against a small server: errors, waiting, watch frames, tokens that change."""
from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest
from aiohttp import web

from kubepy.api.errors import Expired, NotFound, TooManyRequests
from kubepy.api.resource import PODS
from kubepy.client.http import MAX_RETRIES, HttpClient
from kubepy.client.kubeconfig import Config, ConfigError, load


class Server:
    """Answers from a list of prepared responses; remembers what was asked."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, str | None]] = []
        self.answers: list[web.Response] = []
        self.chunks: list[bytes] = []
        self.url = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append((request.method, request.path_qs, request.headers.get("Authorization")))
        if "watch=true" in request.query_string and self.chunks:
            stream = web.StreamResponse(headers={"Content-Type": "application/json"})
            await stream.prepare(request)
            for chunk in self.chunks:
                await stream.write(chunk)
            return stream
        return self.answers.pop(0)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    server.url = f"http://127.0.0.1:{port}"
    yield server
    await runner.cleanup()


class Waits:
    """A clock that notes how long it was asked to sleep instead of sleeping."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    def now(self) -> float:
        return 0.0

    def monotonic(self) -> float:
        return 100.0 * len(self.slept)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


def answer(status: int, body: object, **headers: str) -> web.Response:
    return web.Response(status=status, body=orjson.dumps(body), content_type="application/json", headers=headers)


async def test_a_status_becomes_the_error_it_stands_for(server: Server) -> None:
    client = HttpClient(Config(server.url))
    server.answers = [answer(404, {"kind": "Status", "reason": "NotFound", "message": 'pods "a" not found', "code": 404})]
    with pytest.raises(NotFound, match='pods "a" not found'):
        await client.get(PODS, "a", "default")
    await client.close()


async def test_429_is_waited_for_and_repeated_a_limited_number_of_times(server: Server) -> None:
    clock = Waits()
    client = HttpClient(Config(server.url), clock=clock)
    server.answers = [answer(429, {}, **{"Retry-After": "3"}), answer(200, {"kind": "Pod"})]
    assert await client.get(PODS, "a", "default") == {"kind": "Pod"}
    assert clock.slept == [3.0]
    server.answers = [answer(429, {}, **{"Retry-After": "1"}) for _ in range(MAX_RETRIES + 1)]
    with pytest.raises(TooManyRequests):
        await client.get(PODS, "a", "default")
    assert not server.answers
    await client.close()


async def test_watch_frames_may_be_split_and_joined_anywhere(server: Server) -> None:
    client = HttpClient(Config(server.url))
    big = "x" * 300_000
    text = b"".join(orjson.dumps({"type": "ADDED", "object": {"n": n, "pad": big}}) + b"\n" for n in range(3))
    server.chunks = [text[:10], text[10:400_000], text[400_000:]]
    seen = [event.object["n"] async for event in client.watch(PODS, resource_version="5")]
    assert seen == [0, 1, 2]
    assert server.requests[0][1] == "/api/v1/pods?watch=true&resourceVersion=5&allowWatchBookmarks=true"
    await client.close()


async def test_an_error_event_is_raised(server: Server) -> None:
    client = HttpClient(Config(server.url))
    status = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"}
    server.chunks = [b'{"type":"BOOKMARK","object":{}}\n', orjson.dumps({"type": "ERROR", "object": status}) + b"\n"]
    events = client.watch(PODS)
    assert (await anext(events)).type == "BOOKMARK"
    with pytest.raises(Expired):
        await anext(events)
    await client.close()


async def test_a_token_file_is_read_again(server: Server, tmp_path: Path) -> None:
    clock = Waits()
    token = tmp_path / "token"
    token.write_text("one\n")
    client = HttpClient(Config(server.url, token_file=str(token)), clock=clock)
    server.answers = [answer(200, {}), answer(200, {})]
    await client.get(PODS, "a", "default")
    token.write_text("two\n")
    clock.slept.append(60)  # a minute later
    await client.get(PODS, "a", "default")
    assert [request[2] for request in server.requests] == ["Bearer one", "Bearer two"]
    await client.close()


async def test_a_refused_connection_is_a_connection_error() -> None:
    client = HttpClient(Config("http://127.0.0.1:1"))
    with pytest.raises(ConnectionError):
        await client.list(PODS)
    await client.close()


async def test_list_items_get_the_kind_they_are_listed_as(server: Server) -> None:
    client = HttpClient(Config(server.url))
    server.answers = [answer(200, {"kind": "PodList", "metadata": {}, "items": [{"metadata": {"name": "a"}}]})]
    assert (await client.list(PODS))["items"][0]["kind"] == "Pod"
    await client.close()


def test_a_kubeconfig_gives_its_current_context(tmp_path: Path) -> None:
    file = tmp_path / "config"
    file.write_text("""
apiVersion: v1
kind: Config
current-context: b
contexts:
- {name: a, context: {cluster: one, user: u}}
- {name: b, context: {cluster: two, user: u, namespace: kube-system}}
clusters:
- {name: two, cluster: {server: "https://10.0.0.1:6443/", certificate-authority: ca.crt}}
users:
- {name: u, user: {client-certificate-data: Y2VydA==, client-key-data: a2V5}}
""")
    config = load(file)
    assert (config.server, config.namespace, config.cert_data) == ("https://10.0.0.1:6443", "kube-system", b"cert")
    assert config.ca_file == str(tmp_path / "ca.crt")
    with pytest.raises(ConfigError, match="cluster 'one' does not exist"):
        load(file, "a")
