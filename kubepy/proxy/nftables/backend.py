"""Writes the table with nft: one transaction a sync (and one that clears away). The first sync, and any after a failure or after someone
else has flushed, writes everything; others only what changed."""
from __future__ import annotations

import asyncio

from kubepy.base.log import get_logger
from kubepy.proxy import metric
from kubepy.proxy.backend import BackendError
from kubepy.proxy.model import Family, State
from kubepy.proxy.nftables import kernel, name, transaction
from kubepy.proxy.nftables.kernel import Present
from kubepy.proxy.nftables.rule import Options, Renderer, Table, ip
from kubepy.proxy.program import run

log = get_logger("nftables")


class NftablesBackend:
    """One family's table."""

    def __init__(self, options: Options | None = None, family: Family = "IPv4") -> None:
        self._family = family
        self._renderer = Renderer(options)
        self._where = (ip(family), name.TABLE)
        self._written: Table | None = None

    async def apply(self, state: State) -> bool:
        table = self._renderer.render(state)
        written, self._written = self._written, None  # until it has worked, nothing is certain
        try:
            if written is None:
                await self._write_all(table, await self._present())
            else:
                await self._write(transaction.partial(written, table), "partial")
                await self._clear(transaction.stale(written, table))
        except BackendError:
            metric.NFT_FAILURES.labels(self._family).inc()
            raise
        self._written = table
        return written is None

    async def _present(self) -> Present:
        try:
            return await asyncio.to_thread(kernel.present, self._family, name.TABLE)
        except OSError as error:
            raise BackendError(f"netlink: {error.strerror or error}") from error

    async def _write_all(self, table: Table, present: Present) -> None:
        """Keeps what is there as far as that works; else (a set of our name, but of another kind) the table is swapped for a new one."""
        try:
            await self._write(transaction.full(table, present), "full")
            await self._clear(transaction.left_over(table, present))
        except BackendError as error:
            if not present.chains:
                raise
            log.info("Cannot build on the table that is there; replacing it", family=self._family, err=error)
            await self._write(f"delete table {' '.join(self._where)}\n" + transaction.full(table, Present()), "replacing")

    async def _clear(self, text: str) -> None:
        try:
            await self._write(text, "clearing")
        except BackendError:
            metric.NFT_CLEANUP_FAILURES.labels(self._family).inc()
            raise

    async def _write(self, text: str, kind: str) -> None:
        if not text:
            return
        log.v(4).info("Writing rules", family=self._family, kind=kind, bytes=len(text))
        log.v(8).info("Rules", text=text)
        await run("nft", "-f", "-", stdin=text.encode())

    async def intact(self) -> bool:
        """Looks at the chain all new connections go through: a flush takes its rules away, and everything else with it."""
        try:
            if await asyncio.to_thread(kernel.count_rules, self._family, name.TABLE, name.SERVICES):
                return True
        except OSError as error:
            log.warning("Cannot see whether the rules are still there", family=self._family, err=error)
            return True
        if self._written is not None:
            log.warning("The rules have been flushed by someone else; writing all of them again", family=self._family)
        self._written = None
        return False

    async def available(self) -> bool:
        """Whether the kernel and the program are there for this family."""
        try:
            await run("nft", "--check", "-f", "-", stdin=f"add table {' '.join(self._where)}-check\n"
                      f"add chain {' '.join(self._where)}-check nat {{ type nat hook postrouting priority 100 ; }}\n".encode())
        except BackendError as error:
            log.info("No rules for this address family", family=self._family, err=error)
            return False
        return True

    def prepare(self) -> None:
        """Nothing: rules are all it needs."""

    async def left_over(self) -> bool:
        try:
            return bool((await self._present()).chains)
        except BackendError:
            return False

    def forget(self) -> None:
        """The next `apply` writes everything."""
        self._written = None

    async def cleanup(self) -> None:
        await run("nft", "-f", "-", stdin=f"add table {' '.join(self._where)}\n"
                  f"delete table {' '.join(self._where)}\n".encode())
        self._written = None
