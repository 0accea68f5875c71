"""Eviction: a deletion that PodDisruptionBudgets may refuse (`pods/eviction`), and that the pod's status tells of before it begins."""
from __future__ import annotations

from kubepy.api.errors import ApiError, BadRequest, Forbidden, TooManyRequests
from kubepy.api.meta import condition_is, set_condition
from kubepy.api.resource import POD_DISRUPTION_BUDGETS, PODS
from kubepy.api.selector import from_object
from kubepy.api.types import Object
from kubepy.apiserver.body import read_object
from kubepy.apiserver.exchange import Exchange
from kubepy.apiserver.registry.kind import Subresource
from kubepy.apiserver.request import Attributes, Context
from kubepy.apiserver.server import Server
from kubepy.apiserver.storage.interface import Entry
from kubepy.apiserver.verbs import option
from kubepy.apiserver.verbs.binding import BOUND
from kubepy.apiserver.verbs.delete import delete_object
from kubepy.base.clock import format_time

MAX_DISRUPTED = 2000
REFUSED = "Cannot evict pod as it would violate the pod's disruption budget."


async def serve(server: Server, exchange: Exchange, context: Context, sub: Subresource) -> None:
    info = context.info
    option.apply_write_options(context, "CreateOptions")
    eviction = await read_object(exchange, context, "policy", "v1", "Eviction")
    if (own := eviction["metadata"].get("name")) and own != info.name:
        raise BadRequest("name in URL does not match name in Eviction object")
    options = option.delete_options(context, eviction.get("deleteOptions") or {}) if eviction.get("deleteOptions") else {}
    attributes = Attributes(context, "CREATE", eviction, None, {}, "eviction", info.namespace, info.name)
    await server.admission.admit(attributes)
    eviction = attributes.obj or eviction
    await server.admission.admit_valid(attributes)
    entry = await server.services.store(PODS).get(info.namespace, info.name)
    pod = entry.decode()
    dry_run = context.dry_run or bool(options.get("dryRun"))
    if not ignores_budget(pod):
        await _ask_budget(server, pod, info.namespace, dry_run)
    context.dry_run = dry_run
    if not dry_run:
        options = await _tell(server, info.namespace, info.name, options)
    await delete_object(server, context, info.name, options)
    await exchange.answer_object(201, BOUND)


def ignores_budget(pod: Object) -> bool:
    """Finished, pending and terminating pods are no disruption."""
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed", "Pending") or bool(pod["metadata"].get("deletionTimestamp"))


async def _tell(server: Server, namespace: str, name: str, options: Object) -> Object:
    """Sets DisruptionTarget, for whoever owns the pod (a Job's policy for failures, say). Answers the options: a resource version that
    the deletion demands is the written one from now on."""
    wanted = options.get("preconditions") or {}
    now = format_time(server.clock.now())

    async def change(entry: Entry) -> Object:
        pod = entry.decode()
        metadata, status = pod["metadata"], pod.get("status") or {}
        if wanted.get("uid", metadata["uid"]) != metadata["uid"] or wanted.get("resourceVersion", metadata["resourceVersion"]) \
                != metadata["resourceVersion"]:
            return pod  # the deletion will say so
        seen = {"observedGeneration": metadata.get("generation", 0)} if status.get("observedGeneration") else {}
        condition = {"type": "DisruptionTarget", **seen, "status": "True", "reason": "EvictionByEvictionAPI",
                     "message": "Eviction API: evicting"}
        return {**pod, "status": {**status, "conditions": set_condition(status.get("conditions") or [], condition, now)}}

    entry, written = await server.services.store(PODS).update(namespace, name, change)
    if written and wanted.get("resourceVersion"):
        return {**options, "preconditions": {**wanted, "resourceVersion": str(entry.revision)}}
    return options


async def _ask_budget(server: Server, pod: Object, namespace: str, dry_run: bool) -> None:
    store = server.services.store(POD_DISRUPTION_BUDGETS)
    page = await store.list(namespace, resource_version="0")
    labels = pod["metadata"].get("labels") or {}
    found = [entry for entry in page.entries if _selects(entry, labels)]
    if len(found) > 1:
        raise ApiError("This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.", reason="")
    if not found:
        return
    now = format_time(server.clock.now())
    ready = condition_is(pod, "Ready")
    name = pod["metadata"]["name"]

    async def change(entry: Entry) -> Object:
        budget = entry.decode()
        spend(budget, name, ready=ready, now=now)
        return budget

    if dry_run:
        await change(await store.get(namespace, found[0].name))
    else:
        await store.update(namespace, found[0].name, change)


def _selects(entry: Entry, labels: Object) -> bool:
    return from_object((entry.decode().get("spec") or {}).get("selector")).matches(labels)


def spend(budget: Object, pod: str, *, ready: bool, now: str) -> None:
    """Takes one disruption from the budget, in place; leaves it as it is for an unready pod that may go without. Raises ApiError."""
    name = budget["metadata"]["name"]
    spec, status = budget.get("spec") or {}, budget.setdefault("status", {})
    healthy, desired = status.get("currentHealthy") or 0, status.get("desiredHealthy") or 0
    if not ready:
        policy = spec.get("unhealthyPodEvictionPolicy") or "IfHealthyBudget"
        if policy == "AlwaysAllow" or (healthy >= desired and desired > 0):
            return
    if (status.get("observedGeneration") or 0) < (budget["metadata"].get("generation") or 0):
        raise _refusal(f"The disruption budget {name} is still being processed by the server.", retry_after=10)
    allowed = status.get("disruptionsAllowed") or 0
    if allowed < 0:
        raise Forbidden.of(POD_DISRUPTION_BUDGETS, name, "pdb disruptions allowed is negative")
    if len(status.get("disruptedPods") or {}) > MAX_DISRUPTED:
        raise Forbidden.of(POD_DISRUPTION_BUDGETS, name, "DisruptedPods map too big - too many evictions not confirmed by PDB controller")
    if allowed == 0:
        if healthy >= desired:
            raise _refusal(f"The disruption budget {name} does not allow evicting pods currently")
        raise _refusal(f"The disruption budget {name} needs {desired} healthy pods and has {healthy} currently")
    status["disruptionsAllowed"] = allowed - 1
    if allowed == 1:
        condition = {"type": "DisruptionAllowed", "status": "False", "observedGeneration": status.get("observedGeneration") or 0,
                     "reason": "InsufficientPods", "message": ""}
        status["conditions"] = set_condition(status.get("conditions") or [], condition, now)
    status["disruptedPods"] = {**(status.get("disruptedPods") or {}), pod: now}


def _refusal(cause: str, *, retry_after: int = 0) -> TooManyRequests:
    error = TooManyRequests(REFUSED, {"causes": [{"reason": "DisruptionBudget", "message": cause}]}, retry_after=retry_after)
    if not retry_after and error.details is not None:
        del error.details["retryAfterSeconds"]
    return error
