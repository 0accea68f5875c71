#!/usr/bin/env python3
"""How long a backend takes to write rules: `proxy.py [--mode iptables|nftables|ipvs] [--services 1000] [--endpoints 10]
[--machine]`, as root.

Runs in a network namespace of its own. Prints one line of JSON: seconds for the first full write and
for one over rules that are there; milliseconds (median of ten) until one changed endpoint, one new Service and a write without changes
are done, each also as CPU of the proxy and the programs it runs (which other load changes less); and the milliseconds of CPU that one
look whether the rules are still there costs.
"""
from __future__ import annotations

import argparse
import asyncio
import ctypes
import gc
import os
import shlex
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import orjson

from deploy.machine import Machine
from kubepy.api.resource import ENDPOINT_SLICES, SERVICES
from kubepy.api.service import SERVICE_LABEL
from kubepy.base.clock import SystemClock
from kubepy.base.task import Tasks
from kubepy.client.informer import InformerFactory
from kubepy.client.memory import MemoryClient
from kubepy.proxy import mode
from kubepy.proxy.cache import StateCache
from kubepy.proxy.health import ProxyHealth
from kubepy.proxy.ipvs.kernel import set_addresses
from kubepy.proxy.model import LocalTraffic
from kubepy.proxy.syncer import Options, Syncer

CLONE_NEWNET = 0x40000000
ROOT = Path(__file__).resolve().parents[2]


def service(index: int) -> dict:
    ip = f"10.96.{index // 250}.{index % 250 + 1}"
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "ns", "name": f"svc-{index}"}, "spec": {
        "clusterIP": ip, "clusterIPs": [ip], "ports": [{"name": "http", "port": 80, "protocol": "TCP"}]}}


def endpoint_slice(index: int, count: int, generation: int = 0) -> dict:
    return {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"namespace": "ns", "name": f"svc-{index}-x", "labels": {SERVICE_LABEL: f"svc-{index}"}},
            "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}], "endpoints": [
                {"addresses": [f"10.{(index >> 8) + 1}.{index & 255}.{n + 1 + (generation if n == 0 else 0) * 20 % 200}"],
                 "nodeName": f"node-{n}", "conditions": {"ready": True}} for n in range(count)]}


async def rest(options: argparse.Namespace) -> float:
    """The share of a core that a proxy takes for whom nothing changes, with the programs it runs."""
    client, tasks, clock = MemoryClient(), Tasks("bench"), SystemClock()
    client.load(SERVICES, *(service(index) for index in range(options.services)))
    client.load(ENDPOINT_SLICES, *(endpoint_slice(index, options.endpoints) for index in range(options.services)))
    health = ProxyHealth(clock, 600)
    backend = mode.make(options.mode, mode.Settings(local=LocalTraffic("10.0.0.0/9")), "IPv4")
    syncer, factory = Syncer({"IPv4": backend}, Options(), clock, health), InformerFactory(client)
    syncer.register(factory)
    factory.start(tasks)
    tasks.keep(lambda: syncer.run(factory), "syncer")
    while not health.healthy() or not await backend.intact():  # noqa: ASYNC110 - the kernel is asked
        await asyncio.sleep(1)
    await asyncio.sleep(5)
    before, began = sum(os.times()[:4]), time.monotonic()
    await asyncio.sleep(options.rest)
    share = (sum(os.times()[:4]) - before) / (time.monotonic() - began)
    await tasks.stop()
    return share


async def measure(options: argparse.Namespace) -> dict:
    services, slices = {}, {}

    def add(index: int) -> str:
        key = f"ns/svc-{index}"
        services[key] = service(index)
        endpoints(index, 0)
        return key

    def endpoints(index: int, generation: int) -> str:
        key = f"ns/svc-{index}"
        slices[key] = [endpoint_slice(index, options.endpoints, generation)]
        return key

    cache = StateCache("IPv4", services.get, lambda key: slices.get(key, []))
    backend = mode.make(options.mode, mode.Settings(local=LocalTraffic("10.0.0.0/9")), "IPv4")

    def cpu() -> float:
        return sum(os.times()[:4])

    spent = []

    async def timed(keys: list[str]) -> float:
        began, before = time.perf_counter(), cpu()
        cache.refresh(keys)
        await backend.apply(cache.state)
        spent.append(cpu() - before)
        return time.perf_counter() - began

    first = await timed([add(index) for index in range(options.services)])
    changed = [await timed([endpoints(number * 7 % options.services, number)]) for number in range(1, 11)]
    added = [await timed([add(options.services + number)]) for number in range(10)]
    idle = [await timed([]) for _ in range(3)]
    backend.forget()
    again = await timed([])
    began = cpu()
    assert await backend.intact()
    look = cpu() - began
    return {"mode": options.mode, "services": options.services, "endpoints": options.endpoints,
            "full_s": round(first, 2), "full_cpu_s": round(spent[0], 2),
            "full_again_s": round(again, 2), "full_again_cpu_s": round(spent[-1], 2),
            "endpoint_cpu_ms": round(statistics.median(spent[1:11]) * 1000),
            "service_cpu_ms": round(statistics.median(spent[11:21]) * 1000),
            "endpoint_ms": round(statistics.median(changed) * 1000, 1), "service_ms": round(statistics.median(added) * 1000, 1),
            "idle_ms": round(statistics.median(idle) * 1000, 1), "look_cpu_ms": round(look * 1000)}


def calibrate() -> dict:
    """CPU seconds of fixed work, the least of three: Python that computes, and requests to the kernel of the kind that the proxy makes."""

    def spent(work) -> float:
        found = []
        for _ in range(3):
            before = sum(os.times()[:4])
            work()
            found.append(sum(os.times()[:4]) - before)
        return min(found)

    def compute() -> None:
        table = {}
        for number in range(600_000):
            table[f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"] = number

    def ask() -> None:
        index, ips = socket.if_nametoindex("lo"), [f"10.{number >> 8}.{number & 255}.1" for number in range(4000)]
        set_addresses("IPv4", index, ips, [])
        set_addresses("IPv4", index, [], ips)

    return {"python_s": spent(compute), "netlink_s": spent(ask)}


def in_machine(options: argparse.Namespace) -> None:
    """Runs all in a virtual machine (for IPVS), with the same fixed work there and here: how much slower it is."""
    words = shlex.join([sys.executable, "-m", "tests.bench.proxy", "--calibrate", "--mode", options.mode,
                        "--endpoints", str(options.endpoints), "--rest", str(options.rest)])
    sizes = [options.services] if options.services else [10, 1000, 5000]
    with tempfile.TemporaryDirectory(prefix="proxy-", dir=options.directory) as directory:
        machine = Machine(Path(directory), 1024)
        machine.start(f"cd {shlex.quote(str(ROOT))}\nexport PYTHONDONTWRITEBYTECODE=1\nset -e\n"
                      + "".join(f"{words} --services {size}\n" for size in sizes))
        try:
            assert not machine.wait(3600), machine.printed()
        finally:
            machine.stop()
        rows = [orjson.loads(line) for line in (machine.directory / "log").read_text().splitlines() if line.startswith("{")]
    if options.rest:
        print(*(orjson.dumps(row).decode() for row in rows), sep="\n")
        return
    here = calibrate()
    for row in rows:
        print(orjson.dumps({**row, "slower": {name: round(row["calibration"][name] / value, 1) for name, value in here.items()}}).decode())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mode", choices=mode.MODES, default="iptables")
    parser.add_argument("--services", type=int, default=0, help="default 1000; in a machine: 10, 1000 and 5000")
    parser.add_argument("--endpoints", type=int, default=10)
    parser.add_argument("--calibrate", action="store_true", help="also measure fixed work, to compare machines")
    parser.add_argument("--rest", type=float, default=0, metavar="SECONDS", help="only the CPU of a proxy for whom nothing changes")
    parser.add_argument("--machine", action="store_true", help="in a virtual machine, whose kernel has IPVS")
    parser.add_argument("--directory", help="for the machine's files")
    options = parser.parse_args()
    gc.set_threshold(50_000, 20, 50)  # as the daemon does
    if ctypes.CDLL(None).unshare(CLONE_NEWNET):
        raise SystemExit("needs root")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    if options.machine:
        in_machine(options)
        return
    options.services = options.services or 1000
    if options.rest:
        share = asyncio.run(rest(options))
        row = {"mode": options.mode, "services": options.services, "rest_percent": round(share * 100, 3)}
        print(orjson.dumps(row).decode(), flush=True)
        return
    row = asyncio.run(measure(options))
    print(orjson.dumps({**row, **({"calibration": calibrate()} if options.calibrate else {})}).decode(), flush=True)


if __name__ == "__main__":
    main()
