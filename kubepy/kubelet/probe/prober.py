"""One probe of one container: exec, HTTP(S), TCP or gRPC, with upstream's outcomes and words."""
from __future__ import annotations

import asyncio
from dataclasses import dataclass

import aiohttp
import grpc
import grpc.aio

from kubepy.api.types import Object
from kubepy.kubelet.cri.interface import CriError, Runtime
from kubepy.kubelet.pod.hook import headers_of, http_get, port_number, url_of

_AGENT = "kube-probe/1.36"
_MAX_OUTPUT = 10 << 10


@dataclass(frozen=True, slots=True)
class Outcome:
    """`ok` None means the probe itself could not be made (neither success nor failure)."""

    ok: bool | None
    output: str = ""
    warning: bool = False
    """A success that somebody should know of."""


async def probe(runtime: Runtime, container: Object, container_id: str, spec: Object, pod_ip: str) -> Outcome:
    timeout = float(spec.get("timeoutSeconds") or 1)
    if (action := spec.get("exec")) is not None:
        return await _exec(runtime, container_id, action.get("command") or [], timeout)
    if (action := spec.get("httpGet")) is not None:
        return await _http(container, action, pod_ip, timeout)
    if (action := spec.get("tcpSocket")) is not None:
        return await _tcp(container, action, pod_ip, timeout)
    if (action := spec.get("grpc")) is not None:
        return await _grpc(action, pod_ip, timeout)
    return Outcome(None, "missing probe handler")


async def _exec(runtime: Runtime, container_id: str, command: list[str], timeout: float) -> Outcome:
    try:
        done = await runtime.exec_sync(container_id, command, max(1, int(timeout)))
    except CriError as error:
        if error.code == "DEADLINE_EXCEEDED" or "timed out" in error.message or "timeout" in error.message:
            return Outcome(False, f'command timed out: "{" ".join(command)}" timed out after {int(timeout)}s')
        if error.code in ("UNAVAILABLE", "CANCELLED"):
            return Outcome(None, error.go())
        return Outcome(False, error.go())
    return Outcome(done.exit_code == 0, (done.stdout + done.stderr)[:_MAX_OUTPUT].decode(errors="replace"))


async def _http(container: Object, action: Object, pod_ip: str, timeout: float) -> Outcome:
    try:
        url = url_of(container, action, pod_ip)
    except ValueError as error:
        return Outcome(None, str(error))
    try:
        status, body = await http_get(url, headers_of(action, _AGENT), timeout)
    except TimeoutError:
        return Outcome(False, f'Get "{url}": context deadline exceeded (Client.Timeout exceeded while awaiting headers)')
    except aiohttp.ClientConnectorError as error:
        return Outcome(False, f'Get "{url}": dial tcp {error.host}:{error.port}: connect: {_words(error.os_error)}')
    except (aiohttp.ClientError, OSError) as error:
        return Outcome(False, f'Get "{url}": {error}')
    if 300 <= status < 400:
        return Outcome(True, f"Probe terminated redirects, Response body: {body}", warning=True)
    if 200 <= status < 300:
        return Outcome(True, body)
    return Outcome(False, f"HTTP probe failed with statuscode: {status}")


async def _tcp(container: Object, action: Object, pod_ip: str, timeout: float) -> Outcome:
    try:
        port = port_number(container, action["port"])
    except ValueError as error:
        return Outcome(None, str(error))
    host = action.get("host") or pod_ip
    try:
        async with asyncio.timeout(timeout):
            _, writer = await asyncio.open_connection(host, port)
    except TimeoutError:
        return Outcome(False, f"dial tcp {host}:{port}: i/o timeout")
    except OSError as error:
        return Outcome(False, f"dial tcp {host}:{port}: connect: {_words(error)}")
    writer.close()
    return Outcome(True)


def _words(error: OSError) -> str:
    return "connection refused" if isinstance(error, ConnectionRefusedError) else (error.strerror or str(error))


async def _grpc(action: Object, pod_ip: str, timeout: float) -> Outcome:
    """grpc.health.v1.Health/Check; its two messages are small enough to write by hand."""
    host = f"[{pod_ip}]" if ":" in pod_ip else pod_ip
    address = f"{host}:{action['port']}"
    service = (action.get("service") or "").encode()
    request = bytes((0x0A, len(service))) + service if service else b""
    async with grpc.aio.insecure_channel(address, options=[("grpc.enable_http_proxy", 0), ("grpc.primary_user_agent", _AGENT)]) as channel:
        try:
            call = channel.unary_unary("/grpc.health.v1.Health/Check", request_serializer=lambda data: data,
                                       response_deserializer=lambda data: data)
            answer: bytes = await call(request, timeout=timeout)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                text = "error: this server does not implement the grpc health protocol (grpc.health.v1.Health)"
                return Outcome(False, f"{text}: {error.details()}")
            if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                return Outcome(False, f'timeout: health rpc did not complete within {int(timeout)}s')
            if error.code() is grpc.StatusCode.UNAVAILABLE:
                return Outcome(False, f'timeout: failed to connect service "{address}" within {int(timeout)}s: {error.details()}')
            return Outcome(False, f"error: health rpc probe failed: {error.details()}")
    status = answer[1] if len(answer) > 1 and answer[0] == 0x08 else 0
    if status == 1:
        return Outcome(True, "service healthy")
    name = {0: "UNKNOWN", 2: "NOT_SERVING", 3: "SERVICE_UNKNOWN"}.get(status, str(status))
    return Outcome(False, f'service unhealthy (responded with "{name}")')
