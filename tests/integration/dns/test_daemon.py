"""The daemon on a real API server: what it answers, how it leaves, and what it knows after a start while the server is away."""
from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import dnslib
import pytest
import pytest_asyncio

from kubepy.api.resource import ENDPOINT_SLICES, SERVICES
from kubepy.base.task import Tasks
from kubepy.client.http import HttpClient
from kubepy.client.kubeconfig import load
from kubepy.controllers.endpoint.ask import ask as identify
from kubepy.dns.server import Resolver, UdpServer
from kubepy.dns.upstream import Upstream
from kubepy.dns.zone import Zone
from tests.apiserver import ROOT, ApiServer, free_port

pytestmark = [pytest.mark.etcd, pytest.mark.asyncio(loop_scope="module")]
TIMEOUT = 60.0


@pytest.fixture(scope="module")
def server() -> Iterator[ApiServer]:
    with ApiServer() as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(server: ApiServer) -> AsyncIterator[HttpClient]:
    """A Service, and a DNS on each of two nodes as far as slices say."""
    client = HttpClient(load(server.kubeconfig))
    await make_service(client, "web", "default", "10.96.0.7")
    await make_service(client, "kube-dns", "kube-system", "10.96.0.10")
    for number in (1, 2):
        await client.create(ENDPOINT_SLICES, {
            "metadata": {"name": f"n{number}", "namespace": "kube-system", "labels": {"kubernetes.io/service-name": "kube-dns"}},
            "addressType": "IPv4", "ports": [{"name": "dns", "port": 53, "protocol": "UDP"}],
            "endpoints": [{"addresses": [f"192.0.2.{number}"], "nodeName": f"n{number}", "conditions": {"ready": True}}]})
    yield client
    await client.close()


async def make_service(client: HttpClient, name: str, namespace: str, ip: str) -> None:
    await client.create(SERVICES, {"metadata": {"name": name, "namespace": namespace}, "spec": {
        "clusterIP": ip, "ports": [{"name": "p", "port": 80}]}})


class Dns:
    """A daemon that says it is n1's."""

    def __init__(self, server: ApiServer, directory: Path) -> None:
        self.port, self.health, self.log = free_port(), free_port(), directory / "log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "kubepy.cli.main", "dns", "--kubeconfig", server.kubeconfig, "--listen", f"127.0.0.1:{self.port}",
                 "--hostname-override", "n1", "--state-file", str(directory / "dns.json"), "--lameduck", "60s", "--upstream", "127.0.0.1:9",
                 "--health-bind-address", f"127.0.0.1:{self.health}"],
                stdout=log, stderr=log, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})

    async def ask(self, name: str, kind: str = "A", qclass: int = 1) -> tuple[int, list[str]]:
        """(rcode, data of the records); (-1, []) without an answer."""
        query = dnslib.DNSRecord(q=dnslib.DNSQuestion(name, getattr(dnslib.QTYPE, kind), qclass))

        def exchange() -> bytes:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
                asker.settimeout(5)
                asker.connect(("127.0.0.1", self.port))
                asker.send(bytes(query.pack()))
                return asker.recv(4096)

        try:
            reply = dnslib.DNSRecord.parse(await asyncio.to_thread(exchange))
        except OSError:
            return -1, []
        return reply.header.rcode, [str(record.rdata) for record in reply.rr]

    async def ready(self) -> int:
        def get() -> int:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.health}/ready", timeout=5) as answer:
                    return int(answer.status)
            except urllib.error.HTTPError as error:
                return error.code
            except OSError:
                return 0
        return await asyncio.to_thread(get)

    async def until(self, name: str, address: str = "") -> None:
        """The name has the address (or is not there)."""
        expected = (0, [address]) if address else (3, [])
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(TIMEOUT):
                while True:
                    if await self.ask(name) == expected:
                        return
                    await asyncio.sleep(0.1)
        raise AssertionError(f"{name} is not {address}:\n{self.log.read_text()[-3000:]}")


async def test_it_leaves_when_it_is_no_longer_asked_and_knows_the_names_without_the_server(
        server: ApiServer, client: HttpClient, tmp_path: Path) -> None:
    dns = Dns(server, tmp_path)
    try:
        await dns.until("web.default.svc.cluster.local", "10.96.0.7")
        assert await dns.ready() == 200
        assert await dns.ask("id.server", "TXT", 3) == (0, ['"n1"'])

        dns.process.terminate()
        for _ in range(600):
            if await dns.ask("id.server", "TXT", 3) == (2, []):
                break
            await asyncio.sleep(0.05)
        assert await dns.ready() == 503
        assert await dns.ask("web.default.svc.cluster.local") == (0, ["10.96.0.7"]), "it still answers"
        piece = await client.get(ENDPOINT_SLICES, "n1", "kube-system")
        await client.update(ENDPOINT_SLICES, {**piece, "endpoints": [{**piece["endpoints"][0], "conditions": {"ready": False}}]})
        assert await asyncio.to_thread(dns.process.wait, TIMEOUT) == 0

        server.stop()
        dns = Dns(server, tmp_path)
        await dns.until("web.default.svc.cluster.local", "10.96.0.7")
        assert await dns.ask("10-244-0-9.default.pod.cluster.local") == (0, ["10.244.0.9"])
        assert "The API server is away" in dns.log.read_text()
        server.launch()
        await client.delete(SERVICES, "web", "default")
        await make_service(client, "other", "default", "10.96.0.8")
        await dns.until("other.default.svc.cluster.local", "10.96.0.8")
        await dns.until("web.default.svc.cluster.local")  # once all is read again
    finally:
        dns.process.kill()
        await asyncio.to_thread(dns.process.wait)


async def test_many_are_asked_who_they_are() -> None:
    tasks, loop = Tasks("test"), asyncio.get_running_loop()
    servers, port = [], free_port()
    names = {"127.0.0.1": "a", "127.0.0.2": "b", "127.0.0.3": ""}
    try:
        for address, name in names.items():
            resolver = Resolver(Zone(), Upstream([]), name or "c")
            resolver.stopping = not name
            servers.append((await loop.create_datagram_endpoint(
                lambda answers=resolver: UdpServer(answers, tasks), local_addr=(address, port)))[0])  # type: ignore[misc]
        targets = {node: (f"127.0.0.{number}", port) for number, node in enumerate("abcd", 1)}
        assert await identify({node: targets[node] for node in "abc"}, timeout=TIMEOUT) == {"a": "a", "b": "b", "c": ""}
        assert await identify(targets, timeout=1.5) == {"a": "a", "b": "b", "c": ""}, "the fourth is silent"
    finally:
        for transport in servers:
            transport.close()
        await tasks.stop()
