"""Eviction by taint (`pkg/controller/tainteviction`): pods leave nodes whose NoExecute taints they do not tolerate, or no longer.

A toleration's time runs from when the taint came, or from the pod's start if that was later. When a taint came is its `timeAdded`, so
that a restart of this controller does not start the time anew (with upstream it does); `kubectl taint` leaves that out, and then it is
when this controller first saw the taint.
"""
from __future__ import annotations

from collections.abc import Sequence

from kubepy.api.pod import node_name
from kubepy.api.resource import NODES, PODS
from kubepy.api.types import Object
from kubepy.base.clock import Clock, format_time, parse_time
from kubepy.base.log import get_logger
from kubepy.base.metrics import counter, histogram
from kubepy.client.controller import Controller, Watch
from kubepy.client.store import key_of, split_key
from kubepy.controllers.kit.environment import Environment
from kubepy.controllers.kit.eviction import evict, leave_at

EVICTED = counter("taint_eviction_controller_pod_deletions_total",
                  "Total number of Pods deleted by TaintEvictionController since its start.")
LATENCY = histogram("taint_eviction_controller_pod_deletion_duration_seconds",
                    "Latency, in seconds, between the time when a taint effect has been activated for the Pod and its deletion via "
                    "TaintEvictionController.", (), (0.005, 0.025, 0.1, 0.5, 1, 2.5, 10, 30, 60, 120, 180, 240))
log = get_logger("tainteviction")


def evict_at(pod: Object, taints: Sequence[Object]) -> float | None:
    """When the pod must go, in epoch seconds (0: now); None for never."""
    began = (pod.get("status") or {}).get("startTime") or pod["metadata"].get("creationTimestamp")
    return leave_at(pod["spec"].get("tolerations") or (), taints, parse_time(began) if began else 0.0) if taints else None


def no_execute(node: Object | None) -> list[Object]:
    return [item for item in ((node or {}).get("spec") or {}).get("taints") or () if item["effect"] == "NoExecute"]


def _identity(taint: Object) -> tuple[str, str]:
    return taint["key"], taint.get("value") or ""


class Arrivals:
    """When taints came that do not say so themselves."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._seen: dict[str, dict[tuple[str, str], str]] = {}

    def dated(self, node: Object | None) -> list[Object]:
        """The node's NoExecute taints, all with `timeAdded`; those that have gone are forgotten."""
        if node is None:
            return []
        name, taints = node["metadata"]["name"], no_execute(node)
        before = self._seen.pop(name, {})
        silent = [item for item in taints if not item.get("timeAdded")]
        if not silent:  # nearly every node, at each of its events
            return taints
        now = format_time(self._clock.now())
        came = self._seen[name] = {_identity(item): before.get(_identity(item), now) for item in silent}
        return [item if item.get("timeAdded") else {**item, "timeAdded": came[_identity(item)]} for item in taints]

    def forget(self, node: Object) -> None:
        self._seen.pop(node["metadata"]["name"], None)


class Reconciler:
    def __init__(self, env: Environment) -> None:
        self._clock = env.clock
        self._client = env.client_for("node-controller")
        self._recorder = env.recorder("taint-eviction-controller", "node-controller")
        self._pods = env.informers.informer(PODS).lister
        self._nodes = env.informers.informer(NODES).lister
        self._pods.add_index("node", lambda pod: (node_name(pod),))
        self._planned: set[str] = set()
        self._arrivals = Arrivals(env.clock)

    async def reconcile(self, key: str) -> float | None:
        namespace, name = split_key(key)
        pod = self._pods.get(name, namespace)
        if pod is None or pod["metadata"].get("deletionTimestamp") is not None:
            self._planned.discard(key)
            return None
        moment = evict_at(pod, self._arrivals.dated(self.node_of(pod)))
        if moment is None:
            if key in self._planned:
                self._planned.discard(key)
                self._recorder.event(pod, "Normal", "TaintManagerEviction", f"Cancelling deletion of Pod {key}")
            return None
        wait = moment - self._clock.now()
        if wait > 0:
            self._planned.add(key)
            return wait
        self._planned.discard(key)
        self._recorder.event(pod, "Normal", "TaintManagerEviction", f"Marking for deletion Pod {key}")
        await self._evict(pod, moment)
        return None

    def knows(self, key: str) -> bool:
        """Whether the pod's end is planned."""
        return key in self._planned

    def node_of(self, pod: Object) -> Object | None:
        return self._nodes.get(node_name(pod)) if node_name(pod) else None

    def tainted(self, old: Object | None, new: Object | None) -> bool:
        """Whether the node's taints are others now; notes when."""
        if new is None:
            assert old is not None
            self._arrivals.forget(old)
        else:
            self._arrivals.dated(new)
        return no_execute(old) != no_execute(new)

    def keys_of_node(self, node: Object) -> Sequence[str]:
        return [key_of(pod) for pod in self._pods.by_index("node", node["metadata"]["name"])]

    async def _evict(self, pod: Object, due: float) -> None:
        if not await evict(self._client, pod, "DeletionByTaintManager",
                           "Taint manager: deleting due to NoExecute taint", self._clock.now()):
            return
        EVICTED.inc()
        LATENCY.observe(max(self._clock.now() - due, 0.0) if due else 0.0)
        log.info("Pod evicted by taint", pod=key_of(pod), node=node_name(pod))


def controller(env: Environment) -> Controller:
    reconciler = Reconciler(env)

    def moved(old: Object | None, new: Object | None) -> bool:
        """The pods of a node without such taints are looked at when it gets one."""
        pod = new or old
        assert pod is not None
        if not (reconciler.knows(key_of(pod)) or no_execute(reconciler.node_of(pod))):
            return False
        return old is None or new is None or (node_name(old), old["spec"].get("tolerations"), old["metadata"].get("deletionTimestamp")) != (
            node_name(new), new["spec"].get("tolerations"), new["metadata"].get("deletionTimestamp"))

    watches = (Watch(PODS, when=moved),
               Watch(NODES, keys=reconciler.keys_of_node, when=reconciler.tainted))
    return Controller("taint_eviction", reconciler.reconcile, watches, workers=8)
