"""Which endpoints serve which traffic: readiness, termination, traffic policies, topology hints (upstream's CategorizeEndpoints)."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kubepy.proxy.model import Endpoint, NodeInfo, ServicePort

Endpoints = tuple[Endpoint, ...]


@dataclass(frozen=True, slots=True)
class Serving:
    """`cluster` serves traffic under the Cluster policy, `local` under Local; `reachable` is every endpoint that needs a way to it;
    `any` says whether any endpoint in the cluster could serve."""

    cluster: Endpoints
    local: Endpoints
    reachable: Endpoints
    any: bool


def serving(endpoints: Sequence[Endpoint], service: ServicePort, node: NodeInfo) -> Serving:
    """Where no endpoint is ready, those that terminate but still serve take over."""
    cluster: Endpoints = ()
    local: Endpoints = ()
    anywhere = False
    if service.uses_cluster:
        cluster = _in_topology([e for e in endpoints if e.ready], node)
        if not cluster:
            cluster = tuple(e for e in endpoints if e.serving and e.terminating)
        anywhere = bool(cluster)
        if not service.uses_local:
            return Serving(cluster, (), cluster, anywhere)
    local = tuple(e for e in endpoints if e.local and e.ready)
    if not local:
        local = tuple(e for e in endpoints if e.local and e.serving and e.terminating)
    if not anywhere:
        anywhere = any(e.ready or (e.serving and e.terminating) for e in endpoints)
    if not service.uses_cluster:
        return Serving((), local, local, anywhere)
    return Serving(cluster, local, tuple(dict.fromkeys((*cluster, *local))), anywhere)


def _in_topology(ready: Sequence[Endpoint], node: NodeInfo) -> Endpoints:
    """Keeps to the endpoints hinted for this node, else for its zone, where every ready endpoint has a hint and one is for us."""
    if ready and node.name and all(e.nodes for e in ready):
        same = tuple(e for e in ready if node.name in e.nodes)
        if same:
            return same
    if ready and node.zone and all(e.zones for e in ready):
        same = tuple(e for e in ready if node.zone in e.zones)
        if same:
            return same
    return tuple(ready)
