"""Listens on UDP and TCP. Questions about the cluster are answered in the callback that received them; only forwarding waits."""
from __future__ import annotations

import asyncio
import struct
from typing import Any, cast

from kubepy.base import nameserver
from kubepy.base.log import get_logger
from kubepy.base.task import Tasks
from kubepy.dns import metric, wire
from kubepy.dns.upstream import NoAnswer, Upstream
from kubepy.dns.wire import Answer, Question
from kubepy.dns.zone import Zone

log = get_logger("dns")

MAX_WAITING = 5000
MAX_CONNECTIONS = 500
IDLE_SECONDS = 10.0


class Resolver:
    """One question in, one answer out; at once where the zone or the cache has it.

    It calls itself `name` (`id.server`), and nothing any more once it is `stopping`: who asks that hands it no further questions."""

    def __init__(self, zone: Zone, upstream: Upstream, name: str = "") -> None:
        self._zone, self._upstream, self._name = zone, upstream, name
        self.stopping = False
        self._counts = {rcode: metric.RESPONSES.labels(name) for rcode, name in enumerate(metric.RCODES)}

    def now(self, question: Question, limit: int | None) -> bytes | None:
        """The response, or None when it takes `later`."""
        if question.flags & 0x7800:
            return self._say(question, wire.NOTIMP, limit)
        if question.qclass != wire.IN:
            return self._identify(question, limit)
        answer = self._zone.answer(question.name, question.type)
        if answer is None:
            return self._upstream.cached(question, limit)
        if answer.elsewhere:
            return None
        self._counts[answer.rcode].inc()
        return wire.respond(question, answer, limit)

    async def later(self, question: Question, limit: int | None) -> bytes:
        try:
            target = self._zone.external(question.name)
            if target is not None:
                return await self._alias(question, target, limit)
            return await self._upstream.ask(question, limit)
        except (NoAnswer, wire.WireError, IndexError, struct.error):  # nobody answered, or only nonsense
            return self._say(question, wire.SERVFAIL, limit)

    async def _alias(self, question: Question, target: bytes, limit: int | None) -> bytes:
        """An ExternalName: the CNAME, and what it stands for as far as others know it."""
        answer = self._zone.answer(question.name, question.type) or Answer(wire.NXDOMAIN)
        raw = target + question.raw[-4:]
        try:
            foreign = await self._upstream.resolve(question._replace(name=target, raw=raw), tcp=limit is None)
        except NoAnswer:
            return wire.respond(question, answer, limit)
        return wire.respond(question, answer._replace(answers=answer.answers + tuple(_expanded(foreign, raw))), limit)

    def _identify(self, question: Question, limit: int | None) -> bytes:
        if question.qclass != nameserver.CHAOS or question.name not in nameserver.NAMES or question.type not in (wire.TXT, wire.ANY):
            return self._say(question, wire.REFUSED, limit)
        if self.stopping or not self._name:
            return self._say(question, wire.SERVFAIL if self.stopping else wire.REFUSED, limit)
        said = wire.record(wire.QUESTION_NAME, wire.TXT, 0, nameserver.text(self._name), nameserver.CHAOS)
        return wire.respond(question, Answer(wire.NOERROR, (said,)), limit)

    def _say(self, question: Question, rcode: int, limit: int | None) -> bytes:
        self._counts[rcode].inc()
        return wire.respond(question, Answer(rcode, authoritative=False), limit)


def _expanded(foreign: wire.Foreign, question: bytes) -> list[bytes]:
    """A foreign answer's address and alias records with their names written out: their pointers mean nothing in another message."""
    message = b"\x00" * 12 + question + foreign.body
    at = 12 + len(question)
    found = []
    for _ in range(foreign.sections[0]):
        owner, at = _read_name(message, at)
        kind, _, ttl, length = wire.RECORD.unpack_from(message, at)
        at += 10
        if kind in (wire.A, wire.AAAA):
            found.append(wire.record(owner, kind, ttl, message[at:at + length]))
        elif kind == wire.CNAME:
            found.append(wire.record(owner, kind, ttl, _read_name(message, at)[0]))
        at += length
    return found


def _read_name(message: bytes, at: int) -> tuple[bytes, int]:
    out, end, jumps = b"", 0, 0
    while message[at]:
        if message[at] >= 192:
            end = end or at + 2
            at = (message[at] & 63) << 8 | message[at + 1]
            jumps += 1
            if jumps > 20 or at >= len(message):
                raise NoAnswer("a name that never ends")
            continue
        out += message[at:at + 1 + message[at]]
        at += 1 + message[at]
    return out + b"\x00", end or at + 1


class UdpServer(asyncio.DatagramProtocol):
    def __init__(self, resolver: Resolver, tasks: Tasks) -> None:
        self._resolver, self._tasks = resolver, tasks
        self._transport: asyncio.DatagramTransport | None = None
        self._waiting = 0
        self._count = metric.REQUESTS.labels("udp")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self._count.inc()
        assert self._transport is not None
        try:
            question = wire.parse_question(data)
        except wire.BadVersion:
            self._transport.sendto(wire.refuse_version(data), addr)
            return
        except (wire.WireError, IndexError):
            if (reply := wire.refuse(data, wire.FORMERR)) is not None:
                self._transport.sendto(reply, addr)
            return
        limit = min(question.size, wire.OWN_SIZE) if question.edns else wire.UDP_SIZE
        reply = self._resolver.now(question, limit)
        if reply is not None:
            self._transport.sendto(reply, addr)
        elif self._waiting < MAX_WAITING:  # beyond that the client's own retry comes at a better time
            self._waiting += 1
            self._tasks.start(self._answer(question, limit, addr), "query")

    async def _answer(self, question: Question, limit: int, addr: Any) -> None:
        try:
            reply = await self._resolver.later(question, limit)
            if self._transport is not None and not self._transport.is_closing():
                self._transport.sendto(reply, addr)
        finally:
            self._waiting -= 1

    def error_received(self, exc: Exception) -> None:
        log.v(4).info("A client's address refused an answer", err=exc)


class TcpServer:
    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver
        self._connections = 0
        self._count = metric.REQUESTS.labels("tcp")

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._connections >= MAX_CONNECTIONS:
            writer.close()
            return
        self._connections += 1
        try:
            while True:
                async with asyncio.timeout(IDLE_SECONDS):
                    size = int.from_bytes(await reader.readexactly(2), "big")
                    data = await reader.readexactly(size)
                self._count.inc()
                question = wire.parse_question(data)
                reply = self._resolver.now(question, None)
                if reply is None:
                    reply = await self._resolver.later(question, None)
                writer.write(len(reply).to_bytes(2, "big") + reply)
                async with asyncio.timeout(IDLE_SECONDS):
                    await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, wire.WireError, IndexError):
            pass  # a client that went away, is idle, or talks nonsense
        finally:
            self._connections -= 1
            writer.close()
