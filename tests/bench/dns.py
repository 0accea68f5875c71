#!/usr/bin/env python3
"""How many questions a second one DNS process answers, and how late: `dns.py [--services 5000] [--seconds 5] [--at-once 32]`.

Starts the answering side in a process of its own (no API server: the zone is filled by hand) and asks it over UDP.
Prints one line of JSON: answers per second, CPU microseconds of the server per answer, p50 and p99 in milliseconds; with `--rate` also
the p99 of the quietest tenth of all spans of 0.1 s, in which other load did not keep both sides from running.
"""
from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import random
import time

import orjson
import uvloop

from kubepy.base.task import Tasks
from kubepy.dns import wire
from kubepy.dns.record import service_records
from kubepy.dns.server import Resolver, UdpServer
from kubepy.dns.upstream import Upstream
from kubepy.dns.zone import Zone


def serve(count: int, port: multiprocessing.Queue) -> None:
    async def run() -> None:
        zone = Zone()
        zone.set_namespace("default", True)
        for index in range(count):
            ip = f"10.96.{index // 250}.{index % 250 + 1}"
            service = {"metadata": {"name": f"svc-{index}", "namespace": "default"},
                       "spec": {"clusterIP": ip, "clusterIPs": [ip], "ports": [{"name": "http", "port": 80, "protocol": "TCP"}]}}
            zone.replace(f"default/svc-{index}", service_records(service, [], zone.domain))
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: UdpServer(Resolver(zone, Upstream([])), Tasks("dns")), local_addr=("127.0.0.1", 0))
        port.put(transport.get_extra_info("sockname")[1])
        await asyncio.Event().wait()

    uvloop.run(run())


class Asker(asyncio.DatagramProtocol):
    def __init__(self, questions: list[bytes], delays: list[float]) -> None:
        self.questions, self.delays = questions, delays

    def connection_made(self, transport) -> None:
        self.transport = transport
        self.ask()

    def ask(self) -> None:
        self.began = time.perf_counter()
        self.transport.sendto(random.choice(self.questions))

    def datagram_received(self, data: bytes, addr) -> None:
        self.delays.append(time.perf_counter() - self.began)
        self.ask()


class Paced(asyncio.DatagramProtocol):
    """Asks at an even rate, whether there were answers or not; a delay counts from when the question was due."""

    def __init__(self, questions: list[bytes], delays: list[float], rate: float) -> None:
        self.questions, self.delays, self.rate = questions, delays, rate
        self.due: dict[int, float] = {}

    def connection_made(self, transport) -> None:
        self.transport = transport
        self.began, self.asked = time.perf_counter(), 0
        self.ask()

    def ask(self) -> None:
        wanted = int((time.perf_counter() - self.began) * self.rate)
        while self.asked < wanted:
            self.asked += 1
            number = self.asked & 0xFFFF
            self.due[number] = self.began + self.asked / self.rate
            self.transport.sendto(number.to_bytes(2, "big") + random.choice(self.questions)[2:])
        asyncio.get_running_loop().call_later(0.0005, self.ask)

    def datagram_received(self, data: bytes, addr) -> None:
        due = self.due.pop(int.from_bytes(data[:2], "big"), None)
        if due is not None:
            self.delays.append(max(0.0, time.perf_counter() - due))


async def load(port: int, options: argparse.Namespace, pid: int) -> dict:
    questions = [b"\x00\x01\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00"
                 + wire.encode_name(f"svc-{i}.default.svc.cluster.local") + b"\x00\x01\x00\x01" for i in range(options.services)]
    delays: list[float] = []
    loop = asyncio.get_running_loop()
    before = cpu(pid)
    if options.rate:
        await loop.create_datagram_endpoint(lambda: Paced(questions, delays, options.rate), remote_addr=("127.0.0.1", port))
    else:
        for _ in range(options.at_once):
            await loop.create_datagram_endpoint(lambda: Asker(questions, delays), remote_addr=("127.0.0.1", port))
    await asyncio.sleep(options.seconds)
    spent, count = cpu(pid) - before, len(delays)
    span = int(options.rate / 10)
    spans = sorted(sorted(delays[at:at + span])[int(span * 0.99)] for at in range(0, count - span, span)) if span else []
    delays.sort()
    return {"services": options.services, "answers_per_s": round(count / options.seconds),
            "server_cpu_us_each": round(spent * 1e6 / count, 1),
            "p50_ms": round(delays[count // 2] * 1000, 2), "p99_ms": round(delays[int(count * 0.99)] * 1000, 2),
            **({"p99_ms_quiet": round(spans[len(spans) // 10] * 1000, 2)} if spans else {})}


def cpu(pid: int) -> float:
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--services", type=int, default=5000)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--at-once", type=int, default=32)
    parser.add_argument("--rate", type=float, default=0, help="ask at this rate a second instead, and see how late the answers are")
    options = parser.parse_args()
    port: multiprocessing.Queue = multiprocessing.Queue()
    process = multiprocessing.Process(target=serve, args=(options.services, port), daemon=True)
    process.start()
    try:
        print(orjson.dumps(uvloop.run(load(port.get(timeout=120), options, process.pid))).decode())
    finally:
        process.terminate()


if __name__ == "__main__":
    main()
