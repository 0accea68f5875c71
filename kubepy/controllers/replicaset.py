"""ReplicaSet and ReplicationController: keep so many pods of a template (`pkg/controller/{replicaset,replication}`).

Pods are created and deleted in slow-start batches of at most 500 a pass; expectations keep a stale cache from counting
twice. Which pods go first follows upstream's ranking. Known difference: among pods of equal rank the choice is by UID.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from kubepy.api.errors import ApiError, NotFound
from kubepy.api.pod import available_at, controller_uid, is_active, is_ready, is_terminating
from kubepy.api.resource import PODS, REPLICA_SETS, REPLICATION_CONTROLLERS, Resource
from kubepy.api.selector import LabelSelector, from_object, from_set
from kubepy.api.types import Object
from kubepy.base.clock import format_time
from kubepy.client.controller import Controller, Watch
from kubepy.client.store import split_key
from kubepy.controllers.kit import condition
from kubepy.controllers.kit.adoption import candidates, claim, index_by_controller
from kubepy.controllers.kit.environment import Environment
from kubepy.controllers.kit.owned import OwnedPods, counts_otherwise
from kubepy.controllers.kit.pod_control import PodControl, pod_from_template
from kubepy.controllers.kit.replica import ranks, victims
from kubepy.controllers.kit.report import Reports

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
    labelled = template_labels.items()
    available = sum(1 for pod in active if (moment := available_at(pod, min_ready)) is not None and moment <= now)
    status: Object = {"replicas": len(active), "observedGeneration": owner["metadata"].get("generation", 0)}
    counts = {"fullyLabeledReplicas": sum(1 for pod in active if labelled <= (pod["metadata"].get("labels") or {}).items()),
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


class Reconciler:
    def __init__(self, env: Environment, family: Family) -> None:
        self.family = family
        self._clock = env.clock
        self._client = env.client_for(family.account)
        self._owners = env.informers.informer(family.resource).lister
        self._pods = env.informers.informer(PODS).lister
        index_by_controller(self._owners)
        self.reports = Reports()
        self.owned = OwnedPods(family.resource, self._owners, self._pods, env.clock, family.selector)
        self._control = PodControl(self._client, env.recorder(family.account, family.account))

    async def reconcile(self, key: str) -> float | None:
        namespace, name = split_key(key)
        owner = self._owners.get(name, namespace)
        if owner is None:
            self.owned.expectations.forget(key)
            return None
        satisfied = self.owned.expectations.satisfied(key)
        selector = self.family.selector(owner)
        found = [pod for pod in candidates(self._pods, owner) if is_active(pod) or controller_uid(pod) == owner["metadata"]["uid"]]
        pods = await claim(self._client, owner, self.family.resource, selector, found, PODS)
        failure: Exception | None = None
        if satisfied and owner["metadata"].get("deletionTimestamp") is None:
            active = [pod for pod in pods if is_active(pod)]
            todo = plan(owner, active, self._related(owner, active), self._clock.now())
            pod = pod_from_template(owner, self.family.resource, owner["spec"].get("template") or {}) if todo.create else {}
            failure = await self.owned.act(self._control, key, owner, todo.create, lambda _: pod, todo.delete)
            if failure is None and (todo.create or todo.delete):  # what was done is about to be seen: it is reported then
                return self.owned.wait(key, owner, pods, self._clock.now())
        await self._report(owner, pods, failure)
        if failure is not None:
            raise failure
        return self.owned.wait(key, owner, pods, self._clock.now())

    def _related(self, owner: Object, active: list[Object]) -> list[Object]:
        """The pods of all sets with the same controller (a Deployment's old and new ones)."""
        parent = controller_uid(owner)
        if not parent or len(active) <= desired(owner):
            return active
        return [pod for kin in self._owners.by_index("controller", parent)
                for pod in self._pods.by_index("controller", kin["metadata"]["uid"])]

    async def _report(self, owner: Object, pods: Sequence[Object], failure: Exception | None) -> None:
        status = new_status(owner, pods, failure, self._clock.now())
        if status != owner.get("status"):
            report = {**owner, "status": status}
            self.reports.sending(report)
            try:
                await self._client.update(self.family.resource, report, subresource="status")
            except (ApiError, ConnectionError) as error:
                self.reports.forget(report)
                if not isinstance(error, NotFound):
                    raise


def _controller(env: Environment, family: Family, name: str) -> Controller:
    reconciler = Reconciler(env, family)
    owned = reconciler.owned
    watches = (Watch(family.resource, when=reconciler.reports.news),
               Watch(PODS, keys=owned.keys, observe=owned.observe, when=counts_otherwise, owned_by=family.resource.kind))
    return Controller(name, reconciler.reconcile, watches, workers=env.options.concurrency(family.workers, 5))


def replicaset(env: Environment) -> Controller:
    return _controller(env, REPLICA_SET, "replicaset")


def replicationcontroller(env: Environment) -> Controller:
    return _controller(env, REPLICATION_CONTROLLER, "replicationmanager")
