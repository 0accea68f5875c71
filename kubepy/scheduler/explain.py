"""Why a pod goes where it goes: for every node the filter that refuses it, or each plugin's part of its score. Beyond upstream.

`explain` is pure. `handler` serves it as JSON on the scheduler's port, to those who may ask:

    GET  /debug/explain?pod=NAMESPACE/NAME[&without=NODE,…]      a pod that exists
    POST /debug/explain[?without=NODE,…]                         a manifest that does not yet
"""
from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection

import orjson
from aiohttp import web

from kubepy.api.errors import ApiError, NotFound
from kubepy.api.resource import PODS
from kubepy.api.types import Object
from kubepy.scheduler.cycle import fit, reasons_at, rivals_counted, score
from kubepy.scheduler.framework import Cycle, Profile
from kubepy.scheduler.pod import Parser, Pod
from kubepy.scheduler.scheduler import Scheduler
from kubepy.scheduler.snapshot import Snapshot


def explain(pod: Pod, snapshot: Snapshot, profile: Profile, without: Collection[str] = ()) -> Object:
    """`without` are nodes to leave out, as if they had been drained. The pod itself is not counted where it already runs."""
    placed = snapshot.placed.get(pod.key)
    running = placed is not None and placed.node in snapshot.nodes
    if placed is not None and running:
        snapshot.lift(placed)
    try:
        return _explain(pod, snapshot, profile, without)
    finally:
        if placed is not None and running:
            snapshot.put_back(placed)


def _explain(pod: Pod, snapshot: Snapshot, profile: Profile, without: Collection[str]) -> Object:
    cycle = Cycle(pod, snapshot)
    gates = [why for plugin in profile.points["preEnqueue"] if (why := plugin.pre_enqueue(pod)) is not None]
    feasible, unfit = fit(cycle, profile)
    for name in without:
        if (node := snapshot.nodes.get(name)) is not None:
            feasible[node.slot] = False
    total, parts = score(cycle, profile, feasible) if feasible.any() else (None, {})
    nodes: list[Object] = []
    for node in snapshot.nodes.values():
        entry: Object = {"name": node.name, "feasible": bool(feasible[node.slot])}
        if node.name in without:
            entry["reasons"] = ["left out"]
        elif not entry["feasible"]:
            plugin, reasons = _refusal(cycle, profile, node.name)
            if not reasons:
                with rivals_counted(snapshot, pod):
                    plugin, reasons = _refusal(Cycle(pod, snapshot), profile, node.name)
            entry["plugin"], entry["reasons"] = plugin, reasons or [unfit.pre_filter or "refused"]
        elif total is not None:
            entry["score"] = float(total[node.slot])
            entry["scores"] = {name: float(part[node.slot]) for name, part in parts.items()}
        nodes.append(entry)
    nodes.sort(key=lambda entry: (not entry["feasible"], -entry.get("score", 0), entry["name"]))
    return {"pod": pod.key, "profile": profile.name, "gates": gates, "feasible": sum(e["feasible"] for e in nodes),
            "message": "" if feasible.any() else unfit.message(), "nodes": nodes}


def _refusal(cycle: Cycle, profile: Profile, name: str) -> tuple[str, list[str]]:
    node = cycle.snapshot.nodes[name]
    cycle.alive = None  # all nodes are in question, also those that were refused before
    for plugin in profile.filters:
        found = [refusal.reason for refusal in plugin.filter(cycle) if refusal.nodes[node.slot]]
        if found:
            return plugin.name, found
    return "", [reason.text for reason in reasons_at(cycle, profile, node)]


def handler(current: Callable[[], Scheduler | None]) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """`current` is the scheduler, or None while another process leads."""
    parser = Parser(1000)

    async def answer(request: web.Request) -> web.StreamResponse:
        scheduler = current()
        if scheduler is None:
            return web.Response(status=503, text="this scheduler does not lead: ask the one that holds the lease\n")
        try:
            if request.method == "POST":
                obj = orjson.loads(await request.read())
                obj["metadata"].setdefault("namespace", "default")
                obj["metadata"].setdefault("name", "what-if")
            else:
                namespace, _, name = request.query.get("pod", "").rpartition("/")
                obj = await scheduler.client.get(PODS, name, namespace or "default")
            pod = parser.parse(obj)
            profile = scheduler.config.profiles.get(pod.scheduler)
        except NotFound as error:
            return web.Response(status=404, text=f"{error}\n")
        except (ApiError, ConnectionError, orjson.JSONDecodeError, KeyError, TypeError, AttributeError, ValueError) as error:
            return web.Response(status=400, text=f"not a pod: {error}\n")
        if profile is None:
            return web.Response(status=404, text=f"no profile is called {pod.scheduler}\n")
        without = [name for name in request.query.get("without", "").split(",") if name]
        return web.Response(body=orjson.dumps(explain(pod, scheduler.snapshot, profile, without)), content_type="application/json")

    return answer
