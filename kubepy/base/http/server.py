"""Runs an ASGI application with uvicorn on our protocol, in one process or several that share a port.

Each worker has its own listening socket on the same port (SO_REUSEPORT); the parent holds all of them, so connections wait
while a worker that died is started again.
"""
from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Iterator

import uvicorn

from kubepy.base import garbage
from kubepy.base.http.cycle import App
from kubepy.base.http.protocol import HttpProtocol
from kubepy.base.http.tls import ServerTls
from kubepy.base.log import get_logger

log = get_logger("serve")
BACKLOG = 4096
RESTART_SECONDS = 1.0


def listen(address: str, port: int, count: int) -> list[socket.socket]:
    """`count` sockets on one address; raises OSError when it is taken."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:  # another server's SO_REUSEPORT socket must not be joined
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((address, port))
    sockets = []
    for _ in range(count):
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setblocking(False)
        sock.bind((address, port))
        sock.listen(BACKLOG)
        sockets.append(sock)
    return sockets


class Serving(uvicorn.Server):
    """A uvicorn server that tells when it is asked to stop. Its signals are uvicorn's own: SIGTERM and SIGINT end it gracefully."""

    def __init__(self, config: uvicorn.Config, stopping: Callable[[], Awaitable[None]]) -> None:
        super().__init__(config)
        self._stopping = stopping

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stops on SIGTERM and SIGINT; unlike uvicorn's, the process then ends with code 0."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await self._stopping()
        await super().shutdown(sockets)


async def serve(app: App, sock: socket.socket, tls: ServerTls | None, stopping: Callable[[], Awaitable[None]]) -> None:
    """Serves until a signal."""
    config = uvicorn.Config(app, http=HttpProtocol, lifespan="off", access_log=False, log_level="warning", proxy_headers=False,
                            timeout_graceful_shutdown=10, log_config=None)
    config.load()
    config.ssl = tls.context if tls else None
    garbage.spare()
    await Serving(config, stopping).serve(sockets=[sock])


def supervise(sockets: list[socket.socket], work: Callable[[int, socket.socket], None]) -> int:
    """Forks one worker a socket, starts it again when it dies, and ends all of them on SIGTERM or SIGINT."""
    children: dict[int, int] = {}
    stopping = False

    def stop(number: int, frame: object) -> None:
        nonlocal stopping
        stopping = True
        for pid in children:
            os.kill(pid, signal.SIGTERM)

    def spawn(index: int) -> None:
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            for other, sock in enumerate(sockets):
                if other != index:
                    sock.close()
            code = 1
            try:
                work(index, sockets[index])
                code = 0
            finally:
                sys.stderr.flush()
                os._exit(code)
        children[pid] = index

    for index in range(len(sockets)):
        spawn(index)
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    failed = 0
    while children:
        try:
            pid, status = os.wait()
        except InterruptedError:
            continue
        index = children.pop(pid, -1)
        if index < 0:
            continue
        if stopping:
            failed = failed or (0 if os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0 else 1)
            continue
        log.error("A worker died and is started again", worker=index, status=status)
        time.sleep(RESTART_SECONDS)
        spawn(index)
    return failed
