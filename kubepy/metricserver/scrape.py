"""Asks every kubelet for its resource use, a bounded number at a time, spread by nothing but their answers."""
from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from kubepy.api.errors import ApiError
from kubepy.api.node import kubelet_url
from kubepy.base.clock import Clock
from kubepy.base.log import get_logger
from kubepy.base.metrics import counter
from kubepy.client.http import HttpClient
from kubepy.client.kubeconfig import Config
from kubepy.client.store import Lister
from kubepy.metricserver.sample import Batch, Window, parse

log = get_logger("scrape")

PARALLEL = 32
SCRAPES = counter("metrics_server_kubelet_request_total", "Number of requests sent to Kubelet API", ("success",))


class Scraper:
    """`config` holds the identity and the authority; its server is replaced by each kubelet's."""

    def __init__(self, config: Config, nodes: Lister, window: Window, clock: Clock, *, resolution: float, timeout: float,
                 preferred: Sequence[str], use_status_port: bool, port: int) -> None:
        self._config, self._nodes, self._window, self._clock = config, nodes, window, clock
        self._resolution, self._timeout = resolution, timeout
        self._preferred, self._use_status_port, self._port = preferred, use_status_port, port
        self._clients: dict[str, HttpClient] = {}
        self.last = -1e9
        """When the last round ended (monotonic)."""

    async def run(self) -> None:
        while True:
            began = self._clock.monotonic()
            await self.once()
            self.last = self._clock.monotonic()
            early = not self._window.filled  # two moments are needed: the second comes soon at the start
            await self._clock.sleep(max((min(self._resolution, 5.0) if early else self._resolution) - (self.last - began), 0.1))

    async def once(self) -> None:
        gate = asyncio.Semaphore(PARALLEL)
        wanted = {}
        for node in self._nodes.list():
            if (url := kubelet_url(node, self._preferred, use_status_port=self._use_status_port, port=self._port)) is not None:
                wanted[node["metadata"]["name"]] = url
        for url in self._clients.keys() - set(wanted.values()):
            await self._clients.pop(url).close()

        async def one(name: str, url: str) -> tuple[str, Batch | None]:
            async with gate:
                return name, await self._ask(name, url)

        answers = await asyncio.gather(*(one(name, url) for name, url in wanted.items()))
        for name, batch in answers:
            if batch is not None:
                self._window.put(name, batch)
        self._window.keep_only({name for name, batch in answers if batch is not None})

    async def close(self) -> None:
        for client in self._clients.values():
            await client.close()

    async def _ask(self, name: str, url: str) -> Batch | None:
        client = self._clients.get(url)
        if client is None:
            client = self._clients[url] = HttpClient(replace(self._config, server=url), user_agent="metrics-server",
                                                     timeout=self._timeout, connections=2)
        try:
            text = await client.raw("GET", "/metrics/resource", headers={"Accept": "text/plain"})
        except (ApiError, ConnectionError, TimeoutError) as error:
            SCRAPES.labels("false").inc()
            log.warning("Cannot scrape a node", node=name, url=url, err=error)
            return None
        SCRAPES.labels("true").inc()
        return parse(text.decode(errors="replace"), self._clock.now())
