"""ResourcePoolStatusRequests (`pkg/controller/resourcepoolstatusrequest`): how many devices pools have, and how many of them are free.

Each question is answered once, from what drivers publish, what is allocated and what is tainted; answers go after an hour, questions
nobody could answer after a day. A pool that is still being published is waited for, a few times.
"""
from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from time import perf_counter

from kubepy.api.errors import ApiError, NotFound
from kubepy.api.resource import DEVICE_TAINT_RULES, RESOURCE_CLAIMS, RESOURCE_POOL_STATUS_REQUESTS, RESOURCE_SLICES
from kubepy.api.scheduling import device_rule_matches
from kubepy.api.types import Object
from kubepy.base.clock import format_time, parse_time
from kubepy.base.metrics import counter, histogram
from kubepy.client.controller import Controller, Watch
from kubepy.controllers.kit.environment import Environment

ACCOUNT = "resourcepoolstatusrequest-controller"
ANSWERED_SECONDS, PENDING_SECONDS = 3600.0, 86400.0
DEFAULT_LIMIT, ATTEMPTS, MAX_ERROR = 100, 5, 256
BLOCKING = ("NoSchedule", "NoExecute")
PROCESSED = counter("resourcepoolstatusrequest_controller_requests_processed_total",
                    "Total number of ResourcePoolStatusRequests processed", ("driver_name",))
ERRORS = counter("resourcepoolstatusrequest_controller_request_processing_errors_total",
                 "Total number of errors encountered while processing ResourcePoolStatusRequests", ("driver_name",))
SECONDS = histogram("resourcepoolstatusrequest_controller_request_processing_duration_seconds",
                    "Time taken to process a ResourcePoolStatusRequest", ("driver_name",), tuple(0.001 * 2 ** step for step in range(15)))


@dataclass(slots=True)
class Pool:
    """The slices of a pool's newest generation."""

    driver: str
    name: str
    generation: int = 0
    expected: int = 0
    nodes: set[str] = field(default_factory=set)
    slices: int = 0
    devices: list[Object] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        return self.slices >= self.expected


def pools(slices: Iterable[Object], driver: str, name: str = "") -> list[Pool]:
    """Of one driver, and perhaps one name; sorted by name."""
    found: dict[str, Pool] = {}
    for item in slices:
        spec, pool = item["spec"], item["spec"]["pool"]
        if spec["driver"] != driver or (name and pool["name"] != name):
            continue
        generation = pool.get("generation") or 0
        known = found.get(pool["name"])
        if known is None or generation > known.generation:
            known = found[pool["name"]] = Pool(driver, pool["name"], generation, pool.get("resourceSliceCount") or 0)
        if generation == known.generation:
            known.slices += 1
            known.nodes.add(spec.get("nodeName") or "")
            known.devices += spec.get("devices") or ()
    return [found[key] for key in sorted(found)]


def in_use(claims: Iterable[Object]) -> dict[tuple[str, str], set[str]]:
    """Devices that are allocated, by driver and pool; each once, whoever shares it. Who only looks (adminAccess) uses nothing."""
    found: dict[tuple[str, str], set[str]] = {}
    for claim in claims:
        allocation = (claim.get("status") or {}).get("allocation") or {}
        for result in (allocation.get("devices") or {}).get("results") or ():
            if not result.get("adminAccess"):
                found.setdefault((result["driver"], result["pool"]), set()).add(result["device"])
    return found


def is_blocked(pool: Pool, device: Object, rules: Iterable[Object]) -> bool:
    if any(taint["effect"] in BLOCKING for taint in device.get("taints") or ()):
        return True
    return any(rule["spec"]["taint"]["effect"] in BLOCKING and device_rule_matches(rule, pool.driver, pool.name, device["name"])
               for rule in rules)


def pool_status(pool: Pool, used: set[str], rules: Iterable[Object]) -> Object:
    status: Object = {"driver": pool.driver, "poolName": pool.name, "generation": pool.generation}
    if len(pool.nodes) == 1 and "" not in pool.nodes:
        status["nodeName"] = next(iter(pool.nodes))
    if not pool.complete:
        message = (f"pool {pool.driver}/{pool.name} is incomplete: observed {pool.slices}/{pool.expected} slices at generation "
                   f"{pool.generation}")
        return {**status, "validationError": message[:MAX_ERROR]}
    blocked = sum(is_blocked(pool, device, rules) for device in pool.devices)
    total, allocated = len(pool.devices), len(used)
    return {**status, "resourceSliceCount": pool.slices, "totalDevices": total, "allocatedDevices": allocated,
            "availableDevices": max(0, total - allocated - blocked), "unavailableDevices": blocked}


def plan(request: Object, slices: Iterable[Object], claims: Iterable[Object], rules: Iterable[Object], now: str) -> Object:
    """The answer."""
    spec, rules, used = request["spec"], list(rules), in_use(claims)
    found = pools(slices, spec["driver"], spec.get("poolName") or "")
    shown = [pool_status(pool, used.get((pool.driver, pool.name), set()), rules) for pool in found[:spec.get("limit") or DEFAULT_LIMIT]]
    incomplete = sum("validationError" in item for item in shown)
    message = f"Calculated status for {len(shown)} pools" + (f" ({incomplete} incomplete)" if incomplete else "")
    status: Object = {"poolCount": len(found), "conditions": [
        {"type": "Complete", "status": "True", "reason": "CalculationComplete", "message": message, "lastTransitionTime": now}]}
    return {**status, "pools": shown} if shown else status


def expires_at(request: Object) -> float:
    status = request.get("status")
    if status is None:
        return parse_time(request["metadata"]["creationTimestamp"]) + PENDING_SECONDS
    moments = [item["lastTransitionTime"] for item in status.get("conditions") or () if item["type"] in ("Complete", "Failed")]
    return parse_time(moments[0] if moments else request["metadata"]["creationTimestamp"]) + ANSWERED_SECONDS


def controller(env: Environment) -> Controller:
    client = env.client_for(ACCOUNT)
    requests = env.informers.informer(RESOURCE_POOL_STATUS_REQUESTS).lister
    slices, claims = env.informers.informer(RESOURCE_SLICES).lister, env.informers.informer(RESOURCE_CLAIMS).lister
    ruled = env.options.gates.enabled("DRADeviceTaintRules")
    rules = env.informers.informer(DEVICE_TAINT_RULES).lister if ruled else None
    attempts: dict[str, int] = {}

    async def answer(request: Object) -> float | None:
        name, driver, began = request["metadata"]["name"], request["spec"]["driver"], perf_counter()
        status = plan(request, slices.list(), claims.list(), rules.list() if rules is not None else (), format_time(env.clock.now()))
        tried = attempts[name] = attempts.get(name, 0) + 1
        if tried <= ATTEMPTS and any("validationError" in item for item in status.get("pools") or ()):
            return 0.1 * (1 << tried)
        try:
            await client.update(RESOURCE_POOL_STATUS_REQUESTS, {**request, "status": status}, subresource="status")
        except ApiError:
            ERRORS.labels(driver).inc()
            raise
        finally:
            PROCESSED.labels(driver).inc()
            SECONDS.labels(driver).observe(perf_counter() - began)
        return ANSWERED_SECONDS

    async def reconcile(name: str) -> float | None:
        request = requests.get(name)
        if request is None:
            attempts.pop(name, None)
            return None
        wait = expires_at(request) - env.clock.now()
        if wait > 0:
            return wait if request.get("status") is not None else await answer(request)
        try:
            await client.delete(RESOURCE_POOL_STATUS_REQUESTS, name, uid=request["metadata"]["uid"])
        except NotFound:
            return None
        return None

    read = [Watch(RESOURCE_SLICES, keys=None), Watch(RESOURCE_CLAIMS, keys=None)]
    if ruled:
        read.append(Watch(DEVICE_TAINT_RULES, keys=None))
    return Controller("resourcepoolstatusrequest", reconcile, (Watch(RESOURCE_POOL_STATUS_REQUESTS), *read), workers=10)
