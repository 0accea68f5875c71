"""One node of the pod network test: makes the kernel what the plan for the nodes on the command line says, and prints the changes."""
from __future__ import annotations

import asyncio
import sys
from ipaddress import ip_address

from kubepy.proxy.network import agent, kernel, masquerade
from kubepy.proxy.network.plan import plan


def main(backend: str, me: str, *nodes: str) -> None:
    """`nodes` are NAME,ADDRESS[+ADDRESS],RANGE[+RANGE]; the backend `cleanup` takes everything away."""
    if backend == "cleanup":
        asyncio.run(agent.cleanup())
        return
    rows = [node.split(",") for node in nodes]
    objects = [{"metadata": {"name": name}, "spec": {"podCIDRs": ranges.split("+")},
                "status": {"addresses": [{"type": "InternalIP", "address": ip} for ip in addresses.split("+")]}}
               for name, addresses, ranges in rows]
    address = next(addresses.split("+")[0] for name, addresses, _ in rows if name == me)
    for cluster in ("10.244.0.0/16", "fd00:244::/48"):
        if asyncio.run(masquerade.ensure(cluster)):
            print("+ rules")
    for line in kernel.apply(plan(me, objects, backend), backend, ip_address(address)):
        print(line)


main(*sys.argv[1:])
