"""Everything outside the cluster: questions forwarded to other resolvers, answers kept for a while.

A question goes to the resolvers in turn until one answers; the same question asked by many clients at once is sent once. Over UDP the
answer must come from the address asked, carry our random ID and repeat the question, and each socket (and so its port) is used for
one question. Questions that came over TCP, and answers that were truncated for a TCP client, go over TCP.
"""
from __future__ import annotations

import asyncio
import random
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from kubepy.base.clock import Clock, SystemClock
from kubepy.base.log import get_logger
from kubepy.dns import metric, wire
from kubepy.dns.wire import Foreign, Question

log = get_logger("dns")

TIMEOUT = 2.0
MAX_CONCURRENT = 1000
CACHE_LIMIT = 10000
NEGATIVE_TTL = 5

Address = tuple[str, int]
_Key = tuple[bytes, int, bool]


class NoAnswer(Exception):
    """No resolver answered: the client is told SERVFAIL."""


@dataclass(slots=True)
class _Kept:
    foreign: Foreign
    came: float
    until: float


class Upstream:
    """`servers` for everything, `stubs` for the names below given domains; `cache_ttl` bounds how long an answer is kept (seconds)."""

    def __init__(self, servers: Sequence[Address], stubs: dict[str, Sequence[Address]] | None = None, *, cache_ttl: int = 30,
                 clock: Clock | None = None) -> None:
        self._servers = list(servers)
        longest_first = sorted((stubs or {}).items(), key=lambda item: -len(item[0]))  # a domain below another has its own
        self._stubs = {wire.encode_name(domain): list(found) for domain, found in longest_first}
        self._cache_ttl = cache_ttl
        self._clock = clock or SystemClock()
        self._cache: OrderedDict[_Key, _Kept] = OrderedDict()
        self._flying: dict[_Key, asyncio.Future[Foreign]] = {}
        self._gate = asyncio.Semaphore(MAX_CONCURRENT)

    def cached(self, question: Question, limit: int | None) -> bytes | None:
        """An answer that needs no waiting."""
        kept = self._cache.get((question.name, question.type, limit is None))
        now = self._clock.monotonic()
        if kept is None or kept.until <= now or question.qclass != wire.IN:
            return None
        metric.CACHE_HITS.inc()
        return wire.relay(question, kept.foreign, int(now - kept.came), limit)

    async def ask(self, question: Question, limit: int | None) -> bytes:
        """Forwards; raises NoAnswer."""
        foreign = await self.resolve(question, tcp=limit is None)
        return wire.relay(question, foreign, 0, limit)

    async def resolve(self, question: Question, *, tcp: bool) -> Foreign:
        key = (question.name, question.type, tcp)
        flying = self._flying.get(key)
        if flying is None:
            metric.CACHE_MISSES.inc()
            flying = self._flying[key] = asyncio.get_running_loop().create_future()
            try:
                async with self._gate:
                    foreign = await self._exchange(question, tcp)
            except BaseException as error:
                if isinstance(error, NoAnswer):
                    flying.set_exception(error)
                    flying.exception()  # seen: nobody else may be waiting
                else:
                    flying.cancel()
                raise
            else:
                flying.set_result(foreign)
                self._keep(key, foreign)
                return foreign
            finally:
                self._flying.pop(key, None)
        try:
            return await asyncio.shield(flying)
        except asyncio.CancelledError:
            if flying.cancelled():
                raise NoAnswer("the one who asked first was cancelled") from None
            raise

    def _keep(self, key: _Key, foreign: Foreign) -> None:
        if foreign.truncated or foreign.rcode not in (wire.NOERROR, wire.NXDOMAIN):
            return
        ttl = min(foreign.ttl or NEGATIVE_TTL, self._cache_ttl)
        if not self._cache_ttl:
            return
        now = self._clock.monotonic()
        self._cache[key] = _Kept(foreign, now, now + ttl)
        self._cache.move_to_end(key)
        if len(self._cache) > CACHE_LIMIT:
            self._cache.popitem(last=False)
        metric.CACHE_ENTRIES.set(len(self._cache))

    def servers(self, name: bytes) -> list[Address]:
        """Whom to ask for a name, in turn."""
        return next((found for domain, found in self._stubs.items() if name.endswith(domain)), self._servers)

    async def _exchange(self, question: Question, tcp: bool) -> Foreign:
        failure = "no resolver is configured"
        for server in self.servers(question.name):
            began = self._clock.monotonic()
            try:
                async with asyncio.timeout(TIMEOUT):
                    foreign = await (_over_tcp(question, server) if tcp else _over_udp(question, server))
            except (OSError, TimeoutError, wire.WireError, asyncio.IncompleteReadError) as error:
                failure = f"{server[0]}: {type(error).__name__}: {error}"
                continue
            metric.FORWARDED.labels(server[0]).observe(self._clock.monotonic() - began)
            return foreign
        metric.FAILED.inc()
        log.v(2).info("No upstream answer", name=wire.decode_name(question.name), err=failure)
        raise NoAnswer(failure)


class _Reply(asyncio.DatagramProtocol):
    """Waits for the one datagram that answers the question; everything else is ignored."""

    def __init__(self, number: int, question: Question) -> None:
        self.done: asyncio.Future[Foreign] = asyncio.get_running_loop().create_future()
        self._number, self._question = number.to_bytes(2, "big"), question

    def datagram_received(self, data: bytes, addr: tuple[str | object, int]) -> None:
        if self.done.done() or data[:2] != self._number:
            return
        try:
            foreign = wire.parse_response(data)
        except (wire.WireError, IndexError):
            return
        if foreign.question.lower() == self._question.raw.lower():
            self.done.set_result(foreign)

    def error_received(self, exc: Exception) -> None:
        if not self.done.done():
            self.done.set_exception(exc)


async def _over_udp(question: Question, server: Address) -> Foreign:
    number = random.randrange(65536)
    transport, protocol = await asyncio.get_running_loop().create_datagram_endpoint(lambda: _Reply(number, question), remote_addr=server)
    try:
        transport.sendto(wire.make_query(number, question.raw))
        return await protocol.done
    finally:
        transport.close()


async def _over_tcp(question: Question, server: Address) -> Foreign:
    number = random.randrange(65536)
    reader, writer = await asyncio.open_connection(*server)
    try:
        query = wire.make_query(number, question.raw)
        writer.write(len(query).to_bytes(2, "big") + query)
        size = int.from_bytes(await reader.readexactly(2), "big")
        data = await reader.readexactly(size)
        if data[:2] != number.to_bytes(2, "big"):
            raise wire.WireError("answer to another query")
        return wire.parse_response(data)
    finally:
        writer.close()


def parse_address(text: str, port: int = 53) -> Address:
    """`10.0.0.1`, `10.0.0.1:5353`, `fd00::1` or `[fd00::1]:5353`."""
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        return host, int(rest.removeprefix(":") or port)
    if text.count(":") == 1:
        host, _, rest = text.partition(":")
        return host, int(rest)
    return text, port


def read_resolv_conf(text: str) -> list[Address]:
    """The name servers of a resolv.conf."""
    found = []
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 2 and words[0] == "nameserver":
            found.append((words[1], 53))
    return found
