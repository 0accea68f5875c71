"""Plain HTTP for health and metrics."""
from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

from aiohttp import web

from kubepy.base.clock import Clock

RETRY = 5.0
"""Seconds until an address that somebody else has is tried again."""

Routes = Mapping[str, object]


async def start(address: tuple[str | Sequence[str], int], routes: Routes) -> web.AppRunner:
    """Serves on one address, several, or with "" all of either family. Raises OSError."""
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


async def keep(address: tuple[str, int], routes: Routes, clock: Clock, refused: Callable[[OSError], None]) -> None:
    """Serves until cancelled, as soon as the address can be had; `refused` is told each time that it cannot, and may raise."""
    while True:
        try:
            runner = await start(address, routes)
        except OSError as error:
            refused(error)
            await clock.sleep(RETRY)
            continue
        try:
            await asyncio.Event().wait()
        finally:
            await runner.cleanup()
