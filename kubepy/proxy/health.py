"""What kube-proxy serves: its own health and metrics, and the health-check ports of Services with a Local external policy."""
from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import orjson
from aiohttp import web

from kubepy.base import metrics
from kubepy.base.clock import Clock, format_micro_time
from kubepy.base.log import get_logger
from kubepy.base.metrics import Counter
from kubepy.client.events import Recorder
from kubepy.proxy import metric, serving
from kubepy.proxy.model import Family, State

log = get_logger("proxy-health")


class ProxyHealth:
    """Healthy while every queued change of every family is written within `patience` seconds.

    Known difference: until the first write /healthz is not fine yet, so that a load balancer waits for the rules; /livez is."""

    def __init__(self, clock: Clock, patience: float, families: Iterable[Family] = ("IPv4",)) -> None:
        self._clock, self._patience = clock, patience
        self._queued: dict[Family, float | None] = dict.fromkeys(families)
        self._updated: dict[Family, float] = dict.fromkeys(self._queued, 0.0)
        self.eligible = True
        """False once the node is being deleted: load balancers should stop sending traffic."""

    def queued(self) -> None:
        now = self._clock.now()
        for family, since in self._queued.items():
            if since is None:
                self._queued[family] = now

    def updated(self, family: Family = "IPv4") -> None:
        self._queued[family], self._updated[family] = None, self._clock.now()

    def started(self) -> bool:
        """Whether rules have been written, or are about to be."""
        return all(self._updated[family] or since is not None for family, since in self._queued.items())

    def alive(self) -> bool:
        return all(map(self._timely, self._queued))

    def healthy(self) -> bool:
        return self.started() and self.alive()

    def _timely(self, family: Family) -> bool:
        since = self._queued[family]
        return since is None or self._clock.now() - since < self._patience

    def _body(self, healthy: bool, **more: object) -> bytes:
        now = self._clock.now()
        shown = now if healthy else max(self._updated.values())
        status = {family: {"lastUpdated": _shown(updated), "healthy": self._timely(family)}
                  for family, updated in self._updated.items()}
        return orjson.dumps({"lastUpdated": _shown(shown), "currentTime": format_micro_time(now), **more, "healthy": healthy,
                             "status": status})

    async def answer_healthz(self, request: web.Request) -> web.Response:
        healthy = self.healthy()
        return _answer(metric.HEALTHZ, healthy and self.eligible, self._body(healthy, nodeEligible=self.eligible))

    async def answer_livez(self, request: web.Request) -> web.Response:
        alive = self.alive()
        return _answer(metric.LIVEZ, alive, self._body(alive))


def _shown(moment: float) -> str:
    return format_micro_time(moment) if moment else "0001-01-01T00:00:00Z"


def _answer(counted: Counter, fine: bool, body: bytes) -> web.Response:
    status = 200 if fine else 503
    counted.labels(str(status)).inc()
    return web.Response(status=status, body=body, content_type="application/json", headers={"X-Content-Type-Options": "nosniff"})


async def answer_metrics(request: web.Request) -> web.Response:
    return web.Response(body=metrics.render(), headers={"Content-Type": metrics.CONTENT_TYPE})


@dataclass(slots=True)
class _Port:
    runner: web.AppRunner
    hosts: tuple[str, ...]
    namespace: str = ""
    name: str = ""
    count: int = 0


class HealthCheckPorts:
    """One small server per health-check node port, on the addresses of node ports: 200 while this node has local endpoints, else 503. A
    port that somebody else has is reported by an event."""

    def __init__(self, health: ProxyHealth, recorder: Recorder | None = None, node: str = "") -> None:
        self._health, self._recorder, self._node = health, recorder, node
        self._ports: dict[int, _Port] = {}
        self._refused: set[int] = set()

    async def sync(self, states: Sequence[State]) -> None:
        """One state for each address family."""
        hosts = _hosts(states)
        wanted: dict[int, tuple[str, str, set[str]]] = {}
        for state in states:
            for name, service in state.services.items():
                if service.health_check_port:
                    local = {e.ip for e in state.endpoints.get(name, ()) if e.local and (e.ready or (e.serving and e.terminating))}
                    _, _, known = wanted.setdefault(service.health_check_port, (name.namespace, name.name, set()))
                    known.update(local)
        for number in [number for number, port in self._ports.items() if number not in wanted or port.hosts != hosts]:
            await self._ports.pop(number).runner.cleanup()
        self._refused &= wanted.keys()
        for number, (namespace, service_name, local) in wanted.items():
            port = self._ports.get(number)
            if port is None:
                try:
                    runner = await serving.start((hosts, number), {"/{path:.*}": self._answer_for(number)})
                except OSError as error:
                    self._report(namespace, service_name, number, error)
                    continue
                self._refused.discard(number)
                port = self._ports[number] = _Port(runner, hosts)
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


def _hosts(states: Sequence[State]) -> tuple[str, ...]:
    """What node ports answer on; "" stands for every address."""
    if not any(state.node.addresses for state in states):
        return ("",)
    return tuple(host for state in states for host in state.node.addresses or ("::" if state.family == "IPv6" else "0.0.0.0",))
