"""gRPC probes against a real gRPC server on the loopback."""
from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest

from kubepy.kubelet.cri.fake import FakeRuntime
from kubepy.kubelet.probe.prober import Outcome, probe


@pytest.fixture
async def port() -> AsyncIterator[int]:
    async def check(request: bytes, context: Any) -> bytes:
        service = request[2:].decode()
        if service == "nobody":
            await context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
        return {"": b"\x08\x01", "sick": b"\x08\x02", "silent": b""}[service]

    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("grpc.health.v1.Health", {
        "Check": grpc.unary_unary_rpc_method_handler(check)}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield port
    await server.stop(0)


@pytest.mark.parametrize(("service", "ok", "words"), [
    pytest.param("", True, "service healthy", id="a server that is well"),
    pytest.param("sick", False, 'service unhealthy (responded with "NOT_SERVING")', id="a service that is not"),
    pytest.param("silent", False, 'service unhealthy (responded with "UNKNOWN")', id="one that says nothing"),
    pytest.param("nobody", False, "error: health rpc probe failed: unknown service", id="a service the server does not know"),
])
async def test_a_grpc_probe(port: int, service: str, ok: bool, words: str) -> None:
    outcome = await probe(FakeRuntime(), {}, "id", {"grpc": {"port": port, "service": service}, "timeoutSeconds": 5}, "127.0.0.1")
    assert outcome == Outcome(ok, words)


async def test_nobody_listens() -> None:
    outcome = await probe(FakeRuntime(), {}, "id", {"grpc": {"port": 1}, "timeoutSeconds": 1}, "127.0.0.1")
    assert outcome.ok is False
    assert outcome.output.startswith('timeout: failed to connect service "127.0.0.1:1" within 1s')
