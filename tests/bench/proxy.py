#!/usr/bin/env python3
"""How long a backend takes to write rules: `proxy.py [--mode iptables|nftables|ipvs] [--services 1000] [--endpoints 10]`, as root.

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
import statistics
import subprocess
import sys
import time
from pathlib import Path

import orjson

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from kubepy.proxy import mode
from kubepy.proxy.cache import StateCache
from kubepy.proxy.model import LocalTraffic

CLONE_NEWNET = 0x40000000


async def measure(options: argparse.Namespace) -> dict:
    services, slices = {}, {}

    def add(index: int) -> str:
        key, ip = f"ns/svc-{index}", f"10.96.{index // 250}.{index % 250 + 1}"
        services[key] = {"metadata": {"namespace": "ns", "name": f"svc-{index}"}, "spec": {
            "clusterIP": ip, "clusterIPs": [ip], "ports": [{"name": "http", "port": 80, "protocol": "TCP"}]}}
        endpoints(index, 0)
        return key

    def endpoints(index: int, generation: int) -> str:
        key = f"ns/svc-{index}"
        slices[key] = [{"addressType": "IPv4", "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}], "endpoints": [
            {"addresses": [f"10.{(index >> 8) + 1}.{index & 255}.{n + 1 + (generation if n == 0 else 0) * 20 % 200}"],
             "nodeName": f"node-{n}", "conditions": {"ready": True}} for n in range(options.endpoints)]}]
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mode", choices=mode.MODES, default="iptables")
    parser.add_argument("--services", type=int, default=1000)
    parser.add_argument("--endpoints", type=int, default=10)
    options = parser.parse_args()
    gc.set_threshold(50_000, 20, 50)  # as the daemon does
    if ctypes.CDLL(None).unshare(CLONE_NEWNET):
        raise SystemExit("needs root")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    print(orjson.dumps(asyncio.run(measure(options))).decode())


if __name__ == "__main__":
    main()
