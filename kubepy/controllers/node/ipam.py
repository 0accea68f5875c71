"""A pod CIDR for each node (`pkg/controller/nodeipam`, RangeAllocator): one of each family of `--cluster-cidr`.

A range is free again when its node is deleted. Ranges that overlap the service range are not given out.
"""
from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from kubepy.api.errors import NotFound
from kubepy.api.resource import NODES
from kubepy.api.types import Object
from kubepy.base.log import get_logger
from kubepy.base.metrics import counter, gauge
from kubepy.client.controller import Controller, Watch
from kubepy.controllers.kit.environment import Environment

CIDRS = ("clusterCIDR",)
USED = gauge("node_ipam_controller_cidrset_usage_cidrs", "Gauge measuring percentage of allocated CIDRs.", CIDRS)
MOST = gauge("node_ipam_controller_cirdset_max_cidrs", "Maximum number of CIDRs that can be allocated.", CIDRS)
ALLOCATED = counter("node_ipam_controller_cidrset_cidrs_allocations_total", "Counter measuring total number of CIDR allocations.", CIDRS)
RELEASED = counter("node_ipam_controller_cidrset_cidrs_releases_total", "Counter measuring total number of CIDR releases.", CIDRS)
log = get_logger("nodeipam")

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Exhausted(Exception):
    """No range is left."""


class CidrSet:
    """Ranges of one size in a network. Taking and giving back cost little, finding a free one looks at where the last was found."""

    def __init__(self, network: str, mask: int) -> None:
        self.network: Network = ipaddress.ip_network(network)
        if mask < self.network.prefixlen:
            raise ValueError(f"node CIDR mask /{mask} is larger than the cluster CIDR {network}")
        if mask - self.network.prefixlen > 16:
            raise ValueError(f"node CIDR mask /{mask} splits {network} into more than 65536 ranges")
        self._shift = self.network.max_prefixlen - mask
        self._mask = mask
        self._size = 1 << (mask - self.network.prefixlen)
        self._used: set[int] = set()
        self._next = 0
        self._name = str(self.network)
        MOST.labels(self._name).set(self._size)

    def allocate(self) -> str:
        for offset in range(self._size):
            index = (self._next + offset) % self._size
            if index not in self._used:
                self._used.add(index)
                ALLOCATED.labels(self._name).inc()
                self._measure()
                self._next = index + 1
                base = type(self.network.network_address)(int(self.network.network_address) + (index << self._shift))
                return f"{base}/{self._mask}"
        raise Exhausted(str(self.network))

    def occupy(self, cidr: str) -> None:
        self._used.update(self._indexes(cidr))
        self._measure()

    def release(self, cidr: str) -> None:
        before = len(self._used)
        self._used.difference_update(self._indexes(cidr))
        RELEASED.labels(self._name).inc(before - len(self._used))
        self._measure()

    def _measure(self) -> None:
        USED.labels(self._name).set(len(self._used) / self._size)

    def _indexes(self, cidr: str) -> Iterable[int]:
        """The ranges that a network touches; none when it is elsewhere or cannot be read."""
        try:
            other: Network = ipaddress.ip_network(cidr, strict=False)
        except ValueError:
            return ()
        if other.version != self.network.version or not other.overlaps(self.network):
            return ()
        start = max(int(other.network_address), int(self.network.network_address)) - int(self.network.network_address)
        end = min(int(other.broadcast_address), int(self.network.broadcast_address)) - int(self.network.network_address)
        return range(start >> self._shift, (end >> self._shift) + 1)


def cidrs_of(node: Object) -> list[str]:
    spec = node.get("spec") or {}
    return list(spec.get("podCIDRs") or ([spec["podCIDR"]] if spec.get("podCIDR") else ()))


class Reconciler:
    """One worker: allocation is a matter of order."""

    def __init__(self, env: Environment) -> None:
        options = env.options
        self._client = env.client_for("node-controller")
        self._recorder = env.recorder("cidrAllocator", "node-controller")
        self._nodes = env.informers.informer(NODES).lister
        self._sets = [CidrSet(cidr, options.node_cidr_mask_size_ipv6 if ":" in cidr else options.node_cidr_mask_size_ipv4)
                      for cidr in options.cluster_cidr]
        self._given: set[str] = set()  # UIDs of nodes whose range was written and is not in the cache yet
        for ranges in self._sets:
            for service in options.service_cluster_ip_range:
                ranges.occupy(service)

    def observe(self, old: Object | None, new: Object | None) -> None:
        seen = new or old
        if seen is not None and (new is None or cidrs_of(new)):
            self._given.discard(seen["metadata"]["uid"])
        for ranges in self._sets:
            if new is None and old is not None:
                for cidr in cidrs_of(old):
                    ranges.release(cidr)
            elif new is not None:
                for cidr in cidrs_of(new):
                    ranges.occupy(cidr)

    async def reconcile(self, key: str) -> float | None:
        node = self._nodes.get(key)
        if node is None or cidrs_of(node) or node["metadata"].get("deletionTimestamp") is not None:
            return None
        if node["metadata"]["uid"] in self._given:
            return None
        taken: list[str] = []
        try:
            for ranges in self._sets:
                taken.append(ranges.allocate())
            patch = {"metadata": {"uid": node["metadata"]["uid"]}, "spec": {"podCIDR": taken[0], "podCIDRs": taken}}
            await self._client.patch(NODES, key, patch)
        except Exhausted as error:
            self._give_back(taken)
            self._recorder.event(node, "Normal", "CIDRNotAvailable", f"Node {key} status is now: CIDRNotAvailable")
            log.error("No pod CIDR left", node=key, cluster_cidr=error)
            return 30.0
        except NotFound:
            self._give_back(taken)
        except Exception:
            self._give_back(taken)  # should the write have happened after all, the watch occupies them again
            raise
        else:
            self._given.add(node["metadata"]["uid"])
            log.info("Node has its pod CIDR", node=key, cidrs=",".join(taken))
        return None

    def _give_back(self, taken: list[str]) -> None:
        for ranges, cidr in zip(self._sets, taken, strict=False):
            ranges.release(cidr)


def controller(env: Environment) -> Controller | None:
    if not env.options.allocate_node_cidrs or not env.options.cluster_cidr:
        return None
    reconciler = Reconciler(env)
    return Controller("node_ipam", reconciler.reconcile, (Watch(NODES, observe=reconciler.observe),))
