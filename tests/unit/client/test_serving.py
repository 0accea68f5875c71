"""Health and metrics: open health, guarded metrics, TLS with a certificate made on the spot."""
from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest

from kubepy.api.resource import SUBJECT_ACCESS_REVIEWS, TOKEN_REVIEWS, Resource
from kubepy.api.types import Object
from kubepy.base.clock import SystemClock
from kubepy.client.delegated import Delegated
from kubepy.client.memory import MemoryClient
from kubepy.client.serving import Health, HealthServer, ServingTls


class Reviews(MemoryClient):
    """Knows one token, whose user may read /metrics."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Resource] = []

    async def create(self, resource: Resource, obj: Object, namespace: str | None = None, *, name: str | None = None,
                     subresource: str | None = None, dry_run: bool = False) -> Object:
        self.asked.append(resource)
        if resource == TOKEN_REVIEWS:
            known = obj["spec"]["token"] == "good"
            return {"status": {"authenticated": known, "user": {"username": "prometheus", "groups": ["monitoring"]}}}
        assert resource == SUBJECT_ACCESS_REVIEWS
        spec = obj["spec"]
        allowed = spec["user"] == "prometheus" and spec["nonResourceAttributes"] == {"path": "/metrics", "verb": "get"}
        return {"status": {"allowed": allowed}}


class Rig:
    def __init__(self) -> None:
        self.reviews = Reviews()
        self.health = Health()
        self.url = ""

    async def get(self, path: str, token: str = "") -> tuple[int, str]:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        async with aiohttp.ClientSession() as session, session.get(self.url + path, headers=headers, ssl=False) as response:
            return response.status, await response.text()


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    rig = Rig()
    server = HealthServer(rig.health, Delegated(rig.reviews, rig.reviews, SystemClock()), lambda: {"kubescheduler": {}})
    port = await server.start("127.0.0.1", 0, ServingTls("", "", b"", "test").context)
    rig.url = f"https://127.0.0.1:{port}"
    yield rig
    await server.stop()


async def test_health_is_open_and_reports_each_check(rig: Rig) -> None:
    assert await rig.get("/healthz") == (200, "ok")
    rig.health.ready["informer-sync"] = lambda: False
    assert (await rig.get("/livez"))[0] == 200
    code, text = await rig.get("/readyz")
    assert code == 500
    assert text == "[+]ping ok\n[-]informer-sync failed: reason withheld\nreadyz check failed\n"


async def test_metrics_are_for_those_who_may_read_them(rig: Rig) -> None:
    assert (await rig.get("/metrics"))[0] == 403
    assert (await rig.get("/metrics", "bad"))[0] == 401
    code, text = await rig.get("/metrics", "good")
    assert code == 200
    assert "process_resident_memory_bytes" in text
    assert (await rig.get("/configz", "good"))[0] == 403


async def test_answers_are_remembered(rig: Rig) -> None:
    await rig.get("/metrics", "good")
    asked = len(rig.reviews.asked)
    await rig.get("/metrics", "good")
    assert len(rig.reviews.asked) == asked
