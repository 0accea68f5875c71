"""The connection protocol uvicorn runs (`Config(http=HttpProtocol)`): HTTP/1.1 with httptools, straight to ASGI.

It exists because uvicorn's own neither shows the peer's certificate nor hands over upgraded connections, and costs
several times as much per request. Requests on one connection are answered one after the other; a client that sends
ahead is not read further until its turn.
"""
from __future__ import annotations

import asyncio
import re
import time
from email.utils import formatdate
from typing import Any, ClassVar
from urllib.parse import unquote_to_bytes

import httptools

from kubepy.base.http.anycert import peer_chain
from kubepy.base.http.cycle import App, Cycle, Scope
from kubepy.base.http.raw import Flow, RawConnection

IDLE_SECONDS = 120.0
"""How long a connection may stay without a request."""
GOODBYE_SECONDS = 0.5
"""How long a client has to end an idle connection once the server stops."""
MAX_HEADER_BYTES = 1 << 20
_BROKEN = re.compile(rb"%(?![0-9a-fA-F]{2})")
_REQUEST_LINE = re.compile(rb"([A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}) [^ \r\n]{1,16384} HTTP/1\.[01]\r?\n")
_ASGI = {"version": "3.0", "spec_version": "2.3"}


class _Deaf:
    """The parser of a connection that is not there yet, or gone."""

    def feed_data(self, data: bytes) -> None:
        return None


_DEAF = _Deaf()


class HttpProtocol(asyncio.Protocol):
    _date: ClassVar[tuple[int, bytes]] = (0, b"")

    def __init__(self, config: Any, server_state: Any, app_state: dict[str, Any], _loop: asyncio.AbstractEventLoop | None = None) -> None:
        self.app: App = config.loaded_app
        self.state = server_state
        self.loop = _loop or asyncio.get_running_loop()
        self.parser: Any = _DEAF
        self.transport: asyncio.Transport = None  # type: ignore[assignment]
        self.flow = Flow()
        self.closing = False
        self.scheme = "http"
        self.client: Any = None
        self.server: Any = None
        self.certificates: tuple[bytes, ...] = ()
        self.cycle: Cycle | None = None
        self.raw: RawConnection | None = None
        self._rest = b""
        self._queue: list[tuple[Cycle, bool]] = []
        self._url = b""
        self._method = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._in_head, self._head_bytes = True, 0
        self._parsing: Cycle | None = None
        self._reading = True
        self._active = self.loop.time()
        self._timer: asyncio.TimerHandle | None = None
        self._bid = False

    # --- the transport's callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "write")
        self.transport = transport  # type: ignore[assignment]
        self.parser = httptools.HttpRequestParser(self)
        self.state.connections.add(self)
        self.client = transport.get_extra_info("peername")
        self.server = transport.get_extra_info("sockname")
        if self.client is not None:
            self.client = tuple(self.client[:2])
        if self.server is not None:
            self.server = tuple(self.server[:2])
        tls = transport.get_extra_info("ssl_object")
        if tls is not None:
            self.scheme = "https"
            self.certificates = peer_chain(tls)
        self._timer = self.loop.call_later(IDLE_SECONDS, self._idle)

    def connection_lost(self, error: Exception | None) -> None:
        self.state.connections.discard(self)
        if self._timer is not None:
            self._timer.cancel()
        self.closing = True
        self.flow.close()
        if self.raw is not None:
            self.raw.feed_eof()
        for cycle in (self.cycle, self._parsing):
            if cycle is not None:
                cycle.disconnect()
        self._queue.clear()
        # Each knows the other: with the connection's TLS state and what was not sent they would wait for the collector of cycles.
        self.parser, self.cycle, self._parsing, self._timer = _DEAF, None, None, None

    def eof_received(self) -> None:
        if self.raw is not None:
            self.raw.feed_eof()

    def pause_writing(self) -> None:
        self.flow.pause()

    def resume_writing(self) -> None:
        self.flow.resume()

    def data_received(self, data: bytes) -> None:
        if self.raw is not None:
            self.raw.feed(data)
            return
        if self.cycle is not None and self.cycle.scope.get("upgrade"):
            self._rest += data
            if len(self._rest) > MAX_HEADER_BYTES:
                self.pause_reading()
            return
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEADER_BYTES:
                self._refuse(b"431 Request Header Fields Too Large")
                return
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._rest += data[upgrade.args[0]:]
        except httptools.HttpParserInvalidMethodError:
            self._foreign_method(data)
        except httptools.HttpParserError:
            self._refuse(b"400 Bad Request")

    def _foreign_method(self, data: bytes) -> None:
        """A method the parser does not know, at the start of a request: it is parsed as another, and answered by its own name."""
        found = _REQUEST_LINE.match(data)
        if found is None:
            self._refuse(b"400 Bad Request")
            return
        self._method = found[1]
        self.parser = httptools.HttpRequestParser(self)
        try:
            self.parser.feed_data(b"POST" + data[found.end(1):])
        except httptools.HttpParserError:
            self._refuse(b"400 Bad Request")

    # --- the parser's callbacks

    def on_message_begin(self) -> None:
        self._url = b""
        self._headers = []

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self._in_head = False
        if self.closing:
            return
        parser = self.parser
        method, self._method = self._method or parser.get_method(), b""
        raw_path, _, query = self._url.partition(b"?")
        if b"%" in raw_path and _BROKEN.search(raw_path):
            self._refuse(b"400 Bad Request")
            return
        if raw_path[:1] != b"/":  # absolute form, as a proxy would send it
            address = httptools.parse_url(self._url)
            raw_path, query = address.path or b"/", address.query or b""
        path = raw_path if b"%" not in raw_path else unquote_to_bytes(raw_path)
        version = parser.get_http_version()
        upgrade = bool(parser.should_upgrade()) and any(
            name == b"upgrade" and value.lower() in (b"websocket", b"spdy/3.1") for name, value in self._headers)
        scope: Scope = {
            "type": "http", "asgi": _ASGI, "http_version": version, "method": method.decode("ascii"),
            "scheme": self.scheme, "path": path.decode("utf-8", "replace"), "raw_path": raw_path, "query_string": query,
            "root_path": "", "headers": self._headers, "client": self.client, "server": self.server,
            "client_cert": self.certificates[0] if self.certificates else None, "client_chain": self.certificates, "upgrade": upgrade,
        }
        expects = [value for name, value in self._headers if name == b"expect" and value.lower() == b"100-continue"]
        cycle = Cycle(self, scope, parser.should_keep_alive() and not upgrade, bool(expects))
        scope["extensions"] = {"hijack": cycle.hijack, "push": cycle.push}
        self._parsing = cycle
        if self.cycle is None:
            self._start(cycle)
        else:
            self._queue.append((cycle, True))
            self.pause_reading()

    def on_body(self, body: bytes) -> None:
        if self._parsing is not None:
            self._parsing.feed(body)

    def on_message_complete(self) -> None:
        self._in_head, self._head_bytes = True, 0
        if self._parsing is not None:
            self._parsing.end_body()
            self._parsing = None

    # --- what the cycle asks for

    def _start(self, cycle: Cycle) -> None:
        self.cycle = cycle
        self.state.total_requests += 1
        task = self.loop.create_task(cycle.run(self.app))
        cycle.task = task
        tasks = self.state.tasks
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    def finished(self, keep_alive: bool) -> None:
        self.cycle = None
        self._active = self.loop.time()
        if not keep_alive or self.closing:
            self.transport.close()
            return
        if self._queue:
            self._start(self._queue.pop(0)[0])
        if not self._queue:
            self.resume_reading()

    def take_over(self) -> RawConnection:
        self.raw = RawConnection(self.transport, self.flow, self._rest)
        self._rest = b""
        self.resume_reading()
        return self.raw

    def pause_reading(self) -> None:
        if self._reading:
            self._reading = False
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        if not self._reading and not self._queue:
            self._reading = True
            self.transport.resume_reading()

    def date(self) -> bytes:
        """The Date header, computed once a second."""
        now = int(time.time())
        cached = HttpProtocol._date
        if cached[0] != now:
            cached = HttpProtocol._date = (now, f"date: {formatdate(now, usegmt=True)}\r\n".encode())
        return cached[1]

    def shutdown(self) -> None:
        """The server stops: idle connections close now, busy ones after their answer (uvicorn calls this)."""
        self.closing = True
        if self.cycle is None and self.raw is None:
            self.transport.close()
            self._end()

    def _end(self) -> None:
        """Ends a closed connection whose client does not answer TLS' good-bye, once everything is sent."""
        if self._timer is not None:
            self._timer.cancel()
        if self._bid and not self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            self._bid = True
            self._timer = self.loop.call_later(GOODBYE_SECONDS, self._end)

    def _idle(self) -> None:
        left = IDLE_SECONDS if self.cycle is not None or self.raw is not None else self._active + IDLE_SECONDS - self.loop.time()
        if left <= 0:
            self.transport.close()
        else:
            self._timer = self.loop.call_later(left, self._idle)

    def _refuse(self, status: bytes) -> None:
        if not self.closing:
            self.closing = True
            head = b"HTTP/1.1 %b\r\ncontent-type: text/plain; charset=utf-8\r\nconnection: close\r\n\r\n" % status
            self.transport.write(head + status)
            self.transport.close()
