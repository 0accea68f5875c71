"""ReplicaSet and ReplicationController: keep so many pods of a template (`pkg/controller/{replicaset,replication}`).

Pods are created and deleted in slow-start batches of at most 500 a pass; expectations keep a stale cache from counting
twice. Which pods go first follows upstream's ranking. Known difference: among pods of equal rank the choice is by UID.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from kubepy.api.errors import ApiError, NotFound
from kubepy.api.pod import available_at, controller_of, controller_uid, is_active, is_ready, is_terminating
from kubepy.api.resource import PODS, REPLICA_SETS, REPLICATION_CONTROLLERS, Resource
from kubepy.api.selector import LabelSelector, from_object, from_set
from kubepy.api.types import Object
from kubepy.base.clock import format_time
from kubepy.client.controller import Controller, Watch
from kubepy.client.store import join_key, key_of, split_key
from kubepy.controllers.kit import condition
from kubepy.controllers.kit.adoption import candidates, claim, index_by_controller
from kubepy.controllers.kit.batch import at_once, slow_start
from kubepy.controllers.kit.environment import Environment
from kubepy.controllers.kit.expectation import Expectations
from kubepy.controllers.kit.pod_control import PodControl, is_namespace_terminating, pod_from_template
from kubepy.controllers.kit.replica import ranks, victims

BURST = 500


@dataclass(frozen=True, slots=True)
class Family:
    """What tells the two kinds apart."""

    resource: Resource
    selector: Callable[[Object], LabelSelector]
    account: str
    workers: str


def _rc_selector(obj: Object) -> LabelSelector:
    labels = obj["spec"].get("selector")
    return from_set(labels) if labels else from_object(None)


REPLICA_SET = Family(REPLICA_SETS, lambda obj: from_object(obj["spec"].get("selector")), "replicaset-controller", "replicaset")
REPLICATION_CONTROLLER = Family(REPLICATION_CONTROLLERS, _rc_selector, "replication-controller", "rc")


class Plan(NamedTuple):
    create: int
    delete: list[Object]


def plan(owner: Object, active: Sequence[Object], related: Sequence[Object], now: float) -> Plan:
    """How many pods to create, or which to delete. `active` are the owner's living pods, `related` those of its kin."""
    surplus = len(active) - desired(owner)
    if surplus < 0:
        return Plan(min(-surplus, BURST), [])
    count = min(surplus, BURST)
    return Plan(0, victims(active, count, ranks(active, related), now) if count else [])


def desired(owner: Object) -> int:
    value = owner["spec"].get("replicas")
    return 1 if value is None else int(value)


def new_status(owner: Object, pods: Sequence[Object], failure: Exception | None, now: float) -> Object:
    """The status that these pods (the owner's, terminating ones among them) make."""
    old = owner.get("status") or {}
    min_ready = owner["spec"].get("minReadySeconds") or 0
    active = [pod for pod in pods if is_active(pod)]
    template_labels = ((owner["spec"].get("template") or {}).get("metadata") or {}).get("labels") or {}
    labelled = from_set(template_labels)
    available = sum(1 for pod in active if (moment := available_at(pod, min_ready)) is not None and moment <= now)
    status: Object = {"replicas": len(active), "observedGeneration": owner["metadata"].get("generation", 0)}
    counts = {"fullyLabeledReplicas": sum(1 for pod in active if labelled.matches(pod["metadata"].get("labels"))),
              "readyReplicas": sum(1 for pod in active if is_ready(pod)), "availableReplicas": available}
    status.update({name: count for name, count in counts.items() if count})
    if owner.get("kind") == "ReplicaSet":
        status["terminatingReplicas"] = sum(1 for pod in pods if is_terminating(pod))
    conditions = list(old.get("conditions") or ())
    if failure is None:
        conditions = condition.without(conditions, "ReplicaFailure")
    elif condition.find(conditions, "ReplicaFailure") is None:
        reason = "FailedCreate" if len(active) < desired(owner) else "FailedDelete"
        conditions.append(condition.build("ReplicaFailure", "True", reason, str(failure), format_time(now)))
    if conditions:
        status["conditions"] = conditions
    return status


def next_availability(owner: Object, pods: Sequence[Object], now: float) -> float | None:
    """Seconds until the next ready pod becomes available."""
    min_ready = owner["spec"].get("minReadySeconds") or 0
    moments = [moment - now for pod in pods if is_active(pod) and (moment := available_at(pod, min_ready)) is not None and moment > now]
    return min(moments) if moments else None


class Reconciler:
    def __init__(self, env: Environment, family: Family) -> None:
        self.family = family
        self._clock = env.clock
        self._client = env.client_for(family.account)
        self._owners = env.informers.informer(family.resource).lister
        self._pods = env.informers.informer(PODS).lister
        index_by_controller(self._pods)
        index_by_controller(self._owners)
        self._control = PodControl(self._client, env.recorder(family.account, family.account))
        self.expectations = Expectations(env.clock)

    async def reconcile(self, key: str) -> float | None:
        namespace, name = split_key(key)
        owner = self._owners.get(name, namespace)
        if owner is None:
            self.expectations.forget(key)
            return None
        satisfied = self.expectations.satisfied(key)
        selector = self.family.selector(owner)
        found = [pod for pod in candidates(self._pods, owner) if is_active(pod) or controller_uid(pod) == owner["metadata"]["uid"]]
        pods = await claim(self._client, owner, self.family.resource, selector, found, PODS)
        failure: Exception | None = None
        if satisfied and owner["metadata"].get("deletionTimestamp") is None:
            active = [pod for pod in pods if is_active(pod)]
            failure = await self._act(key, owner, plan(owner, active, self._related(owner, active), self._clock.now()))
        await self._report(owner, pods, failure)
        if failure is not None:
            raise failure
        return next_availability(owner, pods, self._clock.now())

    def keys(self, pod: Object) -> Sequence[str]:
        """Whom a pod concerns: its controller, or, for an orphan, whoever might adopt it."""
        namespace = pod["metadata"]["namespace"]
        reference = controller_of(pod)
        if reference is not None:
            return (join_key(namespace, reference["name"]),) if reference["kind"] == self.family.resource.kind else ()
        if pod["metadata"].get("deletionTimestamp") is not None:
            return ()
        labels = pod["metadata"].get("labels")
        return [key_of(owner) for owner in self._owners.list(namespace) if self.family.selector(owner).matches(labels)] if labels else ()

    def observe(self, old: Object | None, new: Object | None) -> None:
        """Ticks off what was expected."""
        pod = new or old
        assert pod is not None
        reference = controller_of(pod)
        if reference is None or reference["kind"] != self.family.resource.kind:
            return
        key = join_key(pod["metadata"]["namespace"], reference["name"])
        if new is None or new["metadata"].get("deletionTimestamp") is not None:
            self.expectations.deleted(key, key_of(pod))
        elif old is None:
            self.expectations.created(key)

    def _related(self, owner: Object, active: list[Object]) -> list[Object]:
        """The pods of all sets with the same controller (a Deployment's old and new ones)."""
        parent = controller_uid(owner)
        if not parent or len(active) <= desired(owner):
            return active
        return [pod for kin in self._owners.by_index("controller", parent)
                for pod in self._pods.by_index("controller", kin["metadata"]["uid"])]

    async def _act(self, key: str, owner: Object, todo: Plan) -> Exception | None:
        if todo.create:
            self.expectations.expect_creations(key, todo.create)
            template = owner["spec"].get("template") or {}
            pod = pod_from_template(owner, self.family.resource, template)

            async def create(_: int) -> None:
                await self._control.create(pod, owner)

            done, errors = await slow_start(todo.create, create)
            self.expectations.created(key, todo.create - done)
            return next((error for error in errors if not (isinstance(error, ApiError) and is_namespace_terminating(error))), None)
        if todo.delete:
            self.expectations.expect_deletions(key, [key_of(pod) for pod in todo.delete])

            async def delete(pod: Object) -> None:
                try:
                    await self._control.delete(pod, owner)
                except (ApiError, ConnectionError) as error:
                    self.expectations.deleted(key, key_of(pod))
                    if not isinstance(error, NotFound):
                        raise

            errors = await at_once(todo.delete, delete)
            return errors[0] if errors else None
        return None

    async def _report(self, owner: Object, pods: Sequence[Object], failure: Exception | None) -> None:
        status = new_status(owner, pods, failure, self._clock.now())
        if status != owner.get("status"):
            try:
                await self._client.update(self.family.resource, {**owner, "status": status}, subresource="status")
            except NotFound:
                return


def _controller(env: Environment, family: Family, name: str) -> Controller:
    reconciler = Reconciler(env, family)
    watches = (Watch(family.resource), Watch(PODS, keys=reconciler.keys, observe=reconciler.observe))
    return Controller(name, reconciler.reconcile, watches, workers=env.options.concurrency(family.workers, 5))


def replicaset(env: Environment) -> Controller:
    return _controller(env, REPLICA_SET, "replicaset")


def replicationcontroller(env: Environment) -> Controller:
    return _controller(env, REPLICATION_CONTROLLER, "replicationmanager")
