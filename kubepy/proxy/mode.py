"""The backends by their names for `--proxy-mode`, and what is set for all of them."""
from __future__ import annotations

from dataclasses import dataclass, field

from kubepy.proxy.backend import Backend
from kubepy.proxy.iptables.backend import IptablesBackend
from kubepy.proxy.iptables.rule import Options as IptablesOptions
from kubepy.proxy.ipvs.backend import IpvsBackend
from kubepy.proxy.ipvs.backend import Options as IpvsOptions
from kubepy.proxy.model import Family, LocalTraffic
from kubepy.proxy.nftables.backend import NftablesBackend
from kubepy.proxy.nftables.rule import Options as NftablesOptions

MODES = ("iptables", "nftables", "ipvs")


@dataclass(frozen=True, slots=True)
class Settings:
    """`mark` is the masquerade mark; `localhost_node_ports` is for iptables alone; `every_address` (for nftables):
    node ports answer on all of them. From `scheduler` on for ipvs alone; timeouts in seconds."""

    local: LocalTraffic = field(default_factory=LocalTraffic)
    masquerade_all: bool = False
    mark: int = 0x4000
    localhost_node_ports: bool = True
    every_address: bool = False
    scheduler: str = "rr"
    exclude: tuple[str, ...] = ()
    strict_arp: bool = False
    tcp_timeout: int = 0
    tcp_fin_timeout: int = 0
    udp_timeout: int = 0
    drop_invalid: bool = True
    """For iptables: packets that connection tracking takes for invalid are dropped."""


def make(mode: str, settings: Settings, family: Family) -> Backend:
    if mode == "nftables":
        return NftablesBackend(NftablesOptions(settings.local, settings.masquerade_all, settings.mark, settings.every_address), family)
    local, remote = iptables_match(settings.local), iptables_match(settings.local, "! ")
    if mode == "ipvs":
        return IpvsBackend(IpvsOptions(
            local=local, remote=remote, masquerade_all=settings.masquerade_all, mark=settings.mark, scheduler=settings.scheduler,
            exclude=settings.exclude, strict_arp=settings.strict_arp, tcp_timeout=settings.tcp_timeout,
            tcp_fin_timeout=settings.tcp_fin_timeout, udp_timeout=settings.udp_timeout), family)
    return IptablesBackend(IptablesOptions(
        local_match=local, remote_match=remote,
        masquerade_all=settings.masquerade_all, mark=settings.mark, localhost_node_ports=settings.localhost_node_ports,
        drop_invalid=settings.drop_invalid), family)


def iptables_match(local: LocalTraffic, negated: str = "") -> str:
    """The iptables arguments that match what this cluster's pods send (or what they do not); "" where that cannot be told."""
    if local.cidr:
        return f"{negated}-s {local.cidr}"
    if local.bridge or local.prefix:
        return f"{negated}-i {local.bridge or local.prefix + '+'}"
    return ""
