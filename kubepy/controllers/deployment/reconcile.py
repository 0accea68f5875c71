"""One pass over a Deployment: claim its ReplicaSets, size them as planned, report.

Known difference: conditions and counts of a pass are written together at its end, upstream writes some of them on the way.
The deprecated rollback annotation is not supported (`kubectl rollout undo` has not used it for years).
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from kubepy.api.errors import AlreadyExists, ApiError, NotFound
from kubepy.api.hash import compute
from kubepy.api.pod import controller_of, controller_uid, is_terminal
from kubepy.api.resource import DEPLOYMENTS, PODS, REPLICA_SETS
from kubepy.api.selector import from_object
from kubepy.api.types import Object
from kubepy.client.controller import Controller, Watch
from kubepy.client.store import join_key, key_of, split_key
from kubepy.controllers.deployment import revision, rollout, status
from kubepy.controllers.deployment.rollout import HASH_LABEL, Scale, replicas
from kubepy.controllers.kit.adoption import candidates, claim, index_by_controller, owner_reference
from kubepy.controllers.kit.condition import find
from kubepy.controllers.kit.environment import Environment
from kubepy.controllers.kit.pod_control import is_namespace_terminating
from kubepy.controllers.kit.report import Reports


class _Sets(NamedTuple):
    new: Object | None
    old: list[Object]

    @property
    def all(self) -> list[Object]:
        return [*self.old, self.new] if self.new is not None else self.old


REPORT_WAIT = 10.0
"""Seconds for which a ReplicaSet that was just made has time to count its pods before the Deployment reports without them."""


class _Made(NamedTuple):
    """A ReplicaSet that was made and has not been told of in the status."""

    name: str
    since: float


class Reconciler:
    def __init__(self, env: Environment) -> None:
        self._made: dict[str, _Made] = {}
        self.reports = Reports()
        self._clock = env.clock
        self._client = env.client_for("deployment-controller")
        self._recorder = env.recorder("deployment-controller", "deployment-controller")
        self._deployments = env.informers.informer(DEPLOYMENTS).lister
        self._sets = env.informers.informer(REPLICA_SETS).lister
        self._pods = env.informers.informer(PODS).lister
        index_by_controller(self._sets)
        index_by_controller(self._pods)

    async def reconcile(self, key: str) -> float | None:
        namespace, name = split_key(key)
        deployment = self._deployments.get(name, namespace)
        if deployment is None:
            self._made.pop(key, None)
            return None
        selector = deployment["spec"].get("selector") or {}
        if not selector.get("matchLabels") and not selector.get("matchExpressions"):
            self._recorder.event(deployment, "Warning", "SelectingAll",
                                 "This deployment is selecting all pods. A non-empty selector is required.")
            return None
        found = await claim(self._client, deployment, DEPLOYMENTS, from_object(selector), candidates(self._sets, deployment), REPLICA_SETS)
        if deployment["metadata"].get("deletionTimestamp") is not None:
            sets = _split(deployment, found)
            await self._write(deployment, status.counts(deployment, sets.all, sets.new, self._clock.now()))
            return None
        if (changed := status.paused_conditions(deployment, self._clock.now())) is not None:
            deployment = await self._write(deployment, {**(deployment.get("status") or {}), "conditions": changed})
        try:
            if deployment["spec"].get("paused") or rollout.needs_scaling(deployment, found):
                return await self._scale_only(deployment, found)
            if rollout.is_rolling(deployment):
                return await self._roll(deployment, found)
            return await self._recreate(deployment, found)
        except ApiError as error:
            if is_namespace_terminating(error):
                return None
            raise

    async def _scale_only(self, deployment: Object, found: list[Object]) -> float | None:
        deployment, sets = await self._sync_new(deployment, found, create=False)
        for step in rollout.plan_scaling(deployment, sets.new, sets.old):
            sets = await self._resize(deployment, sets, step)
        if deployment["spec"].get("paused"):
            await self._clean(deployment, sets)
        await self._write(deployment, status.counts(deployment, sets.all, sets.new, self._clock.now()))
        return None

    async def _roll(self, deployment: Object, found: list[Object]) -> float | None:
        deployment, sets = await self._sync_new(deployment, found, create=True)
        if sets.new is None:
            return await self._report(deployment, sets)
        if (wait := self._wait(deployment, sets)) is not None:
            return wait
        size = rollout.plan_new(deployment, sets.new, sets.all)
        if size != replicas(sets.new):
            return await self._report(deployment, await self._resize(deployment, sets, Scale(sets.new, size)))
        steps = rollout.plan_old(deployment, sets.new, rollout.active(sets.old))
        for step in steps:
            sets = await self._resize(deployment, sets, step)
        if not steps and status.is_complete(deployment, deployment.get("status") or {}):
            await self._clean(deployment, sets)
        return await self._report(deployment, sets)

    async def _recreate(self, deployment: Object, found: list[Object]) -> float | None:
        deployment, sets = await self._sync_new(deployment, found, create=False)
        steps = [Scale(item, 0) for item in rollout.active(sets.old)]
        for step in steps:
            sets = await self._resize(deployment, sets, step)
        if steps or self._old_pods_remain(sets):
            return await self._report(deployment, sets)
        if sets.new is None:
            deployment, sets = await self._sync_new(deployment, found, create=True)
        if sets.new is not None and replicas(sets.new) != replicas(deployment):
            sets = await self._resize(deployment, sets, Scale(sets.new, replicas(deployment)))
        if status.is_complete(deployment, deployment.get("status") or {}):
            await self._clean(deployment, sets)
        return await self._report(deployment, sets)

    def _old_pods_remain(self, sets: _Sets) -> bool:
        return any((item.get("status") or {}).get("replicas") or not all(is_terminal(pod) for pod in self._pods_of(item))
                   for item in sets.old)

    def _pods_of(self, replica_set: Object) -> list[Object]:
        return self._pods.by_index("controller", replica_set["metadata"]["uid"])

    async def _sync_new(self, deployment: Object, found: list[Object], *, create: bool) -> tuple[Object, _Sets]:
        """Finds, annotates or creates the ReplicaSet of the current template. Returns the Deployment as it is to be written."""
        sets = _split(deployment, found)
        number = revision.next_number(sets.old)
        conditions = (deployment.get("status") or {}).get("conditions") or []
        now = self._clock.now()
        seen: Object | None = None
        new = sets.new
        if new is not None:
            annotations = revision.annotate(deployment, new["metadata"].get("annotations") or {}, number, exists=True)
            ready = deployment["spec"].get("minReadySeconds") or 0
            if annotations != (new["metadata"].get("annotations") or {}) or ready != (new["spec"].get("minReadySeconds") or 0):
                new = await self._client.update(REPLICA_SETS, {
                    **new, "metadata": {**new["metadata"], "annotations": annotations}, "spec": {**new["spec"], "minReadySeconds": ready}})
            made = self._made.get(key_of(deployment))
            if made is not None and made.name == new["metadata"]["name"]:
                seen = _created(new, now)
            elif find(conditions, status.PROGRESSING) is None:
                seen = status.condition(status.PROGRESSING, "True", "FoundNewReplicaSet",
                                        f'Found new replica set "{new["metadata"]["name"]}"', now)
        elif create:
            deployment, new = await self._create(deployment, sets.old, number)
            self._made[key_of(deployment)] = _Made(new["metadata"]["name"], now)
            seen = _created(new, now)
        if new is None:
            return deployment, sets
        wanted = new["metadata"]["annotations"].get(revision.REVISION, "")
        current = deployment["metadata"].get("annotations") or {}
        if current.get(revision.REVISION) != wanted:  # written with the status: that counts as no new generation
            deployment = {**deployment, "metadata": {**deployment["metadata"], "annotations": {**current, revision.REVISION: wanted}}}
        if seen is not None and status.has_deadline(deployment):
            conditions = status.with_condition((deployment.get("status") or {}).get("conditions") or [], seen)
            deployment = {**deployment, "status": {**(deployment.get("status") or {}), "conditions": conditions}}
        return deployment, _Sets(new, sets.old)

    def _wait(self, deployment: Object, sets: _Sets) -> float | None:
        """Seconds until the first report on a ReplicaSet that was just made. Its own first report, some milliseconds later, wakes the
        Deployment anyway: most have one status less to write."""
        made = self._made.get(key_of(deployment))
        if made is None or sets.new is None or made.name != sets.new["metadata"]["name"] or sets.old or (
                (sets.new.get("status") or {}).get("observedGeneration")):
            return None
        wait = made.since + REPORT_WAIT - self._clock.now()
        return wait if wait > 0 else None

    async def _create(self, deployment: Object, old: list[Object], number: int) -> tuple[Object, Object]:
        metadata, spec = deployment["metadata"], deployment["spec"]
        collisions = (deployment.get("status") or {}).get("collisionCount")
        template = spec["template"]
        hashed = compute(template, collisions)
        labels = {**((template.get("metadata") or {}).get("labels") or {}), HASH_LABEL: hashed}
        name = f"{metadata['name']}-{hashed}"
        size = rollout.new_size(deployment, old, 0)
        selector = spec["selector"]
        new: Object = {
            "apiVersion": "apps/v1", "kind": "ReplicaSet",
            "metadata": {"name": name, "namespace": metadata["namespace"], "labels": labels,
                         "ownerReferences": [owner_reference(deployment, DEPLOYMENTS)],
                         "annotations": {**revision.annotate(deployment, {}, number, exists=False),
                                         **rollout.size_annotations(deployment)}},
            "spec": {"replicas": size, "minReadySeconds": spec.get("minReadySeconds") or 0,
                     "selector": {**selector, "matchLabels": {**(selector.get("matchLabels") or {}), HASH_LABEL: hashed}},
                     "template": {**template, "metadata": {**(template.get("metadata") or {}), "labels": labels}}},
        }
        try:
            created = await self._client.create(REPLICA_SETS, new)
        except AlreadyExists:
            present = await self._client.get(REPLICA_SETS, name, metadata["namespace"])
            if controller_uid(present) == metadata["uid"] and rollout.same_template(present["spec"]["template"], template):
                return deployment, present  # ours: the cache has not caught up
            await self._write(deployment, {**(deployment.get("status") or {}), "collisionCount": (collisions or 0) + 1})
            raise
        except ApiError as error:
            if not is_namespace_terminating(error):
                message = f'Failed to create new replica set "{name}": {error}'
                self._recorder.event(deployment, "Warning", "ReplicaSetCreateError", message)
                if status.has_deadline(deployment):
                    failed = status.condition(status.PROGRESSING, "False", "ReplicaSetCreateError", message, self._clock.now())
                    old_status = deployment.get("status") or {}
                    conditions = status.with_condition(old_status.get("conditions") or [], failed)
                    await self._write(deployment, {**old_status, "conditions": conditions})
            raise
        if size > 0:
            self._recorder.event(deployment, "Normal", "ScalingReplicaSet", f"Scaled up replica set {name} from 0 to {size}")
        return deployment, created

    async def _resize(self, deployment: Object, sets: _Sets, step: Scale) -> _Sets:
        item, size = step
        before = replicas(item)
        if size == before and not rollout.is_stale(item, deployment):
            return sets
        metadata = item["metadata"]
        annotations = {**(metadata.get("annotations") or {}), **rollout.size_annotations(deployment)}
        updated = await self._client.update(REPLICA_SETS, {
            **item, "metadata": {**metadata, "annotations": annotations}, "spec": {**item["spec"], "replicas": size}})
        if size != before:
            self._recorder.event(deployment, "Normal", "ScalingReplicaSet",
                                 f"Scaled {'up' if size > before else 'down'} replica set {metadata['name']} from {before} to {size}")
        if item is sets.new:
            return _Sets(updated, sets.old)
        return _Sets(sets.new, [updated if other is item else other for other in sets.old])

    async def _clean(self, deployment: Object, sets: _Sets) -> None:
        for item in revision.superfluous(deployment, sets.old):
            try:
                await self._client.delete(REPLICA_SETS, item["metadata"]["name"], item["metadata"]["namespace"])
            except NotFound:
                continue

    async def _report(self, deployment: Object, sets: _Sets) -> float | None:
        now = self._clock.now()
        counted = status.counts(deployment, sets.all, sets.new, now)
        new = status.with_progress(deployment, counted, sets.all, sets.new, now)
        await self._write(deployment, new, final=not sets.old)
        return status.time_to_deadline(deployment, new, now)

    async def _write(self, deployment: Object, new: Object, *, final: bool = False) -> Object:
        """`final`: nothing is to be done once it is written (no old ReplicaSets to remove)."""
        written = await self._put_status(deployment, new, final)
        self._made.pop(key_of(deployment), None)
        return written

    async def _put_status(self, deployment: Object, new: Object, final: bool) -> Object:
        cached = self._deployments.get(deployment["metadata"]["name"], deployment["metadata"]["namespace"])
        if (cached is not None and new == cached.get("status")
                and cached["metadata"].get("annotations") == deployment["metadata"].get("annotations")):
            return deployment
        report = {**deployment, "status": new}
        if final:
            self.reports.sending(report)
        try:
            return await self._client.update(DEPLOYMENTS, report, subresource="status")
        except (ApiError, ConnectionError):
            self.reports.forget(report)
            raise

    def counted(self, old: Object | None, new: Object | None) -> bool:
        """Not when the cache shows what was just made: once that has counted its pods there is something to report."""
        if old is not None or new is None or (new.get("status") or {}).get("observedGeneration"):
            return True
        owner = controller_of(new)
        made = self._made.get(join_key(new["metadata"]["namespace"], owner["name"])) if owner is not None else None
        return made is None or made.name != new["metadata"]["name"]

    def keys_of_set(self, replica_set: Object) -> Sequence[str]:
        namespace = replica_set["metadata"]["namespace"]
        reference = controller_of(replica_set)
        if reference is not None:
            return (join_key(namespace, reference["name"]),) if reference["kind"] == "Deployment" else ()
        labels = replica_set["metadata"].get("labels")
        return [key_of(item) for item in self._deployments.list(namespace)
                if labels and from_object(item["spec"].get("selector")).matches(labels)]

    def keys_of_pod(self, pod: Object) -> Sequence[str]:
        """A pod that has gone wakes a Deployment that recreates: it waits for the last of them."""
        namespace = pod["metadata"]["namespace"]
        reference = controller_of(pod)
        if reference is None or reference["kind"] != "ReplicaSet":
            return ()
        replica_set = self._sets.get(reference["name"], namespace)
        owner = controller_of(replica_set) if replica_set is not None else None
        if owner is None or owner["kind"] != "Deployment":
            return ()
        deployment = self._deployments.get(owner["name"], namespace)
        return (key_of(deployment),) if deployment is not None and not rollout.is_rolling(deployment) else ()


def _created(replica_set: Object, now: float) -> Object:
    return status.condition(status.PROGRESSING, "True", "NewReplicaSetCreated",
                            f'Created new replica set "{replica_set["metadata"]["name"]}"', now)


def _split(deployment: Object, found: list[Object]) -> _Sets:
    new = rollout.find_new(deployment, found)
    return _Sets(new, [item for item in found if item is not new])


def controller(env: Environment) -> Controller:
    reconciler = Reconciler(env)
    watches = (
        Watch(DEPLOYMENTS, when=reconciler.reports.news),
        Watch(REPLICA_SETS, keys=reconciler.keys_of_set, when=reconciler.counted),
        Watch(PODS, keys=reconciler.keys_of_pod, when=lambda old, new: new is None),
    )
    return Controller("deployment", reconciler.reconcile, watches, workers=env.options.concurrency("deployment", 5), supersedes=True)
