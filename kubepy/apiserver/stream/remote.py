"""Remote commands: the channels of a WebSocket (`v5.channel.k8s.io`) on one side, SPDY streams on the other."""
from __future__ import annotations

import asyncio

from kubepy.apiserver.stream.dial import Upstream
from kubepy.base.http.spdy import Session, Stream
from kubepy.base.http.websocket import WebSocket, WebSocketError

_STDIN, _STDOUT, _STDERR, _ERROR, _RESIZE, _CLOSE = 0, 1, 2, 3, 4, 255
_SUCCESS = b'{"metadata":{},"status":"Success"}'


class Remote:
    """One command: each message's first byte is its channel; 255 followed by 0 closes the command's input."""

    def __init__(self, socket: WebSocket, upstream: Upstream, *, stdin: bool, stdout: bool, stderr: bool, tty: bool) -> None:
        self._socket = socket
        self._session = Session(upstream.read, upstream.write)
        self._wanted = {"stdin": stdin, "stdout": stdout, "stderr": stderr and not tty, "resize": tty}

    async def run(self) -> None:
        """Until the command has ended and its status was sent, or either side went away."""
        reader = asyncio.ensure_future(self._session.run())
        pump: asyncio.Task[None] | None = None
        try:
            error = await self._session.open_stream({"streamType": "error"})
            streams = {name: await self._session.open_stream({"streamType": name}) for name, wanted in self._wanted.items() if wanted}
            pump = asyncio.ensure_future(self._pump_input(streams.get("stdin"), streams.get("resize")))
            outputs = asyncio.ensure_future(self._outputs(streams, error))
            await asyncio.wait((pump, outputs), return_when=asyncio.FIRST_COMPLETED)
            if not outputs.done() and pump.done():
                outputs.cancel()  # the client has gone: closing the connection ends the command's streams
            await asyncio.gather(outputs, return_exceptions=True)
        except (ConnectionError, WebSocketError):
            pass  # one side went away; closing both is all that is left to do
        finally:
            for task in (reader, pump):
                if task:
                    task.cancel()
            await asyncio.gather(*(task for task in (reader, pump) if task), return_exceptions=True)

    async def _outputs(self, streams: dict[str, Stream], error: Stream) -> None:
        copies = [self._copy(streams[name], channel) for name, channel in (("stdout", _STDOUT), ("stderr", _STDERR)) if name in streams]
        *_, status = await asyncio.gather(*copies, self._read_all(error))
        # A runtime closes the error stream without a word where the command succeeded.
        await self._socket.send(bytes([_ERROR]) + (status or _SUCCESS))
        await self._socket.close()

    async def _copy(self, stream: Stream, channel: int) -> None:
        prefix = bytes([channel])
        while data := await stream.read():
            await self._socket.send(prefix + data)

    @staticmethod
    async def _read_all(stream: Stream) -> bytes:
        parts = []
        while data := await stream.read():
            parts.append(data)
        return b"".join(parts)

    async def _pump_input(self, stdin: Stream | None, resize: Stream | None) -> None:
        """Ends when the client has closed the WebSocket."""
        while message := await self._socket.receive():
            channel, data = message.data[:1], message.data[1:]
            if channel == bytes([_STDIN]) and stdin and data:
                await stdin.write(data)
            elif channel == bytes([_RESIZE]) and resize and data:
                await resize.write(data)
            elif channel == bytes([_CLOSE]) and data == bytes([_STDIN]) and stdin:
                await stdin.close_write()
