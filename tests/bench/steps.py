"""How many steps of Python a request takes: `python -m tests.bench.steps [--top 20] [--check]`.

Steps are bytecodes that the server executes from the request's first byte to its answer's last, its watch event included: what the
server's own code costs, the same on every machine however busy. A thousand steps take about 12 µs where nothing else runs, and
three times that where other processes take the caches. What C does (JSON, TLS, the event loop) and the kernel is not counted.
"""
from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
import orjson

from tests.apiserver import ApiServer
from tests.bench.apiserver import PODS, fill, pod, session_of
from tests.etcd import Etcd

BUDGET = {"get": 4_800, "create": 15_500, "patch": 15_500, "status": 15_500, "event to one of 50 watchers": 300}
WATCHERS = 50
COUNT = 50
Row = dict[str, list[int]]


class CountingServer(ApiServer):
    module = "tests.bench.steps_server"


class Bench:
    def __init__(self, server: ApiServer, session: aiohttp.ClientSession) -> None:
        self._server, self._session = server, session
        self._target = Path(os.environ["KUBEPY_STEPS"])

    async def ask(self, method: str, path: str, body: bytes | None = None, kind: str = "application/json") -> bytes:
        async with self._session.request(method, self._server.url + path, data=body, headers={"Content-Type": kind}) as answer:
            text = await answer.read()
            if answer.status >= 300:
                raise RuntimeError(f"{method} {path}: {answer.status} {text[:500]!r}")
            return text

    async def count(self, one: Callable[[int], Awaitable[object]]) -> Row:
        """The steps of COUNT requests, one after the other."""
        assert self._server.process is not None
        for number in range(20):  # what is made once is not counted
            await one(number)
        await asyncio.sleep(0.3)
        self._target.unlink(missing_ok=True)
        self._server.process.send_signal(signal.SIGUSR1)
        await asyncio.sleep(0.2)
        for number in range(COUNT):
            await one(1_000 + number)
        await asyncio.sleep(0.2)
        self._server.process.send_signal(signal.SIGUSR1)
        for _ in range(200):
            if self._target.exists():
                break
            await asyncio.sleep(0.05)
        found: Row = json.loads(self._target.read_text())
        return found

    async def run(self) -> dict[str, Row]:
        await self.ask("GET", "/api/v1/pods?resourceVersion=0&limit=1&labelSelector=none")  # waits until all are cached
        await self.ask("POST", PODS, orjson.dumps(pod("pod-1", 1)))
        await asyncio.sleep(2)  # who follows pods has read them all
        found = {
            "get": await self.count(lambda number: self.ask("GET", f"{PODS}/pod-1")),
            "create": await self.count(lambda number: self.ask("POST", PODS, orjson.dumps(pod(f"new-{number}", 7)))),
            "patch": await self.count(self._patch),
            "status": await self.count(lambda number: self.ask(
                "PATCH", f"{PODS}/pod-1/status", b'{"status":{"message":"n%d"}}' % number, "application/strategic-merge-patch+json")),
        }
        async with asyncio.TaskGroup() as group:
            version = orjson.loads(await self.ask("GET", PODS + "?limit=1"))["metadata"]["resourceVersion"]
            tasks = [group.create_task(self._follow(version)) for _ in range(WATCHERS)]
            await asyncio.sleep(2)
            found[f"event to one of {WATCHERS} watchers"] = await self.count(self._patch)
            for task in tasks:
                task.cancel()
        return found

    def _patch(self, number: int) -> Awaitable[bytes]:
        return self.ask("PATCH", f"{PODS}/pod-1", b'{"metadata":{"labels":{"touched":"n%d"}}}' % number,
                        "application/strategic-merge-patch+json")

    async def _follow(self, version: str) -> None:
        url = f"{self._server.url}{PODS}?watch=1&resourceVersion={version}"
        async with self._session.get(url, timeout=aiohttp.ClientTimeout(total=None)) as answer:
            async for _ in answer.content.iter_any():
                pass


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pods", type=int, default=1, help="how many pods are stored")
    parser.add_argument("--top", type=int, default=0, help="show the files and functions that take most")
    parser.add_argument("--check", action="store_true", help="fail beyond the budgets")
    options = parser.parse_args()
    with Etcd() as etcd:
        os.environ["KUBEPY_STEPS"] = str(Path(etcd.directory) / "steps.json")
        with CountingServer("--disable-admission-plugins=ServiceAccount", etcd=etcd) as server:
            asyncio.run(fill(etcd, server, options.pods))
            server.stop()
            server.launch()

            async def go() -> dict[str, Row]:
                async with session_of(server) as session:
                    return await Bench(server, session).run()

            found = asyncio.run(go())
    watched = f"event to one of {WATCHERS} watchers"
    steps = {name: sum(row[0] for row in rows.values()) / COUNT for name, rows in found.items()}
    steps[watched] = (steps[watched] - steps["patch"]) / WATCHERS
    failures = []
    for name, count in steps.items():
        print(f"{name:32} {count:8.0f} steps (budget {BUDGET[name]})")
        if options.top and name != watched:
            show(found[name], options.top)
        if count > BUDGET[name]:
            failures.append(f"{name}: {count:.0f} steps")
    print("\n".join(failures) or "within the budgets")
    return 1 if failures and options.check else 0


def show(rows: Row, top: int) -> None:
    files: Counter[str] = Counter()
    for name, (steps, _) in rows.items():
        files[name.rpartition(" ")[0]] += steps
    for name, count in files.most_common(top):
        print(f"    {count / COUNT:8.0f} {name}")
    for name, (steps, calls) in sorted(rows.items(), key=lambda item: -item[1][0])[:top]:
        print(f"    {steps / COUNT:8.0f} in {calls / COUNT:5.1f} calls {name}")


if __name__ == "__main__":
    sys.exit(main())
