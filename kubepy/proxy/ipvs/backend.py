"""Makes IPVS, the dummy device, ipsets and iptables say what the plan says. What is there is read at the first sync and after a failure,
so a restart changes nothing that is right already.

A real server that is no longer wanted gets the weight 0 and goes when its last connection has ended (UDP and SCTP at once); virtual
servers whose addresses are in the excluded ranges are somebody else's.
"""
from __future__ import annotations

import asyncio
import errno
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

from kubepy.base.log import get_logger
from kubepy.proxy import sysctl
from kubepy.proxy.backend import BackendError
from kubepy.proxy.iptables import chain, table
from kubepy.proxy.ipvs import ipset, kernel, rule
from kubepy.proxy.ipvs.kernel import Ipvs, Service
from kubepy.proxy.ipvs.plan import Address, Plan, Planner, Real, Virtual
from kubepy.proxy.model import Family, State
from kubepy.proxy.program import run

log = get_logger("ipvs")

WAIT = ("-w", "5")
_SYSCTLS = {"net/ipv4/vs/conntrack": "1", "net/ipv4/vs/expire_nodest_conn": "1", "net/ipv4/vs/expire_quiescent_template": "1",
            "net/ipv4/vs/conn_reuse_mode": "0", "net/ipv4/ip_forward": "1"}
_STRICT_ARP = {"net/ipv4/conf/all/arp_ignore": "1", "net/ipv4/conf/all/arp_announce": "2"}


@dataclass(frozen=True, slots=True)
class Options:
    """`local` and `remote` as for the iptables backend; timeouts in seconds, 0 leaves the kernel's."""

    local: str = ""
    remote: str = ""
    masquerade_all: bool = False
    mark: int = 0x4000
    scheduler: str = "rr"
    exclude: tuple[str, ...] = ()
    strict_arp: bool = False
    tcp_timeout: int = 0
    tcp_fin_timeout: int = 0
    udp_timeout: int = 0


class IpvsBackend:
    """One family's servers."""

    def __init__(self, options: Options | None = None, family: Family = "IPv4") -> None:
        self._options, self._family = options or Options(), family
        self._planner = Planner(self._options.scheduler)
        self._command = "iptables" if family == "IPv4" else "ip6tables"
        self._excluded = [ipaddress.ip_network(text, strict=False) for text in self._options.exclude]
        self._written: Plan | None = None
        self._own: frozenset[str] = frozenset()
        """The node's addresses, as of the last full write."""
        self._leaving: set[tuple[Address, Real]] = set()

    async def apply(self, state: State) -> bool:
        written, self._written = self._written, None  # until it has worked, nothing is certain
        index = await self._device()
        if written is None:
            self._own, there = await asyncio.to_thread(self._addresses, index)
        else:
            there = written.addresses - self._own
        plan = self._planner.plan(state, state.node.addresses or tuple(sorted(self._own)))
        if text := (ipset.full(plan.members, self._family) if written is None
                    else ipset.partial(written.members, plan.members, self._family)):
            log.v(4).info("Writing ipsets", family=self._family, bytes=len(text))
            await run("ipset", "restore", stdin=text.encode())
        try:
            await asyncio.to_thread(self._perform, plan, written, there, index)
        except OSError as error:
            raise BackendError(f"IPVS: {error}") from error
        if written is None:
            await self._write_rules()
        self._written = plan
        return written is None

    def _addresses(self, index: int) -> tuple[frozenset[str], set[str]]:
        """The node's, and those of the dummy device."""
        try:
            found = kernel.local_addresses(self._family, index)
        except OSError as error:
            raise BackendError(f"netlink: {error}") from error
        return frozenset(ip for number, ips in found.items() if number != index for ip in ips), found.get(index, set())

    async def _device(self) -> int:
        try:
            return await asyncio.to_thread(kernel.ensure_device, self._family)
        except OSError as error:
            raise BackendError(f"{kernel.DEVICE}: {error}") from error

    def _perform(self, plan: Plan, written: Plan | None, there: set[str], index: int) -> None:
        """Servers first: an address that answers nothing is worse than a server nobody reaches. Of addresses that are the node's own
        the dummy device needs none."""
        wanted, options = plan.addresses - self._own, self._options
        with Ipvs(self._family) as ipvs:
            if written is None:
                self.prepare()
                ipvs.set_timeouts(options.tcp_timeout, options.tcp_fin_timeout, options.udp_timeout)
                virtuals, reals = self._read(ipvs)
            else:
                virtuals = {at: Service(one.scheduler, one.timeout) for at, one in written.virtuals.items()}
                reals = {at: set(one.reals) for at, one in written.virtuals.items() if plan.virtuals.get(at) is not one}
            new = {at: one for at, one in plan.virtuals.items() if written is None or written.virtuals.get(at) is not one}
            ipvs.add({at: _service(one) for at, one in new.items() if at not in virtuals})
            ipvs.change({at: _service(one) for at, one in new.items() if at in virtuals and virtuals[at] != _service(one)})
            self._leaving = {(at, real) for at, real in self._leaving if at in plan.virtuals}
            back = {(at, real) for at, real in self._leaving if real in plan.virtuals[at].reals}
            ipvs.weigh(dict.fromkeys(back, 1))
            self._leaving -= back
            ipvs.add_servers([(at, real) for at, one in new.items() for real in sorted(one.reals - reals.get(at, set()))
                              if (at, real) not in back])
            self._retire(ipvs, [(at, real) for at, one in new.items() for real in reals.get(at, set()) - one.reals])
            kernel.set_addresses(self._family, index, sorted(wanted - there), sorted(there - wanted))
            gone = [at for at in virtuals if at not in plan.virtuals]
            ipvs.remove(gone)

    def _read(self, ipvs: Ipvs) -> tuple[dict[Address, Service], dict[Address, set[Real]]]:
        virtuals = {at: one for at, one in ipvs.services().items() if not self._foreign(at)}
        reals: dict[Address, set[Real]] = {}
        all_servers = kernel.all_servers(self._family)
        for at in virtuals:
            servers = all_servers.get(at, {})
            reals[at] = set(servers)
            self._leaving |= {(at, real) for real, server in servers.items() if not server.weight}
        return virtuals, reals

    def _retire(self, ipvs: Ipvs, servers: Iterable[tuple[Address, Real]]) -> None:
        """Takes servers out: those with connections only from new ones. One that keeps its clients for them would keep them for ever."""
        now: list[tuple[Address, Real]] = []
        later: dict[tuple[Address, Real], int] = {}
        known: dict[Address, dict[Real, kernel.Server]] = {}
        for at, real in servers:
            if at.protocol == "TCP":
                if at not in known:
                    known[at] = ipvs.servers(at)
                server = known[at].get(real)
                if server is not None and server.active + server.inactive:
                    later[at, real] = 0
                    continue
            now.append((at, real))
        ipvs.weigh({pair: weight for pair, weight in later.items() if pair not in self._leaving})
        self._leaving |= later.keys()
        ipvs.remove_servers(now)
        self._leaving -= set(now)

    def _foreign(self, at: Address) -> bool:
        return any(ipaddress.ip_address(at.ip) in network for network in self._excluded)

    async def _write_rules(self) -> None:
        options = self._options
        rules = rule.rules(self._family, local=options.local, remote=options.remote, masquerade_all=options.masquerade_all,
                           mark=options.mark)
        saved = table.parse_save((await run(f"{self._command}-save")).decode())
        for text in table.full(rules, saved, rule.JUMPS):
            await run(f"{self._command}-restore", *WAIT, "--noflush", "--counters", stdin=text.encode())

    async def intact(self) -> bool:
        """Lets go of servers that have no connections any more; looks for the canaries in iptables, for the ipsets, the virtual servers
        and their addresses, and whether the node's own addresses are still the same."""
        written = self._written
        if written is None:
            return False
        try:
            there = await asyncio.to_thread(self._sweep, written, await self._device())
        except (OSError, BackendError) as error:
            log.warning("Cannot see whether the virtual servers are still there", family=self._family, err=error)
            there = True
        there = there and await self._has_rules(written)
        if not there:
            log.warning("Rules or virtual servers have been flushed by someone else; writing all of them again", family=self._family)
            self._written = None
        return there

    async def _has_rules(self, written: Plan) -> bool:
        """One program for all tables, which are short here."""
        try:
            saved = table.parse_save((await run(f"{self._command}-save")).decode())
            counts = await asyncio.to_thread(kernel.count_members)
        except (BackendError, OSError) as error:
            log.warning("Cannot see whether the rules are still there", family=self._family, err=error)
            return True
        wanted = {ipset.name(one, self._family): len(members) for one, members in written.members.items()}
        return counts.items() >= wanted.items() and all(
            saved[name].chains.get(chain.CANARY) for name in table.TABLES if name in saved) and saved.keys() >= set(table.TABLES)

    def _sweep(self, written: Plan, index: int) -> bool:
        own, addresses = self._addresses(index)
        if own != self._own or not addresses >= written.addresses - own:
            return False
        with Ipvs(self._family) as ipvs:
            there = ipvs.holds(written.virtuals)
            if there:
                self._retire(ipvs, sorted(self._leaving))
        return there

    async def available(self) -> bool:
        """Whether the kernel and the programs are there for this family."""
        try:
            await asyncio.to_thread(lambda: Ipvs(self._family).__exit__())
            await run("ipset", "--version")
            await run(self._command, *WAIT, "-t", "nat", "-S", "POSTROUTING")
        except (OSError, BackendError) as error:
            why = "the kernel has no IPVS (module ip_vs)" if isinstance(error, OSError) and error.errno == errno.ENOENT else str(error)
            log.info("No virtual servers for this address family", family=self._family, err=why)
            return False
        return True

    def prepare(self) -> None:
        """Needs IPVS in the kernel: without it there are no such settings."""
        sysctl.ensure({**_SYSCTLS, **(_STRICT_ARP if self._options.strict_arp else {})})

    async def left_over(self) -> bool:
        try:
            saved = (await run(f"{self._command}-save", "-t", "filter")).decode()
        except BackendError:
            return False
        return f":{chain.IPVS_FILTER} " in saved

    def forget(self) -> None:
        """The next `apply` reads what is there and writes everything."""
        self._written = None

    async def cleanup(self) -> None:
        saved = table.parse_save((await run(f"{self._command}-save")).decode())
        if text := table.cleanup(saved):
            await run(f"{self._command}-restore", *WAIT, "--noflush", stdin=text.encode())
        await run("ipset", "restore", stdin=ipset.destroy(self._family).encode())
        try:
            await asyncio.to_thread(self._remove_servers)
        except OSError as error:
            raise BackendError(f"IPVS: {error}") from error
        self._written = None
        self._leaving.clear()

    def _remove_servers(self) -> None:
        with Ipvs(self._family) as ipvs:
            ipvs.remove([at for at in ipvs.services() if not self._foreign(at)])
        kernel.remove_device()


def _service(virtual: Virtual) -> Service:
    return Service(virtual.scheduler, virtual.timeout)
