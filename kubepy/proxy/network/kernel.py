"""Makes the kernel's routes and tunnel what the plan says, through netlink. Every call blocks: run it in a thread.

Ours are known by their routing protocol number, so what somebody else has set is never touched. Each pass compares with what is there:
whatever was taken away comes back, whatever is left from an earlier node or backend goes.
"""
from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from kubepy.proxy.network.plan import VXLAN_OVERHEAD, Address, Plan, Route, Tunnel, vxlan_mac

PROTOCOL = 107
"""`rtm_protocol` of our routes: one of the numbers that nobody has reserved."""
DEVICE = "kubepy.vxlan"
VXLAN_ID, VXLAN_PORT = 4096, 4789
_ONLINK, _PERMANENT = 4, 0x80
FAMILIES = (socket.AF_INET, socket.AF_INET6)


class NetworkError(Exception):
    """The kernel refused; the message says what."""


@dataclass(frozen=True, slots=True)
class Uplink:
    """The interface that has the node's address. MTU in bytes."""

    index: int
    mtu: int


@contextmanager
def _netlink() -> Iterator[Any]:
    try:
        with IPRoute() as netlink:
            yield netlink
    except NetlinkError as error:
        raise NetworkError(f"netlink: {error}") from error


def uplink(address: str) -> Uplink:
    """Raises NetworkError when no interface has this address."""
    with _netlink() as netlink:
        return _uplink(netlink, address)


def _uplink(netlink: Any, address: str) -> Uplink:
    for entry in netlink.get_addr(family=_family(address)):
        if address in (entry.get_attr("IFA_LOCAL"), entry.get_attr("IFA_ADDRESS")):
            link = next(iter(netlink.get_links(entry["index"])))
            return Uplink(entry["index"], int(link.get_attr("IFLA_MTU")))
    raise NetworkError(f"no interface of this machine has the node's address {address}")


def apply(plan: Plan, backend: str, address: Address) -> list[str]:
    """Makes it so; returns a line for each change. A refused route does not keep the others from being set: NetworkError comes last."""
    changes: list[str] = []
    with _netlink() as netlink:
        device = None
        if backend == "vxlan" and plan.own:
            device = _ensure_tunnel(netlink, plan, address, changes)
            _forward(netlink, device, plan.tunnels, changes)
        elif backend != "vxlan":
            _remove_tunnel(netlink, changes)
        _route(netlink, plan.routes if backend == "host-gw" or device is not None else frozenset(), device, changes)
    return changes


def remove() -> None:
    """Takes all of ours away."""
    with _netlink() as netlink:
        _route(netlink, frozenset(), None, [])
        _remove_tunnel(netlink, [])


def _family(address: str) -> int:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def _route(netlink: Any, wanted: frozenset[Route], device: int | None, changes: list[str]) -> None:
    there: dict[str, tuple[str, int | None]] = {}
    for family in FAMILIES:
        for entry in (each for each in netlink.get_routes(family=family, proto=PROTOCOL) if each["proto"] == PROTOCOL):
            there[f"{entry.get_attr('RTA_DST')}/{entry['dst_len']}"] = (entry.get_attr("RTA_GATEWAY"), entry.get_attr("RTA_OIF"))
    for destination in sorted(there.keys() - {route.destination for route in wanted}):
        netlink.route("del", family=_family(destination), dst=destination, proto=PROTOCOL)
        changes.append(f"- route {destination}")
    problems = []
    for route in sorted(wanted):
        gateway, out = there.get(route.destination, ("", None))
        if gateway == route.gateway and device in (None, out):
            continue
        extra = {"oif": device, "flags": _ONLINK} if device is not None else {}
        try:
            if gateway and ":" in gateway:  # the kernel would look the new gateway up by the old route, and refuse it
                netlink.route("del", family=socket.AF_INET6, dst=route.destination, proto=PROTOCOL)
            netlink.route("replace", family=_family(route.destination), dst=route.destination, gateway=route.gateway, proto=PROTOCOL,
                          **extra)
        except NetlinkError as error:
            problems.append(f"route to {route.destination} via {route.gateway}: {error}")
            continue
        changes.append(f"+ route {route.destination} via {route.gateway}")
    if problems:
        raise NetworkError("; ".join(problems) + ("" if device else " (nodes on different networks need --network-backend=vxlan)"))


def _ensure_tunnel(netlink: Any, plan: Plan, address: Address, changes: list[str]) -> int:
    """The tunnel's interface; a device with other settings is made anew."""
    under = _uplink(netlink, str(address))
    mtu, mac = under.mtu - VXLAN_OVERHEAD[address.version], vxlan_mac(address)
    local, local_attribute = ("vxlan_local6", "IFLA_VXLAN_LOCAL6") if address.version == 6 else ("vxlan_local", "IFLA_VXLAN_LOCAL")
    found = netlink.link_lookup(ifname=DEVICE)
    if found:
        link = next(iter(netlink.get_links(found[0])))
        data = link.get_attr("IFLA_LINKINFO").get_attr("IFLA_INFO_DATA")
        same = (link.get_attr("IFLA_ADDRESS"), data.get_attr(local_attribute), link.get_attr("IFLA_MTU")) == (mac, str(address), mtu)
        if not same:
            netlink.link("del", index=found[0])
            found = []
    if not found:
        netlink.link("add", ifname=DEVICE, kind="vxlan", vxlan_id=VXLAN_ID, vxlan_port=VXLAN_PORT, vxlan_link=under.index,
                     vxlan_learning=False, address=mac, mtu=mtu, **{local: str(address)})
        found = netlink.link_lookup(ifname=DEVICE)
        changes.append(f"+ {DEVICE} on {address}, mtu {mtu}")
    index = int(found[0])
    netlink.link("set", index=index, state="up")
    for family in FAMILIES:
        length = 128 if family == socket.AF_INET6 else 32
        have = {entry.get_attr("IFA_ADDRESS") for entry in netlink.get_addr(index=index, family=family)
                if entry["index"] == index and entry["prefixlen"] == length}  # not the link-local one
        want = {str(network.network_address) for network in plan.own if _family(str(network)) == family}
        for old in have - want:
            netlink.addr("del", index=index, family=family, address=old, prefixlen=length)
        for new in want - have:
            netlink.addr("add", index=index, family=family, address=new, prefixlen=length)
    return index


def _forward(netlink: Any, device: int, wanted: frozenset[Tunnel], changes: list[str]) -> None:
    """Neighbours (gateway → MAC) and forwarding entries (MAC → node) of the tunnel: set, and those of nodes that have left removed."""
    neighbours = {(entry.get_attr("NDA_DST"), entry.get_attr("NDA_LLADDR")) for family in FAMILIES
                  for entry in netlink.get_neighbours(family=family, ifindex=device)
                  if entry["ifindex"] == device and entry["state"] & _PERMANENT}
    entries = {(entry.get_attr("NDA_LLADDR"), entry.get_attr("NDA_DST")) for entry in netlink.fdb("dump", ifindex=device)
               if entry["ifindex"] == device and entry.get_attr("NDA_DST")}
    for gateway, mac in neighbours - {(tunnel.gateway, tunnel.mac) for tunnel in wanted}:
        if mac:
            netlink.neigh("del", family=_family(gateway), dst=gateway, lladdr=mac, ifindex=device)
    for mac, node in entries - {(tunnel.mac, tunnel.node) for tunnel in wanted}:
        netlink.fdb("del", ifindex=device, lladdr=mac, dst=node)
        changes.append(f"- tunnel to {node}")
    for tunnel in sorted(wanted):
        if (tunnel.gateway, tunnel.mac) not in neighbours:
            netlink.neigh("replace", family=_family(tunnel.gateway), dst=tunnel.gateway, lladdr=tunnel.mac, ifindex=device,
                          state=_PERMANENT)
        if (tunnel.mac, tunnel.node) not in entries:
            entries.add((tunnel.mac, tunnel.node))
            netlink.fdb("append", ifindex=device, lladdr=tunnel.mac, dst=tunnel.node)
            changes.append(f"+ tunnel to {tunnel.node}")


def _remove_tunnel(netlink: Any, changes: list[str]) -> None:
    for index in netlink.link_lookup(ifname=DEVICE):
        netlink.link("del", index=index)
        changes.append(f"- {DEVICE}")
