"""One pass over a HorizontalPodAutoscaler: read the scale, ask each metric, stay within the rules, scale, report.

Any resource with a `scale` subresource can be scaled, custom ones too. As upstream, recommendations live in memory only.
Known difference: a changed specification is looked at at once, not at the next period.
"""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from kubepy.api.errors import ApiError, NotFound
from kubepy.api.resource import HORIZONTAL_POD_AUTOSCALERS, PODS, Resource
from kubepy.api.selector import LabelSelector, parse_labels
from kubepy.api.types import Object
from kubepy.base.clock import format_time
from kubepy.base.log import get_logger
from kubepy.client.controller import Controller, Watch
from kubepy.client.store import key_of, split_key
from kubepy.controllers.autoscale import monitor, pace
from kubepy.controllers.autoscale.mapping import InvalidVersion, Mapping
from kubepy.controllers.autoscale.metric import Metrics
from kubepy.controllers.autoscale.pace import History, Moment
from kubepy.controllers.autoscale.replica import CannotCalculate, Settings
from kubepy.controllers.autoscale.source import Failure, Sources, Target
from kubepy.controllers.kit import condition
from kubepy.controllers.kit.environment import Environment

log = get_logger("horizontal-pod-autoscaler")

CPU: Object = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}}


class Stop(Exception):
    """The pass ends here; its conditions are set and are still to be written. `problem` is `spec` or `internal`."""

    def __init__(self, message: str, problem: str = "internal") -> None:
        super().__init__(message)
        self.problem = problem


@dataclass(slots=True)
class _Pass:
    """What one pass finds out."""

    hpa: Object
    conditions: list[Object]
    now: str
    metrics: list[Object] = field(default_factory=list)
    current: int = 0
    desired: int = 0
    scaled_at: str | None = None
    scaled: bool = False
    problem: str = "none"

    def set(self, type: str, status: str, reason: str, message: str) -> None:
        self.conditions = condition.merge(self.conditions, condition.build(type, status, reason, message, self.now))


class Reconciler:
    def __init__(self, env: Environment) -> None:
        self._clock, self._options = env.clock, env.options
        self._client = env.client_for("horizontal-pod-autoscaler")
        self._recorder = env.recorder("horizontal-pod-autoscaler", "horizontal-pod-autoscaler")
        self._hpas = env.informers.informer(HORIZONTAL_POD_AUTOSCALERS).lister
        informer = env.informers.informer(PODS)
        informer.add_index("namespace", lambda pod: [pod["metadata"]["namespace"]])
        self._pods = informer.lister
        self._mapping = Mapping(self._client, env.clock)
        self._sources = Sources(Metrics(self._client), self._plural_of)
        self._histories: dict[str, History] = {}
        self._selectors: dict[str, LabelSelector] = {}

    async def reconcile(self, key: str) -> float | None:
        namespace, name = split_key(key)
        hpa = self._hpas.get(name, namespace)
        if hpa is None or hpa["metadata"].get("deletionTimestamp") is not None:
            self._histories.pop(key, None)
            self._selectors.pop(key, None)
            monitor.forget(namespace, name)
            return None
        status = hpa.get("status") or {}
        now = self._clock.now()
        found = _Pass(hpa, list(status.get("conditions") or ()), format_time(now), list(status.get("currentMetrics") or ()),
                      status.get("currentReplicas") or 0, status.get("desiredReplicas") or 0, status.get("lastScaleTime"))
        began = self._clock.monotonic()
        try:
            await self._pass(key, found, now)
        except Stop as error:
            found.problem = error.problem
            log.v(2).info("Cannot autoscale", hpa=key, err=error)
        try:
            await self._report(found)
        except (ApiError, ConnectionError) as error:  # the next period tells it: metrics are not read again sooner
            found.problem = "internal"
            log.warning("Cannot update the status", hpa=key, err=error)
        monitor.passed(found.current, found.desired if found.scaled else found.current, found.problem, self._clock.monotonic() - began)
        monitor.DESIRED.labels(namespace, name).set(found.desired)
        return self._options.hpa_sync_period

    async def _pass(self, key: str, found: _Pass, now: float) -> None:
        hpa, spec = found.hpa, found.hpa["spec"]
        resource, scale = await self._scale(found)
        found.set("AbleToScale", "True", "SucceededGetScale", "the HPA controller was able to get the target's current scale")
        current = found.current = scale["spec"].get("replicas") or 0
        found.metrics = []
        history = self._histories.setdefault(key, History([Moment(current, now)]))
        minimum, maximum = pace.least(spec), spec["maxReplicas"]
        desired, why = current, ""
        if current == 0 and minimum != 0:
            desired = 0
            found.set("ScalingActive", "False", "ScalingDisabled",
                      "scaling is disabled since the replica count of the target is zero")
        elif current > maximum:
            desired, why = maximum, "Current number of replicas above Spec.MaxReplicas"
        elif current < minimum:
            desired, why = minimum, "Current number of replicas below Spec.MinReplicas"
        else:
            wanted, metric = await self._recommendation(key, found, scale, now)
            if wanted > current:
                why = f"{metric} above target"
            elif wanted < current:
                why = "All metrics below target"
            decision = pace.pace(spec, current, wanted, history, self._options.hpa_downscale_stabilization, now)
            found.set("AbleToScale", *decision.able)
            found.set("ScalingLimited", *decision.limited)
            desired = decision.replicas
        if desired != current:
            await self._rescale(found, resource, scale, desired, why)
            pace.note_scaled(spec, current, desired, history, now)
            found.scaled_at, found.scaled = found.now, True
            log.info("Rescaled", hpa=key_of(hpa), before=current, after=desired, reason=why)
        found.desired = desired

    async def _scale(self, found: _Pass) -> tuple[Resource, Object]:
        target, namespace = found.hpa["spec"]["scaleTargetRef"], found.hpa["metadata"]["namespace"]
        first: Exception | None = None
        try:
            for resource in await self._mapping.of(target.get("apiVersion") or "", target["kind"]):
                try:
                    return resource, await self._client.get(resource, target["name"], namespace, subresource="scale")
                except (ApiError, ConnectionError) as error:
                    first = first or error
            raise first or NotFound(f"{target['kind']} has no scale")
        except (ApiError, ConnectionError, InvalidVersion) as error:
            self._tell(found.hpa, "Warning", "FailedGetScale", str(error))
            found.set("AbleToScale", "False", "FailedGetScale",
                      f"the HPA controller was unable to get the target's current scale: {error}")
            raise Stop(str(error), "spec" if isinstance(error, InvalidVersion) else "internal") from error

    async def _recommendation(self, key: str, found: _Pass, scale: Object, now: float) -> tuple[int, str]:
        """The most replicas any metric asks for, and that metric's name. With a metric missing, never fewer than there are."""
        spec = found.hpa["spec"]
        target = self._target(key, found, scale)
        specs = spec.get("metrics") or [CPU]
        settings = Settings(now, self._options.hpa_cpu_initialization_period, self._options.hpa_initial_readiness_delay)
        tolerance = pace.tolerance(spec, self._options.hpa_tolerance)
        best, name, first, invalid = 0, "", None, 0
        for metric in specs:
            began = self._clock.monotonic()
            try:
                proposal = await self._sources.propose(metric, target, tolerance, settings)
            except Failure as error:
                self._tell(found.hpa, "Warning", error.reason, error.told)
                first, invalid = first or error, invalid + 1
                found.metrics.append({"type": ""})  # each metric of the specification keeps its place
                monitor.computed(found.current, found.current, error.problem, metric["type"], self._clock.monotonic() - began)
                continue
            monitor.computed(found.current, proposal.replicas, "none", metric["type"], self._clock.monotonic() - began)
            found.metrics.append(proposal.status)
            if best == 0 or proposal.replicas > best:
                best, name = proposal.replicas, proposal.name
        if first is not None:
            found.problem = first.problem
            if invalid >= len(specs) or best < target.wanted:
                found.set("ScalingActive", "False", first.reason, f"the HPA was unable to compute the replica count: {first.told}")
                self._cannot(found, f"invalid metrics ({invalid} invalid out of {len(specs)}), first error is: {first}", first.problem)
        found.set("ScalingActive", "True", "ValidMetricFound",
                  f"the HPA was able to successfully calculate a replica count from {name}")
        return best, name

    def _target(self, key: str, found: _Pass, scale: Object) -> Target:
        """Its pods, unless another autoscaler has a say in some of them."""
        namespace, status = found.hpa["metadata"]["namespace"], scale.get("status") or {}
        text = status.get("selector") or ""
        if not text:
            self._invalid(found, "SelectorRequired", "InvalidSelector", "the HPA target's scale is missing a selector",
                          "selector is required")
        try:
            selector = parse_labels(text)
        except ValueError as error:
            message = f"couldn't convert selector into a corresponding internal selector object: {error}"
            self._invalid(found, "InvalidSelector", "InvalidSelector", message, message)
        self._selectors[key] = selector
        pods = [pod for pod in self._pods.by_index("namespace", namespace) if selector.matches(pod["metadata"].get("labels"))]
        others = sorted(other for other, theirs in self._selectors.items() if split_key(other)[0] == namespace and (
            other == key or any(theirs.matches(pod["metadata"].get("labels")) for pod in pods)))
        if len(others) > 1:
            message = f"pods by selector {text} are controlled by multiple HPAs: [{' '.join(others)}]"
            self._invalid(found, "AmbiguousSelector", "AmbiguousSelector", message, message)
        return Target(namespace, found.current, status.get("replicas") or 0, text, pods)

    def _invalid(self, found: _Pass, event: str, reason: str, message: str, error: str) -> None:
        self._tell(found.hpa, "Warning", event, error)
        found.set("ScalingActive", "False", reason, message)
        self._cannot(found, error)

    def _cannot(self, found: _Pass, message: str, problem: str = "internal") -> None:
        self._tell(found.hpa, "Warning", "FailedComputeMetricsReplicas", message)
        raise Stop(message, problem)

    async def _rescale(self, found: _Pass, resource: Resource, scale: Object, desired: int, why: str) -> None:
        try:
            fresh = {**scale, "spec": {**scale["spec"], "replicas": desired}}
            await self._client.update(resource, fresh, subresource="scale")
        except (ApiError, ConnectionError) as error:
            self._tell(found.hpa, "Warning", "FailedRescale", f"New size: {desired}; reason: {why}; error: {error}")
            found.set("AbleToScale", "False", "FailedUpdateScale", f"the HPA controller was unable to update the target scale: {error}")
            raise Stop(str(error)) from error
        found.set("AbleToScale", "True", "SucceededRescale", f"the HPA controller was able to update the target scale to {desired}")
        self._tell(found.hpa, "Normal", "SuccessfulRescale", f"New size: {desired}; reason: {why}")

    async def _report(self, found: _Pass) -> None:
        metadata = found.hpa["metadata"]
        old = found.hpa.get("status") or {}
        status: Object = {"currentReplicas": found.current, "desiredReplicas": found.desired, "conditions": found.conditions,
                          "currentMetrics": found.metrics or None, "lastScaleTime": found.scaled_at}
        if metadata.get("generation") is not None:
            status["observedGeneration"] = metadata["generation"]
        status = {key: value for key, value in status.items() if value is not None}
        if status != old:
            await self._client.update(HORIZONTAL_POD_AUTOSCALERS, {**found.hpa, "status": status}, subresource="status")

    async def _plural_of(self, api_version: str, kind: str) -> str:
        try:
            return (await self._mapping.of(api_version, kind))[0].group_resource
        except (ApiError, ConnectionError, InvalidVersion) as error:
            raise CannotCalculate(str(error)) from error

    def _tell(self, hpa: Object, type: Literal["Normal", "Warning"], reason: str, message: str) -> None:
        self._recorder.event(hpa, type, reason, message)


def controller(env: Environment) -> Controller:
    reconciler = Reconciler(env)

    def count(old: Object | None, new: Object | None) -> None:
        monitor.AUTOSCALERS.inc((new is not None) - (old is not None))

    def asked(old: Object | None, new: Object | None) -> bool:
        return old is None or new is None or old.get("spec") != new.get("spec")

    return Controller("horizontalpodautoscaler", reconciler.reconcile, (Watch(HORIZONTAL_POD_AUTOSCALERS, observe=count, when=asked),),
                      workers=env.options.concurrency("horizontal-pod-autoscaler", 5))
