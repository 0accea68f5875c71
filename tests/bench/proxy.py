#!/usr/bin/env python3
"""How long the iptables backend takes to write rules: `proxy.py [--services 1000] [--endpoints 10]`, as root.

Runs in a network namespace of its own. Prints one line of JSON: seconds for the first full write, and milliseconds (median of ten)
until one changed endpoint, one new Service and a write without changes are done.
"""
from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import subprocess
import time

import orjson

from kubepy.proxy.cache import StateCache
from kubepy.proxy.iptables.backend import IptablesBackend
from kubepy.proxy.iptables.rule import Options


async def measure(options: argparse.Namespace, ns: str) -> dict:
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
             "conditions": {"ready": True}} for n in range(options.endpoints)]}]
        return key

    cache = StateCache("IPv4", services.get, lambda key: slices.get(key, []))
    backend = IptablesBackend(Options(local_match="-s 10.0.0.0/9", remote_match="! -s 10.0.0.0/9"), prefix=("ip", "netns", "exec", ns))

    async def timed(keys: list[str]) -> float:
        began = time.perf_counter()
        cache.refresh(keys)
        await backend.apply(cache.state)
        return time.perf_counter() - began

    first = await timed([add(index) for index in range(options.services)])
    changed = [await timed([endpoints(number * 7 % options.services, number)]) for number in range(1, 11)]
    added = [await timed([add(options.services + number)]) for number in range(10)]
    idle = [await timed([]) for _ in range(3)]
    backend.forget()
    again = await timed([])
    return {"services": options.services, "endpoints": options.endpoints, "full_s": round(first, 2), "full_again_s": round(again, 2),
            "endpoint_ms": round(statistics.median(changed) * 1000, 1), "service_ms": round(statistics.median(added) * 1000, 1),
            "idle_ms": round(statistics.median(idle) * 1000, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--services", type=int, default=1000)
    parser.add_argument("--endpoints", type=int, default=10)
    options = parser.parse_args()
    ns = f"kpbench{os.getpid()}"
    subprocess.run(["ip", "netns", "add", ns], check=True)
    try:
        print(orjson.dumps(asyncio.run(measure(options, ns))).decode())
    finally:
        subprocess.run(["ip", "netns", "del", ns], check=True)


if __name__ == "__main__":
    main()
