"""Forwarding over real sockets: one of our servers stands for the world outside."""
from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import dnslib
import pytest

from kubepy.base.task import Tasks
from kubepy.dns import wire
from kubepy.dns.record import Record
from kubepy.dns.server import Resolver, TcpServer, UdpServer
from kubepy.dns.upstream import Upstream
from kubepy.dns.zone import Zone


@asynccontextmanager
async def serving(zone, upstream):
    tasks = Tasks("test")
    resolver = Resolver(zone, upstream)
    tcp = await asyncio.start_server(TcpServer(resolver).serve, "127.0.0.1", 0)
    port = tcp.sockets[0].getsockname()[1]
    udp, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: UdpServer(resolver, tasks), local_addr=("127.0.0.1", port))
    try:
        yield ("127.0.0.1", port)
    finally:
        udp.close()
        tcp.close()
        await tasks.stop()


class Reply(asyncio.DatagramProtocol):
    def __init__(self):
        self.got = asyncio.get_running_loop().create_future()

    def datagram_received(self, data, addr):
        self.got.set_result(data)


async def ask(address, name, kind="A", tcp=False):
    query = bytes(dnslib.DNSRecord.question(name, kind).pack())
    async with asyncio.timeout(8):
        if tcp:
            reader, writer = await asyncio.open_connection(*address)
            writer.write(len(query).to_bytes(2, "big") + query)
            data = await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
            writer.close()
        else:
            transport, protocol = await asyncio.get_running_loop().create_datagram_endpoint(Reply, remote_addr=address)
            transport.sendto(query)
            data = await protocol.got
            transport.close()
    return dnslib.DNSRecord.parse(data)


def world():
    zone = Zone("example.com")
    zone.replace("x", {wire.encode_name("www.example.com"): [Record(wire.A, bytes([1, 2, 3, 4]))],
                       wire.encode_name("many.example.com"): [Record(wire.A, bytes([1, 2, i // 256, i % 256])) for i in range(200)]})
    return zone


def cluster():
    zone = Zone()
    target = wire.encode_name("www.example.com")
    zone.replace("default/out", {wire.encode_name("out.default.svc.cluster.local"): [Record(wire.CNAME, target, target)]})
    return zone


@pytest.mark.parametrize("tcp", [False, True], ids=["udp", "tcp"])
async def test_other_names_are_forwarded_and_kept(tcp):
    async with serving(world(), Upstream([])) as outside, serving(cluster(), Upstream([outside])) as inside:
        reply = await ask(inside, "www.example.com", tcp=tcp)
        assert [str(record.rdata) for record in reply.rr] == ["1.2.3.4"]
        missing = await ask(inside, "nothere.example.com", tcp=tcp)
        assert missing.header.rcode == 3
        reply = await ask(inside, "out.default.svc.cluster.local", tcp=tcp)
        assert [str(record.rdata) for record in reply.rr] == ["www.example.com.", "1.2.3.4"]
        together = await asyncio.gather(*(ask(inside, "www.example.com", tcp=tcp) for _ in range(20)))
        assert all(len(answer.rr) == 1 for answer in together)


async def test_a_truncated_answer_is_whole_over_tcp():
    async with serving(world(), Upstream([])) as outside, serving(cluster(), Upstream([outside])) as inside:
        assert (await ask(inside, "many.example.com")).header.tc
        assert len((await ask(inside, "many.example.com", tcp=True)).rr) == 200


async def test_the_next_resolver_is_asked_and_without_any_the_client_is_told():
    async with serving(world(), Upstream([])) as outside, serving(cluster(), Upstream([("127.0.0.1", 1), outside])) as inside:
        assert len((await ask(inside, "www.example.com")).rr) == 1
    async with serving(cluster(), Upstream([])) as inside:
        assert (await ask(inside, "www.example.com")).header.rcode == 2
