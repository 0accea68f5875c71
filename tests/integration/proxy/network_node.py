"""One node of the pod network test: makes the kernel what the plan for the nodes on the command line says, and prints the changes."""
from __future__ import annotations

import asyncio
import sys
from ipaddress import IPv4Address

from kubepy.proxy.network import agent, kernel, masquerade
from kubepy.proxy.network.plan import plan


def main(backend: str, me: str, *nodes: str) -> None:
    """`nodes` are NAME,ADDRESS,RANGE; the backend `cleanup` takes everything away."""
    if backend == "cleanup":
        asyncio.run(agent.cleanup())
        return
    rows = [node.split(",") for node in nodes]
    objects = [{"metadata": {"name": name}, "spec": {"podCIDRs": [cidr]}, "status": {"addresses": [{"type": "InternalIP", "address": ip}]}}
               for name, ip, cidr in rows]
    address = next(ip for name, ip, _ in rows if name == me)
    if asyncio.run(masquerade.ensure("10.244.0.0/16")):
        print("+ rules")
    for line in kernel.apply(plan(me, objects, backend), backend, IPv4Address(address)):
        print(line)


main(*sys.argv[1:])
