"""What requests cost the API server: `python -m tests.bench.apiserver [--pods 1000 50000] [--check]` prints a line for each figure.

A real server process (TLS, RBAC, etcd on the same disk) is asked by clients in this process; CPU is the server's own, all its threads.
Given two numbers of pods it shows that requests whose answers stay the same cost the same (1,000 of the pods are in the namespace that
is asked), and what a stored pod costs in memory. Budgets are for 2 cores; `--check` allows twice as much.
"""
from __future__ import annotations

import argparse
import asyncio
import re
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from kubepy.apiserver.storage.etcd import EtcdKV
from tests.apiserver import ApiServer
from tests.etcd import Etcd

ASKED = 1_000
"""Pods in the namespace that is asked."""
BUDGET_MS = {"get": 0.25, "list (1,000)": 11, "list, consistent (1,000)": 15, "list, selected (10)": 1.1, "table (500)": 20, "create": 1.5,
             "patch": 1.5, "event to one of 100 watchers": 0.05}
GROWTH = 1.5
"""How much more a request may cost with all the pods than with the fewest."""
MEMORY = 1.6
"""Bytes of memory for a byte of a stored pod's JSON."""
PODS = "/api/v1/namespaces/asked/pods"
JSON = {"Content-Type": "application/json"}
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"


def pod(name: str, index: int) -> dict[str, Any]:
    """A pod of about 3.5 KB with what the server adds to it."""
    return {
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": f"app-{index % 100}", "tier": "web"}, "annotations": {"checksum/config": "9f86" * 16}},
        "spec": {"containers": [{
            "name": "web", "image": "nginx:1.25", "ports": [{"containerPort": 80, "name": "http"}],
            "env": [{"name": "A", "value": "b"}, {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
            "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"cpu": "500m", "memory": "256Mi"}},
            "livenessProbe": {"httpGet": {"path": "/healthz", "port": "http"}, "periodSeconds": 10},
            "volumeMounts": [{"name": "cfg", "mountPath": "/etc/cfg"}, {"name": "tmp", "mountPath": "/tmp"}]}],
            "volumes": [{"name": "cfg", "configMap": {"name": "web-config"}}, {"name": "tmp", "emptyDir": {}}],
            "tolerations": [{"key": "dedicated", "operator": "Exists", "effect": "NoSchedule"}]}}


class Bench:
    def __init__(self, server: ApiServer, session: aiohttp.ClientSession, seconds: float) -> None:
        self._server, self._session, self._seconds = server, session, seconds
        assert server.process is not None
        self._pid = server.process.pid
        self.cost: dict[str, float] = {}

    def cpu_ms(self) -> float:
        """CPU of all threads that run (nanoseconds from the scheduler, where ticks would be too coarse)."""
        return sum(int(path.read_text().split()[0]) for path in Path(f"/proc/{self._pid}/task").glob("*/schedstat")) / 1e6

    def memory(self) -> int:
        found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{self._pid}/status").read_text())
        assert found is not None
        return int(found[1]) * 1024

    async def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> bytes:
        async with self._session.request(method, self._server.url + path, data=body, headers=headers) as answer:
            text = await answer.read()
            if answer.status >= 300:
                raise RuntimeError(f"{method} {path}: {answer.status} {text[:500]!r}")
            return text

    async def measure(self, name: str, at_once: int, one: Callable[[int], Awaitable[Any]], events: int = 1) -> None:
        numbers = iter(range(1_000_000_000))
        for _ in range(3):
            await one(next(numbers))
        count, end = 0, time.monotonic() + self._seconds

        async def lane() -> None:
            nonlocal count
            for number in numbers:
                await one(number)
                count += 1
                if time.monotonic() >= end:
                    return

        before, began = self.cpu_ms(), time.monotonic()
        await asyncio.gather(*(lane() for _ in range(at_once)))
        spent, seconds = self.cpu_ms() - before, time.monotonic() - began
        self.cost[name] = spent / count / events
        print(f"  {name:32} {count / seconds:8.0f}/s {self.cost[name]:9.3f} ms CPU (budget {BUDGET_MS[name]})", flush=True)

    async def run(self) -> None:
        def create(number: int) -> Awaitable[bytes]:
            return self.ask("POST", "/api/v1/namespaces/new/pods", orjson.dumps(pod(f"new-{number}", 7)), **JSON)

        def patch(number: int, name: str = "pod-000001") -> Awaitable[bytes]:
            return self.ask("PATCH", f"{PODS}/{name}", b'{"metadata":{"labels":{"touched":"n%d"}}}' % number,
                            **{"Content-Type": "application/strategic-merge-patch+json"})

        await self.measure("get", 8, lambda number: self.ask("GET", f"{PODS}/pod-{number % ASKED:06}"))
        await self.measure("list (1,000)", 2, lambda _: self.ask("GET", PODS + "?resourceVersion=0"))
        await self.measure("list, consistent (1,000)", 2, lambda _: self.ask("GET", PODS))
        await self.measure("list, selected (10)", 4, lambda _: self.ask("GET", PODS + "?resourceVersion=0&labelSelector=app%3Dapp-7"))
        await self.measure("table (500)", 2, lambda _: self.ask("GET", PODS + "?limit=500", Accept=TABLE))
        await self.measure("create", 8, create)
        await self.measure("patch", 1, patch)
        watchers = 100
        async with asyncio.TaskGroup() as group:
            version = orjson.loads(await self.ask("GET", PODS + "?limit=1"))["metadata"]["resourceVersion"]
            ready = asyncio.Semaphore(0)
            tasks = [group.create_task(self._follow(version, ready)) for _ in range(watchers)]
            for _ in range(watchers):
                await ready.acquire()
            await self.measure("event to one of 100 watchers", 1, lambda number: patch(number, "pod-000002"), events=watchers)
            for task in tasks:
                task.cancel()
        # The write itself is not the watchers' cost.
        self.cost["event to one of 100 watchers"] -= self.cost["patch"] / watchers

    async def _follow(self, version: str, ready: asyncio.Semaphore) -> None:
        url = f"{self._server.url}{PODS}?watch=1&resourceVersion={version}"
        async with self._session.get(url, timeout=aiohttp.ClientTimeout(total=None)) as answer:
            ready.release()
            async for _ in answer.content.iter_any():
                pass


async def fill(etcd: Etcd, server: ApiServer, count: int) -> int:
    """Stores copies of a pod that the server made; answers the bytes of one. The first thousand are in the namespace `asked`."""
    kv = EtcdKV([etcd.url])
    try:
        async with session_of(server) as session:
            for name in ("asked", "new"):
                body = orjson.dumps({"metadata": {"name": name}})
                await session.post(server.url + "/api/v1/namespaces", data=body, headers=JSON)
            async with session.post(server.url + PODS, data=orjson.dumps(pod("pod-model", 0)), headers=JSON) as answer:
                model = orjson.loads(await answer.read())
        found = await kv.range(b"/registry/pods/asked/pod-model")
        raw = found.kvs[0].value.rstrip()
        uid = model["metadata"]["uid"].encode()

        async def lane(first: int) -> None:
            for index in range(first, count, 16):
                space = b"asked" if index < ASKED else b"space-%d" % (index % 50)
                name = b"pod-%06d" % index
                value = raw.replace(b"pod-model", name).replace(uid, b"%s%012d" % (uid[:-12], index)).replace(b'"asked"', b'"%s"' % space)
                await kv.put(b"/registry/pods/%s/%s" % (space, name), value.replace(b'"app-0"', b'"app-%d"' % (index % 100)), expected=0)

        await asyncio.gather(*(lane(first) for first in range(16)))
        return len(raw)
    finally:
        await kv.close()


def session_of(server: ApiServer) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=False, limit=0), headers={"Authorization": f"Bearer {server.token}"})


def measure(count: int, seconds: float) -> tuple[dict[str, float], int, int]:
    """The cost of each request (ms), the server's memory with all pods cached, and the bytes of one pod."""
    with Etcd() as etcd, ApiServer("--disable-admission-plugins=ServiceAccount", etcd=etcd) as server:
        print(f"{count:,} pods", flush=True)
        size = asyncio.run(fill(etcd, server, count))
        server.stop()
        server.launch()

        async def go() -> tuple[dict[str, float], int]:
            async with session_of(server) as session:
                bench = Bench(server, session, seconds)
                await bench.ask("GET", "/api/v1/pods?resourceVersion=0&limit=1&labelSelector=none")  # waits until all are cached
                await asyncio.sleep(1)
                memory = bench.memory()
                await bench.run()
                return bench.cost, memory

        cost, memory = asyncio.run(go())
        print(f"  memory {memory >> 20} MB, {size} bytes a pod", flush=True)
        return cost, memory, size


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pods", type=int, nargs="+", default=[ASKED], help="how many pods are stored; two numbers are compared")
    parser.add_argument("--seconds", type=float, default=3, help="how long each request is measured")
    parser.add_argument("--check", action="store_true", help="fail beyond twice the budgets, or where costs grow with what is stored")
    options = parser.parse_args()
    runs = [measure(max(count, ASKED), options.seconds) for count in sorted(options.pods)]
    few, many = runs[0], runs[-1]
    failures = [f"{name}: {cost:.3f} ms" for cost_of, _, _ in runs for name, cost in cost_of.items() if cost > 2 * BUDGET_MS[name]]
    if len(runs) > 1:
        for name, cost in many[0].items():
            growth = cost / few[0][name]
            print(f"{name:34} × {growth:.2f}")
            if growth > GROWTH:
                failures.append(f"{name} grows: × {growth:.2f}")
        ratio = (many[1] - few[1]) / (max(options.pods) - max(min(options.pods), ASKED)) / many[2]
        print(f"memory for a byte of a stored pod's JSON: {ratio:.2f}")
        if ratio > MEMORY:
            failures.append(f"memory: {ratio:.2f} bytes a byte")
    print("\n".join(failures) or "within the budgets")
    return 1 if failures and options.check else 0


if __name__ == "__main__":
    sys.exit(main())
