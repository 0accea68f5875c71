"""What custom resources cost: `python -m tests.bench.custom [--definitions 500] [--check]` prints a line for each figure.

A custom resource is asked for side by side with a built-in kind of the same content, on the same server; definitions are made, the server
is started anew with them, and requests that have nothing to do with them are timed again. CPU is the server's own.
"""
from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from tests.apiserver import ApiServer
from tests.etcd import Etcd

START_SECONDS = 2.0
"""What 500 definitions may add to the server's start."""
RATIO = 1.25
"""How much more than a built-in kind a custom one may cost."""
GROWTH = 1.15
"""How much more other requests may cost with the definitions there."""
FIELDS = {f"field{number}": {"type": "string", "maxLength": 100} for number in range(20)}


def definition(number: int, *, rules: bool = False) -> dict[str, Any]:
    group, names = "bench.example.com", {"plural": f"things{number}", "singular": f"thing{number}", "kind": f"Thing{number}"}
    data: dict[str, Any] = {"type": "object", "properties": FIELDS}
    if rules:
        data["x-kubernetes-validations"] = [
            {"rule": "self.field0 != self.field1"}, {"rule": "self.field2.startsWith('value') && size(self.field3) < 100"},
            {"rule": "!has(self.field19) || self.field19.matches('^[a-z0-9 ]+$')"}]
    schema = {"type": "object", "properties": {"data": data, "spec": {"type": "object", "properties": {
        "items": {"type": "array", "items": {"type": "object", "properties": FIELDS}}}}}}
    return {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": f"things{number}.{group}"},
            "spec": {"group": group, "scope": "Namespaced", "names": names, "versions": [
                {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}]}}


def thing(name: str, api_version: str, kind: str) -> bytes:
    data = {field: f"value {number} of this one" for number, field in enumerate(FIELDS)}
    return orjson.dumps({"apiVersion": api_version, "kind": kind, "metadata": {"name": name, "labels": {"app": "bench"}}, "data": data})


class Bench:
    def __init__(self, server: ApiServer, session: aiohttp.ClientSession, seconds: float) -> None:
        self._server, self._session, self._seconds = server, session, seconds
        assert server.process is not None
        self._pid = server.process.pid

    def cpu_ms(self) -> float:
        return sum(int(path.read_text().split()[0]) for path in Path(f"/proc/{self._pid}/task").glob("*/schedstat")) / 1e6

    async def ask(self, method: str, path: str, body: bytes | None = None, content: str = "application/json") -> bytes:
        async with self._session.request(method, self._server.url + path, data=body, headers={"Content-Type": content}) as answer:
            text = await answer.read()
            if answer.status >= 300:
                raise RuntimeError(f"{method} {path}: {answer.status} {text[:500]!r}")
            return text

    async def cost(self, one: Callable[[int], Awaitable[Any]]) -> float:
        """Milliseconds of the server's CPU for a request."""
        numbers = iter(range(1_000_000_000))
        for _ in range(5):
            await one(next(numbers))
        count, began, end = 0, self.cpu_ms(), time.monotonic() + self._seconds
        while time.monotonic() < end:
            await asyncio.gather(*(one(next(numbers)) for _ in range(4)))
            count += 4
        return (self.cpu_ms() - began) / count

    async def kind(self, path: str, api_version: str, kind: str, prefix: str) -> dict[str, float]:
        """Of one kind, with 500 objects of it in a namespace of their own."""
        listed = path.replace("/default/", "/listed/")
        for number in range(500):
            await self.ask("POST", listed, thing(f"l{number}", api_version, kind))
        name = f"{prefix}-one"
        await self.ask("POST", path, thing(name, api_version, kind))
        merge = "application/merge-patch+json"
        return {
            "get": await self.cost(lambda number: self.ask("GET", f"{path}/{name}")),
            "create": await self.cost(lambda number: self.ask("POST", path, thing(f"{prefix}{number}", api_version, kind))),
            "patch": await self.cost(lambda number: self.ask(
                "PATCH", f"{path}/{prefix}{number % 40}", b'{"data":{"field5":"value changed %d"}}' % number, merge)),
            "list (500)": await self.cost(lambda number: self.ask("GET", listed)),
        }


def said(name: str, text: str, good: bool) -> bool:
    print(f"{name:44} {text}{'' if good else '   over budget'}", flush=True)
    return good


async def side_by_side(server: ApiServer, options: argparse.Namespace) -> tuple[bool, dict[str, float]]:
    good = True
    async with session(server) as opened:
        bench = Bench(server, opened, options.seconds)
        await bench.ask("POST", "/api/v1/namespaces", orjson.dumps({"metadata": {"name": "listed"}}))
        for number in (0, 1):
            made = definition(number, rules=number == 1)
            await bench.ask("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", orjson.dumps(made))
        await asyncio.sleep(2)
        plain = await bench.kind("/api/v1/namespaces/default/configmaps", "v1", "ConfigMap", "m")
        kinds = [await bench.kind(f"/apis/bench.example.com/v1/namespaces/default/things{number}", "bench.example.com/v1",
                                  f"Thing{number}", "t") for number in (0, 1)]
        for request, cost in plain.items():
            custom, ruled = (kind[request] for kind in kinds)
            good &= said(f"{request}: built in, custom, with three rules", f"{cost:6.3f} {custom:6.3f} {ruled:6.3f} ms",
                         custom <= cost * RATIO and ruled <= cost * 2)
    return good, plain


async def others(server: ApiServer, options: argparse.Namespace, before: dict[str, float]) -> bool:
    path, good = "/api/v1/namespaces/default/configmaps", True
    async with session(server) as opened:
        bench = Bench(server, opened, options.seconds)
        costs = {"get": await bench.cost(lambda number: bench.ask("GET", f"{path}/m-one")),
                 "create": await bench.cost(lambda number: bench.ask("POST", path, thing(f"n{number}", "v1", "ConfigMap")))}
        for request, cost in costs.items():
            good &= said(f"{request} of a config map, without and with them", f"{before[request]:6.3f} {cost:6.3f} ms",
                         cost <= before[request] * GROWTH)
        began = time.monotonic()
        await bench.ask("GET", "/openapi/v3/apis/bench.example.com/v1")
        said("their OpenAPI, the first time", f"{time.monotonic() - began:6.2f} s", True)
    return good


async def define(server: ApiServer, count: int) -> float:
    async with session(server) as opened:
        bench, began = Bench(server, opened, 1), time.monotonic()
        for number in range(2, count):
            made = definition(number, rules=number % 2 == 1)
            await bench.ask("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", orjson.dumps(made))
        return time.monotonic() - began


def session(server: ApiServer) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(headers={"Authorization": f"Bearer {server.token}"}, connector=aiohttp.TCPConnector(ssl=False, limit=8))


def started(etcd: Etcd, times: int = 3) -> float:
    """Seconds until a server on this etcd is ready, the best of some starts."""
    found = []
    for _ in range(times):
        server = ApiServer(FLAG, etcd=etcd)
        began = time.monotonic()
        with server:
            found.append(time.monotonic() - began)
    return min(found)


FLAG = "--disable-admission-plugins=ServiceAccount"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--definitions", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=2.0, help="how long each figure is measured")
    parser.add_argument("--check", action="store_true", help="fail when something is over budget")
    options = parser.parse_args()
    etcd = Etcd()
    etcd.start()
    try:
        with ApiServer(FLAG, etcd=etcd) as server:
            good, plain = asyncio.run(side_by_side(server, options))
        empty = started(etcd)
        with ApiServer(FLAG, etcd=etcd) as server:
            spent = asyncio.run(define(server, options.definitions))
        said(f"making {options.definitions} definitions", f"{spent:6.1f} s", True)
        full = started(etcd)
        good &= said(f"start without and with {options.definitions} definitions", f"{empty:6.2f} {full:6.2f} s",
                     full - empty <= START_SECONDS)
        with ApiServer(FLAG, etcd=etcd) as server:
            good &= asyncio.run(others(server, options, plain))
    finally:
        etcd.stop()
    return 0 if good or not options.check else 1


if __name__ == "__main__":
    sys.exit(main())
