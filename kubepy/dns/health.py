"""Plain HTTP for probes and metrics: `/health`, `/ready` (it answers questions) and `/metrics`, at CoreDNS' paths."""
from __future__ import annotations

from collections.abc import Callable

from aiohttp import web

from kubepy.base import metrics
from kubepy.dns.upstream import parse_address


async def serve_health(address: str, why_not: Callable[[], str]) -> web.AppRunner:
    """`why_not` says what keeps it from being ready, "" when nothing does. Raises OSError."""
    async def healthy(request: web.Request) -> web.Response:
        return web.Response(text="OK")

    async def ready(request: web.Request) -> web.Response:
        problem = why_not()
        return web.Response(status=503, text=problem) if problem else web.Response(text="OK")

    async def measured(request: web.Request) -> web.Response:
        return web.Response(body=metrics.render(), headers={"Content-Type": metrics.CONTENT_TYPE})

    app = web.Application()
    for path in ("/health", "/healthz", "/livez"):
        app.router.add_get(path, healthy)
    for path in ("/ready", "/readyz"):
        app.router.add_get(path, ready)
    app.router.add_get("/metrics", measured)
    runner = web.AppRunner(app, access_log=None, handle_signals=False)
    await runner.setup()
    host, port = parse_address(address, 10054)
    await web.TCPSite(runner, host, port).start()
    return runner
