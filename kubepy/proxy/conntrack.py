"""Connection tracking entries that would keep UDP traffic going to where it no longer should.

TCP notices by itself; a UDP "connection" lives as long as packets come, also towards an endpoint that is gone, or towards an address
that had no endpoint when the first packet came. `stale` (pure) says which entries those are, `clear` deletes them.
"""
from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

from kubepy.base.log import get_logger
from kubepy.proxy.model import Endpoint, ServicePort

log = get_logger("conntrack")

AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Flows:
    """Entries to delete: by original destination or destination port, and, where given, by the endpoint they were translated to."""

    destination: str = ""
    port: int = 0
    endpoint: str = ""

    def arguments(self) -> list[str]:
        found = ["-D", "-p", "udp"]
        if ":" in self.destination or ":" in self.endpoint:
            found += ["-f", "ipv6"]
        if self.destination:
            found += ["--orig-dst", self.destination]
        if self.port:
            found += ["--dport", str(self.port)]
        if self.endpoint:
            found += ["--dst-nat", self.endpoint]
        return found


def stale(service: ServicePort | None, before: Iterable[Endpoint], after: Iterable[Endpoint]) -> list[Flows]:
    """For one service port (as it was, or None when it is new), its endpoints before and after a change."""
    if service is None or service.protocol != "UDP":
        return []
    old = {endpoint.ip for endpoint in before if endpoint.serving}
    new = {endpoint.ip for endpoint in after if endpoint.serving}
    addresses = [service.cluster_ip, *service.external_ips, *service.load_balancer_ips]
    found: list[Flows] = []
    for ip in sorted(old - new):
        found += [Flows(destination=address, endpoint=ip) for address in addresses]
        if service.node_port:
            found.append(Flows(port=service.node_port, endpoint=ip))
    if new and not old:
        found += [Flows(destination=address) for address in addresses]
        if service.node_port:
            found.append(Flows(port=service.node_port))
    return found


async def clear(flows: Iterable[Flows]) -> None:
    """Deletes them; what cannot be deleted is logged, since rules matter more."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(flow: Flows) -> None:
        async with gate:
            try:
                process = await asyncio.create_subprocess_exec("conntrack", *flow.arguments(), stdin=asyncio.subprocess.DEVNULL,
                                                               stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE)
            except OSError as error:
                log.warning("Cannot run conntrack; UDP clients may keep sending to endpoints that are gone", err=error)
                return
            _, err = await process.communicate()
            if process.returncode and b"0 flow entries" not in err:
                log.warning("Cannot delete connection tracking entries", args=" ".join(flow.arguments()),
                            err=err.decode(errors="replace").strip()[:300])

    await asyncio.gather(*(one(flow) for flow in dict.fromkeys(flows)))
