"""What storage costs: `python -m tests.bench.storage [--etcd URL]` prints a line for each figure; CPU is this process's own.

Budgets (2 cores; checked with --check, with a factor of two for slow machines) are per operation on pods of about 3.5 KB.
"""
from __future__ import annotations

import argparse
import asyncio
import gc
import sys
import time
import tracemalloc
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson
import uvloop

from kubepy.api.resource import PODS
from kubepy.api.types import Object
from kubepy.apiserver.storage.backend import Backend
from kubepy.apiserver.storage.entry import Codec, join
from kubepy.apiserver.storage.interface import Entry
from kubepy.apiserver.storage.memory import MemoryKV
from kubepy.apiserver.storage.store import Store
from tests.etcd import Etcd

BUDGET_US = {"get by quorum, 32 at a time": 120, "list 2,000 (cached, joined)": 6_000, "list 2,000 (consistent, joined)": 30_000,
             "create, 16 at a time": 700, "update, 16 at a time": 700, "event to one of 200 watchers": 5}
SELECTABLE: dict[str, Callable[[Object], str]] = {
    "spec.nodeName": lambda pod: str(pod["spec"].get("nodeName", "")), "spec.restartPolicy": lambda pod: str(pod["spec"]["restartPolicy"]),
    "spec.schedulerName": lambda pod: str(pod["spec"]["schedulerName"]), "status.phase": lambda pod: str(pod["status"]["phase"]),
    "spec.serviceAccountName": lambda pod: str(pod["spec"].get("serviceAccountName", "")),
    "status.podIP": lambda pod: str(pod["status"].get("podIP", "")), "spec.hostNetwork": lambda pod: "false",
}


def pod(index: int) -> Object:
    """A pod of about 3.5 KB as it looks when it runs."""
    env = [{"name": f"VARIABLE_{number}", "value": f"value-of-the-variable-{number}-{index}"} for number in range(14)]
    conditions = [{"type": kind, "status": "True", "lastProbeTime": None, "lastTransitionTime": "2026-01-01T00:00:00Z"}
                  for kind in ("Initialized", "Ready", "ContainersReady", "PodScheduled", "PodReadyToStartContainers")]
    return {
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": f"web-{index:06}-{index * 7919 % 99991:05}", "namespace": f"ns-{index % 10}",
                     "uid": f"5d2cf7a6-0000-4000-8000-{index:012}", "creationTimestamp": "2026-01-01T00:00:00Z", "generation": 1,
                     "labels": {"app": f"web-{index % 20}", "pod-template-hash": f"h{index % 20}"},
                     "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": f"web-{index % 20}", "uid": "u",
                                          "controller": True, "blockOwnerDeletion": True}],
                     "managedFields": [{"manager": "kubelet", "operation": "Update", "apiVersion": "v1", "subresource": "status",
                                        "fieldsType": "FieldsV1", "fieldsV1": {"f:status": {f"f:field{n}": {} for n in range(40)}}}]},
        "spec": {"nodeName": f"node-{index % 100}", "restartPolicy": "Always", "schedulerName": "default-scheduler",
                 "serviceAccountName": "default", "containers": [{
                     "name": "web", "image": "web:1", "env": env, "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}},
                     "volumeMounts": [{"name": "kube-api-access", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}]}]},
        "status": {"phase": "Running", "podIP": f"10.244.{index // 250 % 250}.{index % 250}", "conditions": conditions,
                   "containerStatuses": [{"name": "web", "ready": True, "restartCount": 0, "containerID": f"containerd://{index:064}"}]},
    }


class Report:
    def __init__(self) -> None:
        self.cpu_us: dict[str, float] = {}

    async def measure(self, name: str, count: int, work: Callable[[], Awaitable[Any]], per: str = "") -> None:
        gc.collect()
        wall, cpu = time.perf_counter(), time.process_time()
        await work()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        self.cpu_us[name] = cpu / count * 1e6
        budget = f"  (budget {BUDGET_US[name]})" if name in BUDGET_US else ""
        print(f"{name:42} {count / wall:10.0f}/s {cpu / count * 1e6:10.1f} µs CPU{budget} {per}", flush=True)


async def many(count: int, at_once: int, one: Callable[[int], Awaitable[Any]]) -> None:
    async def lane(first: int) -> None:
        for index in range(first, count, at_once):
            await one(index)

    await asyncio.gather(*(lane(first) for first in range(at_once)))


async def bump(entry: Entry) -> Object:
    obj = entry.decode()
    obj["spec"]["n"] = obj["spec"].get("n", 0) + 1
    return obj


async def joined(store: Store, **how: Any) -> int:
    page = await store.list(None, **how)
    return len(join(page.entries, bare=True))


async def selected(store: Store, index: int) -> None:
    app = f"web-{index % 20}"

    def matches(labels: Mapping[str, str]) -> bool:
        return labels.get("app") == app

    page = await store.list(None, match=lambda entry: matches(entry.labels), labels=matches)
    join(page.entries, bare=True)


async def speed(store: Store, report: Report) -> None:
    await store.ready()
    pods = [pod(index) for index in range(2_000)]
    print(f"a pod is {len(orjson.dumps(pods[0]))} bytes")

    def where(index: int) -> tuple[str, str]:
        return pods[index]["metadata"]["namespace"], pods[index]["metadata"]["name"]

    await report.measure("create, 16 at a time", 2_000, lambda: many(2_000, 16, lambda i: store.create(*where(i), pods[i])))
    await store.cache.wait((await store.get(*where(0))).revision)
    await store.list(None)
    await report.measure("update, 16 at a time", 1_000, lambda: many(1_000, 16, lambda i: store.update(*where(i), bump)))
    await store.list(None)
    await report.measure("get by quorum, one at a time", 500, lambda: many(500, 1, lambda i: store.get(*where(i))))
    await report.measure("get by quorum, 32 at a time", 4_000, lambda: many(4_000, 32, lambda i: store.get(*where(i % 2_000))))
    await report.measure("get, resourceVersion=0", 20_000, lambda: many(20_000, 1, lambda i: store.get(*where(i % 2_000),
                                                                                                     resource_version="0")))
    await report.measure("list 2,000 (cached, joined)", 30, lambda: many(30, 1, lambda i: joined(store, resource_version="0")))
    await report.measure("list 2,000 (consistent, joined)", 30, lambda: many(30, 1, lambda i: joined(store)))
    await report.measure("list first 500 (consistent, joined)", 30, lambda: many(30, 1, lambda i: joined(store, limit=500)))
    await report.measure("list 100 of 2,000 (consistent), one at a time", 100, lambda: many(100, 1, lambda i: selected(store, i)))
    await report.measure("list 100 of 2,000 (consistent), 8 at a time", 400, lambda: many(400, 8, lambda i: selected(store, i)))
    await report.measure("list one of 10 namespaces (consistent)", 30, lambda: many(30, 1, lambda i: store.list("ns-1")))
    await fan_out(store, report, where)


async def fan_out(store: Store, report: Report, where: Callable[[int], tuple[str, str]]) -> None:
    start = (await store.list(None)).revision
    watchers = [await store.watch(None, None, after=start) for _ in range(200)]
    length = 300

    async def read(index: int) -> None:
        got = 0
        while got < length:
            for event in await watchers[index].next(10):
                got += 1
                event.frame(event.type)

    async def work() -> None:
        readers = asyncio.gather(*(read(index) for index in range(200)))
        await many(length, 8, lambda i: store.update(*where(i), bump))
        await readers

    await report.measure("event to one of 200 watchers", 200 * length, work, "(the updates included)")
    for watcher in watchers:
        watcher.close()


async def memory() -> float:
    """Bytes per stored pod as a multiple of its JSON."""
    raw = [(orjson.dumps(pod(index)), index) for index in range(10_000)]
    backend = Backend(MemoryKV())
    store = backend.store(PODS, SELECTABLE)
    await store.ready()
    codec = Codec(SELECTABLE)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    total = 0
    for text, index in raw:
        value = bytes(bytearray(text))
        entry = codec.entry(value, index + 2)
        store.cache._put(entry.key, entry, None)
        total += len(value)
    used = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    print(f"memory of 10,000 pods                      {used / 1e6:10.1f} MB for {total / 1e6:.1f} MB of JSON: × {used / total:.2f}")
    started = time.perf_counter()
    gc.collect()
    print(f"full garbage collection                    {(time.perf_counter() - started) * 1e3:10.1f} ms")
    await backend.close()
    return used / total


async def run(url: str, check: bool) -> int:
    report = Report()
    backend = Backend.etcd([url], prefix=f"/bench-{time.time_ns()}")
    await speed(backend.store(PODS, SELECTABLE), report)
    await backend.close()
    ratio = await memory()
    over = [name for name, budget in BUDGET_US.items() if report.cpu_us[name] > 2 * budget]
    if ratio > 1.6:
        over.append("memory")
    if check and over:
        print(f"over budget: {', '.join(over)}")
        return 1
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description="Measures the storage layer on a real etcd.")
    parser.add_argument("--etcd", default="", help="URL of an etcd to use; by default one is started")
    parser.add_argument("--check", action="store_true", help="fail when a figure is over twice its budget")
    arguments = parser.parse_args()
    if arguments.etcd:
        return uvloop.run(run(arguments.etcd, arguments.check))
    with Etcd() as etcd:
        return uvloop.run(run(etcd.url, arguments.check))


if __name__ == "__main__":
    sys.exit(main())
