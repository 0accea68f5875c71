"""Routes to the pods of each node, made by the provider (`cloud-provider/controllers/route`).

The key is always the same: routes are compared as a whole. A node learns from its NetworkUnavailable condition whether it is reached.
"""
from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_network
from typing import NamedTuple

from kubepy.api.errors import NotFound
from kubepy.api.resource import NODES
from kubepy.api.types import Object
from kubepy.base.clock import format_time
from kubepy.base.log import get_logger
from kubepy.client.controller import Controller, Watch
from kubepy.controllers.cloud import builtin
from kubepy.controllers.cloud.provider import ProviderError, Route, Routes
from kubepy.controllers.kit import condition
from kubepy.controllers.kit.environment import Environment
from kubepy.controllers.node.ipam import cidrs_of

log = get_logger("route")


class Plan(NamedTuple):
    """`wanted` says by node which routes it needs; a node without any has no range or no address yet."""

    wanted: dict[str, list[Route]]
    make: list[Route]
    remove: list[Route]


def plan(nodes: Sequence[Object], present: Sequence[Route], cluster: Sequence[str]) -> Plan:
    """Routes outside the cluster's ranges are somebody else's."""
    wanted = {node["metadata"]["name"]: routes_of(node) for node in nodes}
    needed = [route for routes in wanted.values() for route in routes]
    ranges = [ip_network(item) for item in cluster]
    ours = [route for route in present if any(_inside(route.cidr, item) for item in ranges)]
    return Plan(wanted, [route for route in needed if route not in present], [route for route in ours if route not in needed])


def routes_of(node: Object) -> list[Route]:
    internal = [item["address"] for item in (node.get("status") or {}).get("addresses") or () if item["type"] == "InternalIP"]
    found = []
    for cidr in cidrs_of(node):
        address = next((item for item in internal if (":" in item) is (":" in cidr)), None)
        if address is not None:
            found.append(Route(cidr, address))
    return found


def _inside(cidr: str, outer: object) -> bool:
    inner = ip_network(cidr)
    return inner.version == outer.version and inner.subnet_of(outer)  # type: ignore[attr-defined, arg-type]


class Reconciler:
    def __init__(self, env: Environment, routes: Routes) -> None:
        self._routes, self._clock, self._options = routes, env.clock, env.options
        self._client = env.client_for("route-controller")
        self._recorder = env.recorder("route_controller", "route-controller")
        self._nodes = env.informers.informer(NODES).lister

    async def reconcile(self, key: str) -> float | None:
        period = self._options.route_reconciliation_period
        nodes = self._nodes.list()
        try:
            todo = plan(nodes, await self._routes.all(), self._options.cluster_cidr)
        except ProviderError as error:
            log.warning("Cannot list routes", err=error)
            return period
        for route in todo.remove:
            try:
                await self._routes.remove(route)
            except ProviderError as error:
                log.warning("Cannot remove a route", cidr=route.cidr, address=route.address, err=error)
        failed: set[Route] = set()
        for route in todo.make:
            try:
                await self._routes.make(route)
            except ProviderError as error:
                failed.add(route)
                owner = next(node for node in nodes if route in todo.wanted[node["metadata"]["name"]])
                self._recorder.event(owner, "Warning", "FailedToCreateRoute",
                                     f"Could not create route {owner['metadata']['uid']} {route.cidr} for node "
                                     f"{owner['metadata']['name']}: {error}")
        for node in nodes:
            routes = todo.wanted[node["metadata"]["name"]]
            await self._tell(node, bool(routes) and not failed & set(routes))
        return period

    async def _tell(self, node: Object, reached: bool) -> None:
        before = condition.find((node.get("status") or {}).get("conditions") or (), "NetworkUnavailable")
        status, reason, message = (("False", "RouteCreated", "RouteController created a route") if reached
                                   else ("True", "NoRouteCreated", "RouteController failed to create a route"))
        if before is not None and (before["status"], before.get("reason")) == (status, reason):
            return
        moment = format_time(self._clock.now())
        new = {**condition.build("NetworkUnavailable", status, reason, message, moment), "lastHeartbeatTime": moment}
        try:
            await self._client.patch(NODES, node["metadata"]["name"], {"status": {"conditions": [new]}}, type="strategic",
                                     subresource="status")
        except NotFound:
            return


def controller(env: Environment) -> Controller | None:
    routes = builtin.provider(env.options).routes
    if routes is None or not env.options.cluster_cidr or not env.options.configure_cloud_routes:
        return None

    def matters(old: Object | None, new: Object | None) -> bool:
        return old is None or new is None or routes_of(old) != routes_of(new)

    return Controller("route", Reconciler(env, routes).reconcile, (Watch(NODES, keys=lambda node: ("all",), when=matters),))
