"""What kube-proxy serves: its own health and metrics, and the health-check ports of Services with a Local external policy."""
from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import orjson
from aiohttp import web

from kubepy.base import metrics
from kubepy.base.clock import Clock, format_time
from kubepy.base.log import get_logger
from kubepy.client.events import Recorder
from kubepy.proxy.model import State

log = get_logger("proxy-health")


class ProxyHealth:
    """Healthy while every queued change is written within `patience` seconds."""

    def __init__(self, clock: Clock, patience: float) -> None:
        self._clock, self._patience = clock, patience
        self._queued: float | None = None
        self._updated = 0.0
        self.eligible = True
        """False once the node is being deleted: load balancers should stop sending traffic."""

    def queued(self) -> None:
        if self._queued is None:
            self._queued = self._clock.now()

    def updated(self) -> None:
        self._queued, self._updated = None, self._clock.now()

    def healthy(self) -> bool:
        if not self._updated and self._queued is None:
            return False
        return self._queued is None or self._clock.now() - self._queued < self._patience

    def _body(self, healthy: bool) -> bytes:
        now = self._clock.now()
        shown = now if healthy else self._updated
        return orjson.dumps({"lastUpdated": format_time(shown), "currentTime": format_time(now), "nodeEligible": self.eligible})

    async def answer_healthz(self, request: web.Request) -> web.Response:
        healthy = self.healthy()
        return web.Response(status=200 if healthy and self.eligible else 503, body=self._body(healthy), content_type="application/json",
                            headers={"X-Content-Type-Options": "nosniff"})

    async def answer_livez(self, request: web.Request) -> web.Response:
        healthy = self.healthy()
        return web.Response(status=200 if healthy else 503, body=self._body(healthy), content_type="application/json",
                            headers={"X-Content-Type-Options": "nosniff"})


async def start(address: tuple[str | Sequence[str], int], routes: Mapping[str, object]) -> web.AppRunner:
    """Serves plain HTTP, on one address, several, or with "" all of either family. Raises OSError."""
    app = web.Application()
    for path, handler in routes.items():
        app.router.add_get(path, handler)  # type: ignore[arg-type]
    runner = web.AppRunner(app, access_log=None, handle_signals=False)
    await runner.setup()
    hosts, port = address
    try:
        for host in [hosts] if isinstance(hosts, str) else hosts:
            await web.TCPSite(runner, host or None, port).start()
    except OSError:
        await runner.cleanup()
        raise
    return runner


async def answer_metrics(request: web.Request) -> web.Response:
    return web.Response(body=metrics.render(), headers={"Content-Type": metrics.CONTENT_TYPE})


@dataclass(slots=True)
class _Port:
    runner: web.AppRunner
    namespace: str
    name: str
    count: int


class HealthCheckPorts:
    """One small server per health-check node port, on all addresses or the given ones: 200 while this node has local endpoints, else
    503. A port that somebody else has is reported by an event."""

    def __init__(self, health: ProxyHealth, recorder: Recorder | None = None, node: str = "", hosts: Sequence[str] = ("",)) -> None:
        self._health, self._recorder, self._node, self._hosts = health, recorder, node, hosts
        self._ports: dict[int, _Port] = {}
        self._refused: set[int] = set()

    async def sync(self, states: Iterable[State]) -> None:
        """One state for each address family."""
        wanted: dict[int, tuple[str, str, set[str]]] = {}
        for state in states:
            for name, service in state.services.items():
                if service.health_check_port:
                    local = {e.ip for e in state.endpoints.get(name, ()) if e.local and (e.ready or (e.serving and e.terminating))}
                    _, _, known = wanted.setdefault(service.health_check_port, (name.namespace, name.name, set()))
                    known.update(local)
        for number in self._ports.keys() - wanted.keys():
            await self._ports.pop(number).runner.cleanup()
        self._refused &= wanted.keys()
        for number, (namespace, service_name, local) in wanted.items():
            port = self._ports.get(number)
            if port is None:
                try:
                    runner = await start((self._hosts, number), {"/{path:.*}": self._answer_for(number)})
                except OSError as error:
                    self._report(namespace, service_name, number, error)
                    continue
                self._refused.discard(number)
                port = self._ports[number] = _Port(runner, namespace, service_name, 0)
            families = [sum(":" in ip for ip in local), sum(":" not in ip for ip in local)]
            port.namespace, port.name, port.count = namespace, service_name, max(families)  # a pod with both addresses is one

    def _report(self, namespace: str, name: str, number: int, error: OSError) -> None:
        log.error("Cannot serve a health-check node port", error, service=f"{namespace}/{name}", port=number)
        if self._recorder is not None and number not in self._refused:
            about = {"kind": "Service", "metadata": {"namespace": namespace, "name": name, "uid": f"{namespace}/{name}"}}
            self._recorder.event(about, "Warning", "FailedToStartServiceHealthcheck",
                                 f'node {self._node} failed to start healthcheck "{namespace}/{name}" on port {number}: {error}')
        self._refused.add(number)

    def _answer_for(self, number: int) -> object:
        async def answer(request: web.Request) -> web.Response:
            port = self._ports[number]
            healthy = self._health.healthy()
            body = orjson.dumps({"service": {"namespace": port.namespace, "name": port.name}, "localEndpoints": port.count,
                                 "serviceProxyHealthy": healthy})
            return web.Response(status=200 if port.count and healthy else 503, body=body, content_type="application/json", headers={
                "X-Content-Type-Options": "nosniff", "X-Load-Balancing-Endpoint-Weight": str(port.count)})

        return answer

    async def stop(self) -> None:
        for port in self._ports.values():
            await port.runner.cleanup()
        self._ports.clear()
