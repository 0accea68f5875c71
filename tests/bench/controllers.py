#!/usr/bin/env python3
"""The controller manager at scale, on hollow nodes: `controllers.py [rollout many namespace idle failover …]`.

    rollout     a Deployment of 5,000 replicas rolls over
    many        1,000 Deployments at once
    idle        what the manager costs while those pods just run (60 s)
    namespace   a namespace with 10,000 objects is deleted
    failover    the manager is killed at bad moments, a second one takes over; nothing is made twice

Starts an API server on an etcd of its own and `kubepy controller-manager` with an identity for each controller; nodes are pretended by
this process. Prints a line of JSON for each scenario: seconds, the manager's CPU and memory. CPU is that of the manager's process only.
"""
from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import orjson

from kubepy.api.errors import NotFound
from kubepy.api.resource import CONFIGMAPS, DEPLOYMENTS, JOBS, LEASES, NAMESPACES, PODS, REPLICA_SETS, SECRETS, STATEFUL_SETS, Resource
from kubepy.api.types import Object
from kubepy.client.http import HttpClient
from kubepy.client.kubeconfig import load
from kubepy.controllers.kit.batch import at_once
from tests.apiserver import ApiServer
from tests.integration.controllers.hollow import HollowNodes
from tests.integration.controllers.manager import Manager


class Meter:
    """What passes between two moments."""

    def __init__(self, manager: Manager) -> None:
        self._manager, self._cpu, self._time = manager, manager.cpu(), time.monotonic()

    def read(self, pods: int = 0) -> dict[str, Any]:
        cpu, wall = self._manager.cpu() - self._cpu, time.monotonic() - self._time
        found = {"seconds": round(wall, 1), "cpu_seconds": round(cpu, 2), "peak_mb": self._manager.memory()}
        if pods:
            return found | {"pods_created": pods, "cpu_ms_per_pod": round(cpu * 1000 / pods, 2)}
        return found | {"core_percent": round(cpu / wall * 100, 2)}


def template(image: str, labels: dict[str, str]) -> Object:
    container = {"name": "c", "image": image, "ports": [{"containerPort": 80}], "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}}}
    return {"metadata": {"labels": labels}, "spec": {"terminationGracePeriodSeconds": 1, "containers": [container]}}


def deployment(name: str, replicas: int, namespace: str = "default", image: str = "one") -> Object:
    return {"metadata": {"name": name, "namespace": namespace}, "spec": {
        "replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template(image, {"app": name})}}


async def until(what: str, check: Callable[[], Awaitable[bool]], timeout: float, every: float = 0.5) -> None:
    async with asyncio.timeout(timeout):
        while not await check():  # noqa: ASYNC110
            await asyncio.sleep(every)


async def complete(client: HttpClient, name: str, replicas: int) -> bool:
    found = await client.get(DEPLOYMENTS, name, "default")
    status = found.get("status") or {}
    return (status.get("observedGeneration") == found["metadata"]["generation"]
            and all(status.get(field, 0) == replicas for field in ("replicas", "updatedReplicas", "availableReplicas")))


async def settled(client: HttpClient, manager: Manager) -> bool:
    """It has started its controllers and has nothing more to do."""
    before = manager.cpu()
    await asyncio.sleep(3)
    found = await client.list(CONFIGMAPS, "default")
    return bool(found["items"]) and manager.cpu() - before < 0.15


class Bench:
    def __init__(self, options: argparse.Namespace, server: ApiServer, manager: Manager, client: HttpClient) -> None:
        self.options, self.server, self.manager, self.client = options, server, manager, client

    async def rollout(self) -> dict[str, Any]:
        size = self.options.replicas
        meter = Meter(self.manager)
        await self.client.create(DEPLOYMENTS, deployment("big", size))
        await until("all run", lambda: complete(self.client, "big", size), 1200, 1)
        created = meter.read(size)
        meter = Meter(self.manager)
        await self.client.patch(DEPLOYMENTS, "big", {"spec": {"template": template("two", {"app": "big"})}}, "default")
        await until("rolled over", lambda: complete(self.client, "big", size), 1800, 1)
        return {"replicas": size, "create": created, "roll": meter.read(size)}

    async def many(self) -> dict[str, Any]:
        count, replicas = self.options.deployments, self.options.each
        meter = Meter(self.manager)

        async def create(number: int) -> None:
            await self.client.create(DEPLOYMENTS, deployment(f"many-{number}", replicas))

        errors = await at_once(range(count), create)
        assert not errors, errors[:3]

        async def ready() -> bool:
            found = await self.client.list(DEPLOYMENTS, "default", resource_version="0")
            mine = [item for item in found["items"] if item["metadata"]["name"].startswith("many-")]
            return len(mine) == count and all((item.get("status") or {}).get("availableReplicas") == replicas for item in mine)

        await until("all available", ready, 900, 1)
        return {"deployments": count, "replicas": replicas, **meter.read(count * replicas)}

    async def idle(self) -> dict[str, Any]:
        await asyncio.sleep(20)
        meter = Meter(self.manager)
        await asyncio.sleep(60)
        found = await self.client.list(PODS, limit=1)
        return {"pods": 1 + int(found["metadata"].get("remainingItemCount") or 0), **meter.read(),
                "rss_mb": self.manager.memory("VmRSS")}

    async def namespace(self) -> dict[str, Any]:
        count = self.options.objects
        await self.client.create(NAMESPACES, {"metadata": {"name": "full"}})

        async def create(number: int) -> None:
            resource = CONFIGMAPS if number % 2 else SECRETS
            await self.client.create(resource, {"metadata": {"name": f"item-{number}", "namespace": "full"}})

        errors = await at_once(range(count), create)
        assert not errors, errors[:3]
        meter = Meter(self.manager)
        await self.client.delete(NAMESPACES, "full")

        async def gone() -> bool:
            try:
                await self.client.get(NAMESPACES, "full")
            except NotFound:
                return True
            return False

        await until("gone", gone, 600)
        return {"objects": count, **meter.read()}

    async def failover(self) -> dict[str, Any]:
        """With the default lease of 15 s: a second manager waits; the first is killed while it creates."""
        parts: dict[str, list[float]] = {"deployment": [], "statefulset": [], "job": []}
        led: list[float] = []
        standby = Manager(self.server, name="standby")
        active = self.manager
        for number, moment in enumerate((0.0, 0.05, 0.3)):
            standby.start()
            await asyncio.sleep(8)
            name = f"over-{number}"
            await self.client.create(DEPLOYMENTS, deployment(name, 60))
            await self.client.create(STATEFUL_SETS, {"metadata": {"name": name, "namespace": "default"}, "spec": {
                "replicas": 4, "serviceName": name, "podManagementPolicy": "Parallel",
                "selector": {"matchLabels": {"set": name}}, "template": template("one", {"set": name})}})
            job = template("one", {"work": name})
            job["spec"]["restartPolicy"] = "Never"
            await self.client.create(JOBS, {"metadata": {"name": name, "namespace": "default"}, "spec": {
                "completions": 40, "parallelism": 10, "template": job}})
            await self._first(PODS, f"app={name}")
            await asyncio.sleep(moment)
            active.kill()
            began = time.monotonic()
            holder = await self._holder()
            await until("another leads", lambda h=holder: self._leads(h), 60, 0.2)  # type: ignore[misc]
            led.append(round(time.monotonic() - began, 1))
            for what in parts:
                await until(f"{what} goes on", lambda n=name, w=what: self._done(n, w), 120, 0.2)  # type: ignore[misc]
                parts[what].append(round(time.monotonic() - began, 1))
            for selector, wanted in ((f"app={name}", 60), (f"set={name}", 4), (f"work={name}", 40)):
                found = (await self.client.list(PODS, "default", label_selector=selector))["items"]
                assert len(found) == wanted, f"{selector}: {len(found)} pods instead of {wanted}"
            assert len((await self.client.list(REPLICA_SETS, "default", label_selector=f"app={name}"))["items"]) == 1
            active, standby = standby, Manager(self.server, name=f"standby-{number}")
        self.manager = active
        return {"seconds_to_lead": led, "seconds_to_converge": parts}

    async def _holder(self) -> str:
        lease = await self.client.get(LEASES, "kube-controller-manager", "kube-system")
        return str(lease["spec"].get("holderIdentity"))

    async def _leads(self, before: str) -> bool:
        return await self._holder() not in ("", before)

    async def _first(self, resource: Resource, selector: str) -> None:
        async def some() -> bool:
            return bool((await self.client.list(resource, "default", label_selector=selector))["items"])
        await until("first", some, 60, 0.02)

    async def _done(self, name: str, what: str) -> bool:
        """The Job takes four rounds, each of which waits a second for more news, as upstream's controller does."""
        if what == "deployment":
            return await complete(self.client, name, 60)
        if what == "statefulset":
            return bool(((await self.client.get(STATEFUL_SETS, name, "default")).get("status") or {}).get("availableReplicas") == 4)
        return bool(((await self.client.get(JOBS, name, "default")).get("status") or {}).get("succeeded") == 40)


async def run(options: argparse.Namespace, server: ApiServer, manager: Manager) -> None:
    client = HttpClient(load(server.kubeconfig))
    nodes = HollowNodes(client, options.nodes, workers=16)
    await nodes.start()
    bench = Bench(options, server, manager, client)
    try:
        await until("the manager works", lambda: settled(client, manager), 120, 2)
        for name in options.scenarios:
            result = await getattr(bench, name)()
            print(orjson.dumps({"scenario": name, **result}).decode(), flush=True)
    finally:
        await nodes.stop()
        await client.close()
        bench.manager.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenarios", nargs="*", default=["many", "namespace", "rollout", "idle", "failover"])
    parser.add_argument("--nodes", type=int, default=50)
    parser.add_argument("--replicas", type=int, default=5000)
    parser.add_argument("--deployments", type=int, default=1000)
    parser.add_argument("--each", type=int, default=1, help="replicas of each of them")
    parser.add_argument("--objects", type=int, default=10000)
    options = parser.parse_args()
    with ApiServer("--disable-admission-plugins=ServiceAccount") as server:
        manager = Manager(server)
        manager.start()
        try:
            asyncio.run(run(options, server, manager))
        except BaseException:
            print(manager.log()[-3000:], file=sys.stderr)
            raise
        finally:
            if manager.process is not None and manager.process.poll() is None:
                manager.kill()


if __name__ == "__main__":
    main()
