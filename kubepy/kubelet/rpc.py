"""gRPC over UNIX sockets, by full method name: what plugins and the kubelet say to each other needs no generated services."""
from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import grpc
import grpc.aio
from google.protobuf.message import Message

_CALL, _PATH = 120.0, 107
M = TypeVar("M", bound=Message)


class RpcError(Exception):
    """A call that failed; `code` is gRPC's name of it (`UNAVAILABLE`), the message what a Go client prints."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"rpc error: code = {_go(code)} desc = {message}")
        self.code = code


def _go(code: str) -> str:
    """`DEADLINE_EXCEEDED` is `DeadlineExceeded` in Go's errors."""
    return "OK" if code == "OK" else "".join(part.capitalize() for part in code.split("_"))


class PluginSocket:
    """One plugin's socket; the channel reconnects by itself."""

    def __init__(self, path: str) -> None:
        self._channel = grpc.aio.insecure_channel(f"unix://{path}", options=[
            ("grpc.initial_reconnect_backoff_ms", 100), ("grpc.min_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 3000),
            ("grpc.default_authority", "localhost"), ("grpc.enable_http_proxy", 0)])

    async def call(self, method: str, request: Message, answer: type[M], timeout: float = _CALL) -> M:
        """`method` is the full path, such as `/csi.v1.Node/NodeGetInfo`. Raises RpcError."""
        call: Any = self._channel.unary_unary(method, request_serializer=type(request).SerializeToString,
                                              response_deserializer=answer.FromString)
        try:
            found: M = await call(request, timeout=timeout)
            return found
        except grpc.aio.AioRpcError as error:
            raise RpcError(error.code().name, error.details() or "") from error

    async def stream(self, method: str, request: Message, answer: type[M]) -> AsyncIterator[M]:
        """What the plugin says, until it ends. Raises RpcError."""
        start: Any = self._channel.unary_stream(method, request_serializer=type(request).SerializeToString,
                                                response_deserializer=answer.FromString)
        call = start(request)
        try:
            async for message in call:
                yield message
        except grpc.aio.AioRpcError as error:
            raise RpcError(error.code().name, error.details() or "") from error
        finally:
            call.cancel()

    async def close(self) -> None:
        await self._channel.close(None)


Methods = Mapping[str, tuple[type[Message], Callable[[Any], Awaitable[Message]]]]
"""By name: the request's type, and what answers it; an RpcError raised there is the answer."""


async def serve(socket: Path, service: str, methods: Methods) -> Any:
    """Serves on a socket, which is made anew; returns the server. Raises OSError."""
    if len(str(socket)) > _PATH:
        raise OSError(f"the path of a socket may have {_PATH} characters at most: {socket}")
    handlers: dict[str, Any] = {
        name: grpc.unary_unary_rpc_method_handler(_handler(answer), request_deserializer=kind.FromString,
                                                  response_serializer=lambda message: message.SerializeToString())
        for name, (kind, answer) in methods.items()}
    socket.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(socket)
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
    server.add_insecure_port(f"unix://{socket}")
    await server.start()
    return server


def _handler(answer: Callable[[Any], Awaitable[Message]]) -> Callable[[Any, Any], Awaitable[Message]]:
    async def handle(request: Any, context: Any) -> Message:
        try:
            return await answer(request)
        except RpcError as error:
            await context.abort(grpc.StatusCode[error.code], str(error).partition(" desc = ")[2])
            raise AssertionError("abort raises") from error

    return handle
