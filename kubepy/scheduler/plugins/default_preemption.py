"""DefaultPreemption: makes room for a pod that fits nowhere by evicting pods of lower priority. What would have to go is planned in
`preemption` (pure) and carried out here; extenders may object.

Follows upstream: the pod is nominated to the node and tried again when its victims are gone. Evictions run in the background."""
from __future__ import annotations

from time import perf_counter

from kubepy.api.errors import ApiError
from kubepy.api.resource import PODS
from kubepy.api.types import Object
from kubepy.base.log import get_logger
from kubepy.scheduler import metric
from kubepy.scheduler.evict import evict
from kubepy.scheduler.extender import ExtenderError, interested
from kubepy.scheduler.framework import Cycle, Handle, Plugin, Rescue, Unfit, Wake
from kubepy.scheduler.pod import Pod
from kubepy.scheduler.preemption import MIN_CANDIDATES, SHARE, TERMINATING, Candidate, Outcome, choose, plan_preemption

log = get_logger("preemption")


class DefaultPreemption(Plugin):
    name = "DefaultPreemption"
    wakes = (Wake("AssignedPod", frozenset({"delete"})),)

    def __init__(self, args: Object | None = None) -> None:
        super().__init__(args)
        self._share = float(self.args.get("minCandidateNodesPercentage", 100 / SHARE))
        self._fewest = int(self.args.get("minCandidateNodesAbsolute", MIN_CANDIDATES))
        if not 0 <= self._share <= 100:
            raise ValueError(f"minCandidateNodesPercentage: Invalid value: {self._share:g}: not in valid range [0, 100]")
        if self._fewest < 0:
            raise ValueError(f"minCandidateNodesAbsolute: Invalid value: {self._fewest}: not in valid range [0, inf)")
        if not self._share and not self._fewest:
            raise ValueError("minCandidateNodesPercentage: Invalid value: 0: cannot be zero at the same time as minCandidateNodesAbsolute")

    async def post_filter(self, cycle: Cycle, unfit: Unfit) -> Rescue | None:
        handle, pod, snapshot = self.handle, cycle.pod, cycle.snapshot
        if handle is None:
            return None
        metric.PREEMPTIONS.inc()
        outcome = plan_preemption(pod, snapshot, handle.profile, unfit, handle.budgets(), handle.rng,
                                  fewest=self._fewest, share=self._share)
        if outcome.chosen is not None:
            try:
                outcome = await self._consult(handle, pod, outcome)
            except ExtenderError as error:
                return Rescue(f"preemption: {error}", final=True)
        chosen = outcome.chosen
        if chosen is None:
            take_back = bool(pod.nominated) and outcome.message != TERMINATING
            if take_back:
                snapshot.nominated.pop(pod.key, None)
                pod.nominated = ""
            return Rescue(f"preemption: {outcome.message}", "" if take_back else None)
        pod.nominated = chosen.node
        snapshot.nominated[pod.key] = (pod, chosen.node)
        for other in outcome.lower_nominated:
            snapshot.nominated.pop(other.key, None)
            other.nominated = ""
            handle.tasks.start(self._take_back(handle, other), "nomination")
        handle.tasks.start(self._evict(handle, pod, chosen), "evict")
        return Rescue(nominate=chosen.node, final=True)

    async def _consult(self, handle: Handle, pod: Pod, outcome: Outcome) -> Outcome:
        """Lets extenders take nodes or victims off the list; the best of what is left."""
        candidates = outcome.candidates
        for extender in interested(handle.extenders, pod):
            if not extender.preempts or not candidates:
                continue
            known = {victim.uid: victim for candidate in candidates for victim in candidate.victims}
            try:
                shown = {c.node: ([{"metadata": {"uid": victim.uid}} if extender.cache_capable else await _object(handle, victim)
                                   for victim in c.victims], c.violations) for c in candidates}
                left = await extender.preempt(pod, shown)
            except ExtenderError:
                if extender.ignorable:
                    continue
                raise
            candidates = [Candidate(node, [known[uid] for uid in uids if uid in known], count) for node, (uids, count) in left.items()
                          if node in handle.snapshot.nodes]
        candidates = [candidate for candidate in candidates if candidate.victims]
        return choose(pod, handle.snapshot, candidates) if candidates else Outcome(message="no candidate node for preemption")

    async def _evict(self, handle: Handle, pod: Pod, chosen: Candidate) -> None:
        began, result = perf_counter(), "success"
        try:
            await evict(handle, pod, chosen)
        except (ApiError, ConnectionError) as error:
            result = "error"
            log.error("Preemption failed", error, pod=pod.key, node=chosen.node)
            handle.activate([pod.key])
        metric.PREEMPTION_SECONDS.labels(result).observe(perf_counter() - began)
        metric.PREEMPTION_RUNS.labels(result).inc()

    async def _take_back(self, handle: Handle, pod: Pod) -> None:
        try:
            await handle.client.patch(PODS, pod.name, {"status": {"nominatedNodeName": None}}, pod.namespace, subresource="status")
        except (ApiError, ConnectionError) as error:
            log.v(2).info("Cannot take a nomination back", pod=pod.key, err=error)


async def _object(handle: Handle, victim: Pod) -> Object:
    """A victim in full, for extenders that keep no cache."""
    try:
        return await handle.client.get(PODS, victim.name, victim.namespace)
    except (ApiError, ConnectionError):
        return {"metadata": {"namespace": victim.namespace, "name": victim.name, "uid": victim.uid}}
