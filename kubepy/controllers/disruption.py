"""PodDisruptionBudget status (`pkg/controller/disruption`): how many pods may be evicted now.

What is expected of a budget in percent or with maxUnavailable is the scale of its pods' controllers. Pods that an eviction has
been granted for count as gone for two minutes, until the cache shows it. Pods without a controller count for nothing where a
controller's scale is needed, which is told in an event.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from kubepy.api.errors import ApiError, NotFound
from kubepy.api.pod import controller_of, is_ready, is_terminal
from kubepy.api.resource import (
    DEPLOYMENTS,
    POD_DISRUPTION_BUDGETS,
    PODS,
    REPLICA_SETS,
    REPLICATION_CONTROLLERS,
    STATEFUL_SETS,
    Resource,
)
from kubepy.api.selector import from_object
from kubepy.api.types import Object
from kubepy.base.clock import format_time, parse_time
from kubepy.client.controller import Controller, Watch
from kubepy.client.store import key_of, split_key
from kubepy.controllers.deployment.rollout import replicas, resolve
from kubepy.controllers.kit import condition
from kubepy.controllers.kit.discovery import discover
from kubepy.controllers.kit.environment import Environment

DISRUPTION_TIMEOUT = 120.0
_SCALED = {"ReplicaSet": REPLICA_SETS, "ReplicationController": REPLICATION_CONTROLLERS, "StatefulSet": STATEFUL_SETS}


class Expected(NamedTuple):
    pods: int
    healthy: int


def needs_scale(budget: Object) -> bool:
    """Whether the number of pods that should be there is asked of their controllers."""
    spec = budget["spec"]
    return spec.get("maxUnavailable") is not None or isinstance(spec.get("minAvailable"), str)


def expect(budget: Object, pods: int, scale: int) -> Expected:
    spec = budget["spec"]
    if spec.get("maxUnavailable") is not None:
        return Expected(scale, max(scale - resolve(spec["maxUnavailable"], scale, up=True), 0))
    minimum = spec.get("minAvailable")
    if isinstance(minimum, str):
        return Expected(scale, resolve(minimum, scale, up=True))
    return Expected(pods, int(minimum) if minimum is not None else 0)


def still_disrupted(budget: Object, pods: Sequence[Object], now: float) -> dict[str, str]:
    """The granted evictions that do not show yet."""
    present = {pod["metadata"]["name"] for pod in pods if pod["metadata"].get("deletionTimestamp") is None}
    granted: dict[str, str] = (budget.get("status") or {}).get("disruptedPods") or {}
    return {name: at for name, at in granted.items() if name in present and parse_time(at) + DISRUPTION_TIMEOUT > now}


def new_status(budget: Object, pods: Sequence[Object], expected: Expected, now: float) -> Object:
    disrupted = still_disrupted(budget, pods, now)
    healthy = sum(1 for pod in pods if is_ready(pod) and pod["metadata"].get("deletionTimestamp") is None
                  and pod["metadata"]["name"] not in disrupted)
    allowed = max(healthy - expected.healthy, 0) if expected.pods > 0 else 0
    reason = "SufficientPods" if allowed > 0 else "InsufficientPods"
    generation = budget["metadata"].get("generation", 0)
    verdict = {**condition.build("DisruptionAllowed", "True" if allowed else "False", reason, "", format_time(now)),
               "observedGeneration": generation}
    conditions = condition.merge((budget.get("status") or {}).get("conditions") or (), verdict)
    status: Object = {"currentHealthy": healthy, "desiredHealthy": expected.healthy, "expectedPods": expected.pods,
                      "disruptionsAllowed": allowed, "observedGeneration": generation, "conditions": conditions}
    if disrupted:
        status["disruptedPods"] = disrupted
    return status


class Reconciler:
    def __init__(self, env: Environment) -> None:
        self._clock = env.clock
        self._client = env.client_for("disruption-controller")
        self._recorder = env.recorder("controllermanager", "disruption-controller")
        self._budgets = env.informers.informer(POD_DISRUPTION_BUDGETS).lister
        self._pods = env.informers.informer(PODS).lister
        self._owners = {kind: env.informers.informer(resource).lister for kind, resource in (*_SCALED.items(), ("Deployment", DEPLOYMENTS))}
        self._kinds: dict[tuple[str, str], Resource] = {}

    async def reconcile(self, key: str) -> float | None:
        namespace, name = split_key(key)
        budget = self._budgets.get(name, namespace)
        if budget is None:
            return None
        selector = from_object(budget["spec"].get("selector"))
        pods = [pod for pod in self._pods.list(namespace) if not is_terminal(pod) and selector.matches(pod["metadata"].get("labels"))]
        if not pods:
            self._recorder.event(budget, "Normal", "NoPods", "No matching pods found")
        now = self._clock.now()
        if needs_scale(budget) and any(controller_of(pod) is None for pod in pods):
            self._recorder.event(
                budget, "Warning", "UnmanagedPods",
                f"Pods selected by this PodDisruptionBudget (selector: {selector}) were found to be unmanaged. As a result, the status of "
                "the PDB cannot be calculated correctly, which may result in undefined behavior. To account for these pods please set "
                '".spec.minAvailable" field of the PDB to an integer value.')
        try:
            scale = await self._scale(pods) if needs_scale(budget) else 0
            status = new_status(budget, pods, expect(budget, len(pods), scale), now)
        except ApiError as error:
            self._recorder.event(budget, "Warning", "CalculateExpectedPodCountFailed",
                                 f"Failed to calculate the number of expected pods: {error}")
            await self._fail(budget, error, now)
            raise
        if status != budget.get("status"):
            try:
                await self._client.update(POD_DISRUPTION_BUDGETS, {**budget, "status": status}, subresource="status")
            except NotFound:
                return None
        moments = [parse_time(at) + DISRUPTION_TIMEOUT - now for at in (status.get("disruptedPods") or {}).values()]
        return min(moments) + 0.1 if moments else None

    async def _fail(self, budget: Object, error: ApiError, now: float) -> None:
        """An eviction must not be granted on numbers that are not known."""
        verdict = condition.build("DisruptionAllowed", "False", "SyncFailed", str(error), format_time(now))
        old = budget.get("status") or {}
        status = {**old, "disruptionsAllowed": 0, "conditions": condition.merge(old.get("conditions") or (), verdict)}
        if status != old:
            await self._client.update(POD_DISRUPTION_BUDGETS, {**budget, "status": status}, subresource="status")

    async def _scale(self, pods: Sequence[Object]) -> int:
        """The replicas that the pods' controllers want, each controller once."""
        seen: dict[str, int] = {}
        for pod in pods:
            reference = controller_of(pod)
            if reference is None or reference["uid"] in seen:
                continue
            owner = self._owner(pod["metadata"]["namespace"], reference)
            above = controller_of(owner) if owner is not None and reference["kind"] == "ReplicaSet" else None
            if above is not None and above["kind"] == "Deployment":
                deployment = self._owners["Deployment"].get(above["name"], pod["metadata"]["namespace"])
                if deployment is not None:
                    seen[above["uid"]] = replicas(deployment)
                seen[reference["uid"]] = 0
            elif owner is not None:
                seen[reference["uid"]] = replicas(owner)
            elif reference["kind"] not in _SCALED:
                seen[reference["uid"]] = await self._ask(pod["metadata"]["namespace"], reference)
        return sum(seen.values())

    def _owner(self, namespace: str, reference: Object) -> Object | None:
        lister = self._owners.get(reference["kind"])
        owner = lister.get(reference["name"], namespace) if lister is not None else None
        return owner if owner is not None and owner["metadata"]["uid"] == reference["uid"] else None

    async def _ask(self, namespace: str, reference: Object) -> int:
        """A custom controller's scale subresource; a kind without one counts for nothing."""
        kind = (reference["apiVersion"], reference["kind"])
        if kind not in self._kinds:
            found = await discover(self._client)
            self._kinds = {(item.resource.api_version, item.resource.kind): item.resource for item in found.served}
        resource = self._kinds.get(kind)
        if resource is None:
            return 0
        try:
            scale = await self._client.get(resource, reference["name"], namespace, subresource="scale")
        except NotFound:
            return 0
        return int((scale.get("spec") or {}).get("replicas") or 0)

    def budgets_of(self, pod: Object) -> Sequence[str]:
        labels = pod["metadata"].get("labels")
        return [key_of(item) for item in self._budgets.list(pod["metadata"]["namespace"])
                if from_object(item["spec"].get("selector")).matches(labels)]

    def budgets_near(self, owner: Object) -> Sequence[str]:
        """A controller was scaled: every budget of its namespace that goes by scale looks again."""
        return [key_of(item) for item in self._budgets.list(owner["metadata"]["namespace"]) if needs_scale(item)]


def _pod_matters(old: Object | None, new: Object | None) -> bool:
    if old is None or new is None:
        return True

    before, after = old["metadata"], new["metadata"]
    return (before.get("labels") != after.get("labels") or ("deletionTimestamp" in before) != ("deletionTimestamp" in after)
            or (old.get("status") is not new.get("status") and (is_ready(old) != is_ready(new) or is_terminal(old) != is_terminal(new))))


def _rescaled(old: Object | None, new: Object | None) -> bool:
    return old is None or new is None or replicas(old) != replicas(new)


def controller(env: Environment) -> Controller:
    reconciler = Reconciler(env)
    watches = (
        Watch(POD_DISRUPTION_BUDGETS), Watch(PODS, keys=reconciler.budgets_of, when=_pod_matters),
        *(Watch(resource, keys=reconciler.budgets_near, when=_rescaled) for resource in (*_SCALED.values(), DEPLOYMENTS)),
    )
    return Controller("disruption", reconciler.reconcile, watches, workers=env.options.concurrency("disruption", 5))
