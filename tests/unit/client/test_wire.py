"""Kept-alive connections: reused while they can be, replaced when the server has closed them, never shared between answers."""
from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator, Callable

import pytest

from kubepy.client.wire import Wire

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Server:
    """Speaks from a script: for each request what to send, and whether to close after it."""

    def __init__(self) -> None:
        self.script: list[tuple[bytes, bool]] = []
        self.requests: list[bytes] = []
        self.connections = 0
        self.wire: Wire

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                self.requests.append(await reader.readuntil(b"\r\n\r\n"))
                data, close = self.script.pop(0)
                writer.write(data)
                await writer.drain()
                if close:
                    return
        except (asyncio.IncompleteReadError, ConnectionError, IndexError):
            return
        finally:
            writer.close()


def _no_tls() -> None:
    raise AssertionError("no TLS here")


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.wire = Wire(f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/base", _no_tls, limit=2)  # type: ignore[arg-type]
    yield server
    await server.wire.close()
    listener.close()


async def get(server: Server, method: str = "GET") -> tuple[int, bytes]:
    answer = await server.wire.request(method, "/x", "A: b\r\n", None, 10.0)
    return answer.status, answer.content


async def test_requests_one_after_another_use_one_connection(server: Server) -> None:
    server.script = [(OK, False)] * 3
    assert [await get(server) for _ in range(3)] == [(200, b"ok")] * 3
    assert server.connections == 1
    assert server.requests[0].startswith(b"GET /base/x HTTP/1.1\r\nHost: 127.0.0.1:")


CASES: dict[str, tuple[bytes, tuple[int, bytes]]] = {
    "in chunks": (b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n", (201, b"abc")),
    "until the end of the connection": (b"HTTP/1.1 200 OK\r\n\r\nrest", (200, b"rest")),
    "after an informational one": (b"HTTP/1.1 103 Early Hints\r\nContent-Length: 9\r\n\r\n" + OK, (200, b"ok")),
    "that asks to close": (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\nz", (200, b"z")),
}


@pytest.mark.parametrize(("sent", "wanted"), CASES.values(), ids=CASES.keys())
async def test_an_answer(server: Server, sent: bytes, wanted: tuple[int, bytes]) -> None:
    server.script = [(sent, True), (OK, False)]
    assert await get(server) == wanted
    assert await get(server) == (200, b"ok")
    assert server.connections == 2


async def test_a_kept_connection_that_was_closed_is_replaced_unless_the_request_may_have_counted(server: Server) -> None:
    server.script = [(OK, False), (b"", True), (OK, False), (b"", True)]
    await get(server)
    assert await get(server) == (200, b"ok")  # repeated on a new connection
    with pytest.raises(ConnectionError):
        await get(server, "POST")
    assert len(server.requests) == 4


BROKEN: dict[str, bytes] = {"half an answer": OK[:-1], "no HTTP at all": b"220 mail ready\r\n", "nothing": b""}


@pytest.mark.parametrize("sent", BROKEN.values(), ids=BROKEN.keys())
async def test_is_a_connection_error(server: Server, sent: bytes) -> None:
    server.script = [(sent, True)]
    with pytest.raises(ConnectionError):
        await get(server)


async def test_a_cancelled_request_does_not_leave_its_answer_to_the_next(server: Server) -> None:
    server.script = [(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nol", False), (OK, False)]
    task = asyncio.ensure_future(get(server))
    while not server.requests:  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await get(server) == (200, b"ok")
    assert server.connections == 2


async def test_more_requests_than_allowed_at_once_wait_for_each_other(server: Server) -> None:
    server.script = [(OK, False)] * 6
    assert await asyncio.gather(*(get(server) for _ in range(6))) == [(200, b"ok")] * 6
    assert server.connections <= 2


async def test_a_stream_that_is_not_read_holds_the_server_back(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kubepy.client.wire.MAX_BUFFERED", 1000)
    total = 8_000_000
    server.script = [(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % total + b"x" * total, False)]
    async with server.wire.stream("GET", "/x", "", 30.0) as (status, connection):
        assert status == 200
        await asyncio.sleep(0.05)
        assert connection._buffered < total
        found = 0
        while parts := await connection.read():
            found += sum(map(len, parts))
        assert found == total


async def test_a_stream_ends_by_its_time(server: Server) -> None:
    server.script = [(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n", False)]
    got: list[bytes] = []

    async def read(take: Callable[[bytes], None]) -> None:
        async with server.wire.stream("GET", "/x", "", 0.05) as (_, connection):
            while parts := await connection.read():
                take(b"".join(parts))

    with pytest.raises(ConnectionError, match="timed out"):
        await read(got.append)
    assert got == [b"a"]


async def test_a_request_is_given_up_in_time_whether_it_waits_for_an_answer_or_for_its_turn(server: Server) -> None:
    server.script = [(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nol", False)] * 3
    began = asyncio.get_running_loop().time()
    found = await asyncio.gather(*(server.wire.request("GET", "/x", "", None, 0.1) for _ in range(3)), return_exceptions=True)
    assert [str(error) for error in found] == ["timed out"] * 3
    assert asyncio.get_running_loop().time() - began < 10
    server.script = [(OK, False)] * 2
    assert await asyncio.gather(get(server), get(server)) == [(200, b"ok")] * 2


async def test_a_connection_that_is_over_leaves_nothing_for_the_collector_of_cycles(server: Server) -> None:
    server.script = [(OK, False), (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n", False)]
    gc.disable()
    try:
        await get(server)
        async with server.wire.stream("GET", "/x", "", None) as (_, connection):
            assert await connection.read() == [b"a"]
        del connection
        gone = [weakref.ref(one) for one in server.wire._open]
        await server.wire.close()
        async with asyncio.timeout(10):
            while server.wire._open or any(one() is not None for one in gone):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    finally:
        gc.enable()
    assert len(gone) == 2
