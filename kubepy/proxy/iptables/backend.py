"""Writes the rules: one iptables-restore a sync, unless there is very much to write. The first sync, and any after a failure or after
someone else has flushed, looks what is there and writes all that is not; others only the chains that changed."""
from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable, Iterator, Mapping

from kubepy.base.log import get_logger
from kubepy.proxy import metric, sysctl
from kubepy.proxy.backend import BackendError
from kubepy.proxy.iptables import chain, table
from kubepy.proxy.iptables.rule import Options, Renderer, Rules
from kubepy.proxy.model import Family, State
from kubepy.proxy.program import restore, run

log = get_logger("iptables")

WAIT = ("-w", "5")


class IptablesBackend:
    """One family's chains in the tables filter, nat and mangle."""

    def __init__(self, options: Options | None = None, family: Family = "IPv4") -> None:
        self._renderer = Renderer(options)
        self._command = "iptables" if family == "IPv4" else "ip6tables"
        self._family = family
        self._written: Rules | None = None
        self._transaction = 0

    async def apply(self, state: State) -> bool:
        written, self._written = self._written, None  # until it has worked, nothing is certain
        if written is None:
            self.prepare()
            rules, shown = await asyncio.gather(asyncio.to_thread(self._renderer.render, state), run(f"{self._command}-save"))
            saved = table.parse_save(shown.decode())
            texts, failures = table.full(rules, saved, at_once=await self._at_once()), metric.RESTORE_FAILURES
        else:
            rules = self._renderer.render(state)
            texts, failures = table.partial(written, rules, await self._at_once()), metric.PARTIAL_FAILURES
        counts = dict.fromkeys(table.TABLES, 0)
        try:
            await restore((f"{self._command}-restore", *WAIT, "--noflush", "--counters"), self._noted(texts, counts))
        except BackendError:
            failures.labels(self._family).inc()
            raise
        self._count(rules, counts)
        self._written = rules
        return written is None

    def _noted(self, texts: Iterable[str], counts: dict[str, int]) -> Iterator[str]:
        """Each text as it is used."""
        for text in texts:
            log.v(4).info("Writing rules", family=self._family, bytes=len(text))
            log.v(8).info("Rules", text=text)
            for part in text.split("COMMIT\n")[:-1]:
                counts[part[1:part.index("\n")]] += part.count("\n-A ")
            yield text

    def _count(self, rules: Rules, written: Mapping[str, int]) -> None:
        for name in ("filter", "nat"):
            metric.RULES_LAST.labels(name, self._family).set(written[name])
        if any(written.values()):
            metric.RULES.labels("filter", self._family).set(sum(map(len, rules.filter.values())))
            own = sum(sum(map(len, chains.values())) for chains in rules.own.values())
            metric.RULES.labels("nat", self._family).set(sum(map(len, rules.nat.values())) + own)

    async def intact(self) -> bool:
        """Looks for the canaries: a flush or a firewall's reload takes them away with everything else."""
        if await canaries(self._command):
            return True
        if self._written is not None:
            log.warning("The rules have been flushed by someone else; writing all of them again", family=self._family)
        self._written = None
        return False

    async def available(self) -> bool:
        """Whether the kernel and the program are there for this family."""
        try:
            await run(self._command, *WAIT, "-t", "nat", "-S", "POSTROUTING")
        except BackendError as error:
            log.info("No rules for this address family", family=self._family, err=error)
            return False
        return True

    def prepare(self) -> None:
        """Node ports on 127.0.0.1 need loopback addresses to be routed."""
        if self._family == "IPv4" and self._renderer.options.localhost_node_ports:
            sysctl.ensure({"net/ipv4/conf/all/route_localnet": "1"})

    async def left_over(self) -> bool:
        try:
            saved = (await run(f"{self._command}-save", "-t", "filter")).decode()
        except BackendError:
            return False
        return f":{chain.EXTERNAL_SERVICES} " in saved

    def forget(self) -> None:
        """The next `apply` writes everything."""
        self._written = None

    async def cleanup(self) -> None:
        saved = table.parse_save((await run(f"{self._command}-save")).decode())
        if text := table.cleanup(saved):
            await run(f"{self._command}-restore", *WAIT, "--noflush", stdin=text.encode())
        self._written = None

    async def _at_once(self) -> int:
        """Chains to write in one transaction. The older kind of iptables reads and writes the whole table for each: one it shall be."""
        if not self._transaction:
            legacy = b"legacy" in await run(self._command, "--version")
            self._transaction = sys.maxsize if legacy else table.AT_ONCE
        return self._transaction


async def canaries(command: str) -> bool:
    """Whether those of all tables are there."""
    for name in table.TABLES:
        try:
            shown = await run(command, *WAIT, "-t", name, "-S", chain.CANARY)
        except BackendError:
            return False
        if b"-A " not in shown:
            return False
    return True
