"""What a node's proxy tells load balancers: the ports for health checks, and addresses that somebody else holds for a while."""
from __future__ import annotations

import asyncio
import socket
from contextlib import suppress

import aiohttp
import pytest
from aiohttp import web

from kubepy.base.clock import SystemClock
from kubepy.proxy import serving
from kubepy.proxy.health import HealthCheckPorts, ProxyHealth
from tests.integration.proxy import net as networks
from tests.integration.proxy import packets as words

pytestmark = pytest.mark.root
service, state, A = words.service, words.state, words.ADDRESSES["IPv4"]


@pytest.fixture(scope="module")
def net():
    found = networks.Net()
    yield found
    found.close()


class Recorder:
    def __init__(self):
        self.events = []

    def event(self, about, type, reason, message, **_):
        self.events.append((about["metadata"]["name"], reason, message))


async def test_health_check_node_ports(net):
    health, recorder = ProxyHealth(SystemClock(), 60), Recorder()
    health.updated()
    ports = HealthCheckPorts(health, recorder, "me")
    one = {"externalTrafficPolicy": "Local", "healthCheckNodePort": 32123}
    async with aiohttp.ClientSession() as session:
        async def get(host):
            async with session.get(f"http://{host}:32123/healthz") as answer:
                return answer.status, (await answer.json())["localEndpoints"], answer.headers["X-Load-Balancing-Endpoint-Weight"]

        await ports.sync([state(service(balancer=True, **one), ends=("0", "1", "2@"))])
        for host in ("127.0.0.1", "[::1]") if net.ipv6 else ("127.0.0.1",):
            assert await get(host) == (200, 2, "2")
        await ports.sync([state(service(balancer=True, **one), ends=("2@",))])
        assert await get("127.0.0.1") == (503, 0, "0")
        about = words.node("IPv4", addresses=("127.0.0.1",))
        await ports.sync([state(service(balancer=True, **one), ends=("0",), about=about)])
        assert await get("127.0.0.1") == (200, 1, "1")
        with pytest.raises(aiohttp.ClientConnectorError):
            await get(A["bridge"])
        await ports.sync([])
        with socket.create_server(("", 32123)):
            for _ in range(2):
                await ports.sync([state(service(balancer=True, **one))])
        [(name, reason, message)] = recorder.events
        assert (name, reason) == ("web", "FailedToStartServiceHealthcheck")
        assert message.startswith('node me failed to start healthcheck "ns/web" on port 32123: ')
    await ports.stop()


async def test_an_address_that_is_taken_is_served_once_it_is_free(net, monkeypatch):
    monkeypatch.setattr(serving, "RETRY", 0.05)
    refused = []

    async def live(request):
        return web.Response(text="fine")

    async with asyncio.TaskGroup() as tasks, aiohttp.ClientSession() as session:
        with socket.create_server(("127.0.0.1", 32124)):
            serve = tasks.create_task(serving.keep(("127.0.0.1", 32124), {"/livez": live}, SystemClock(), refused.append))
            while len(refused) < 2:  # noqa: ASYNC110 - told by the task
                await asyncio.sleep(0.02)
        seen = ""
        while not seen:
            with suppress(aiohttp.ClientConnectorError):
                async with session.get("http://127.0.0.1:32124/livez") as answer:
                    seen = await answer.text()
            await asyncio.sleep(0.02)
        assert seen == "fine"
        serve.cancel()
