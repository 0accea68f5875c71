"""Streams through the kubelet's server to a runtime: commands and ports, as a client without kubectl asks for them."""
from __future__ import annotations

import asyncio

import pytest

from kubepy.api.resource import PODS
from kubepy.base.clock import SystemClock
from kubepy.kubelet.server.app import App
from kubepy.kubelet.server.listener import Listener
from tests import images
from tests.integration.kubelet.inside.serve import ask
from tests.integration.kubelet.inside.world import World, pod

pytestmark = [pytest.mark.root, pytest.mark.asyncio(loop_scope="session")]
WEBSOCKET = ("connection: Upgrade\nupgrade: websocket\nsec-websocket-version: 13\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\n"
             "sec-websocket-protocol: v4.channel.k8s.io\n")


def masked(text: bytes) -> bytes:
    """One binary frame of a client, with a mask of zeros."""
    return bytes((0x82, 0x80 | len(text))) + bytes(4) + text


async def test_a_command_and_a_port_by_websocket(fresh: World) -> None:
    app = App(fresh.settings, fresh.kubelet.pods, fresh.runtime, fresh.kubelet.statistics, SystemClock(), None)
    listener = Listener(app)
    port = await listener.start("127.0.0.1", 0, None)
    await fresh.client.create(PODS, pod("web", {"name": "c", "image": images.ECHO, "readinessProbe": {
        "httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1}}), "default")
    await fresh.until(lambda: fresh.all_ready("web"))
    said = await ask(port, f"GET /exec/default/web/c?command=echo&command=hi&output=1 HTTP/1.1\n{WEBSOCKET}")
    assert said.startswith(b"HTTP/1.1 101 ")
    assert b"\x01hi\n" in said
    request = b"GET / HTTP/1.0\r\n\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write((f"GET /portForward/default/web?port=8080 HTTP/1.1\n{WEBSOCKET}".replace("\n", "\r\n") + "host: x\r\n\r\n").encode())
    answer = await reader.readuntil(b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 101 ")
    writer.write(masked(b"\x00" + request))
    async with asyncio.timeout(30):
        while b"HTTP/1." not in answer[20:]:
            answer += await reader.read(4096)
    writer.close()
    await listener.stop()
