"""Lifecycle hooks and the requests probes make: exec, HTTP, TCP, sleep."""
from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any

import aiohttp

from kubepy.api.types import Object
from kubepy.base.clock import Clock
from kubepy.kubelet.cri.interface import CriError, Runtime

_MAX_BODY = 10 << 10
_INSECURE = ssl.create_default_context()
_INSECURE.check_hostname = False
_INSECURE.verify_mode = ssl.CERT_NONE


class HookError(Exception):
    """A hook that failed; the message is the event's."""


def port_number(container: Object, port: Any) -> int:
    """A port by number or by the name the container gives it. Raises ValueError."""
    if isinstance(port, int):
        return port
    if str(port).isdigit():
        return int(port)
    for entry in container.get("ports") or ():
        if entry.get("name") == port:
            return int(entry["containerPort"])
    raise ValueError(f"couldn't find port: {port}")


def url_of(container: Object, action: Mapping[str, Any], pod_ip: str) -> str:
    host = action.get("host") or pod_ip
    host = f"[{host}]" if ":" in host else host
    scheme = (action.get("scheme") or "HTTP").lower()
    path = action.get("path") or "/"
    return f"{scheme}://{host}:{port_number(container, action['port'])}{path if path.startswith('/') else '/' + path}"


async def http_get(url: str, headers: list[tuple[str, str]], timeout: float, *, follow: bool = True) -> tuple[int, str]:
    """Status code and the first 10 KiB; redirects to other hosts are not followed. Certificates are not verified."""
    connector = aiohttp.TCPConnector(ssl=_INSECURE, force_close=True)
    async with aiohttp.ClientSession(connector=connector, auto_decompress=False, timeout=aiohttp.ClientTimeout(total=timeout)) as session:
        for _ in range(10):
            async with session.get(_exact(url), headers=headers, allow_redirects=False) as response:
                location = response.headers.get("Location")
                if follow and location and response.status in (301, 302, 303, 307, 308):
                    following = response.url.join(_exact(location))
                    if following.host == response.url.host:
                        url = str(following)
                        continue
                body = await response.content.read(_MAX_BODY)
                return response.status, body.decode(errors="replace")
    raise aiohttp.ClientError("stopped after 10 redirects")


def _exact(url: str) -> Any:
    from yarl import URL
    return URL(url, encoded=True)


def headers_of(action: Mapping[str, Any], agent: str) -> list[tuple[str, str]]:
    given = [(entry["name"], entry["value"]) for entry in action.get("httpHeaders") or ()]
    names = {name.lower() for name, _ in given}
    if "user-agent" not in names:
        given.append(("User-Agent", agent))
    if "accept" not in names:
        given.append(("Accept", "*/*"))
    return given


async def run_hook(runtime: Runtime, clock: Clock, container: Object, container_id: str, hook: Object, pod_ip: str, timeout: float) -> None:
    """Runs a postStart or preStop handler. Raises HookError."""
    name = container["name"]
    if (action := hook.get("exec")) is not None:
        command = action.get("command") or []
        title = f'Exec lifecycle hook ([{" ".join(command)}]) for Container "{name}" failed - error: '
        try:
            done = await runtime.exec_sync(container_id, command, int(timeout))
        except CriError as error:
            raise HookError(title + error.go()) from error
        if done.exit_code != 0:
            output = (done.stdout + done.stderr).decode(errors="replace")
            raise HookError(f"{title}command '{' '.join(command)}' exited with {done.exit_code}: {output}")
    elif (action := hook.get("httpGet")) is not None:
        title = f'HTTP lifecycle hook ({action.get("path", "")}) for Container "{name}" failed - error: '
        try:
            url = url_of(container, action, pod_ip)
            status, _ = await http_get(url, headers_of(action, "kube-lifecycle/1.36"), timeout or 60.0)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise HookError(f"{title}{error}") from error
        if status >= 400:
            raise HookError(f"{title}{url} returned {status}")
    elif (action := hook.get("sleep")) is not None:
        await clock.sleep(float(action.get("seconds") or 0))
