"""One pass over a DaemonSet: revisions, pods for nodes, a step of the rolling update, the status."""
from __future__ import annotations

from collections.abc import Sequence

from kubepy.api.errors import NotFound
from kubepy.api.resource import CONTROLLER_REVISIONS, DAEMON_SETS, NODES, PODS
from kubepy.api.selector import from_object
from kubepy.api.types import Object
from kubepy.client.controller import Controller, Watch
from kubepy.client.store import key_of, split_key
from kubepy.controllers.daemonset import plan
from kubepy.controllers.daemonset.eligible import build_pod, fit, node_of
from kubepy.controllers.kit.adoption import candidates, claim, index_by_controller
from kubepy.controllers.kit.environment import Environment
from kubepy.controllers.kit.owned import OwnedPods
from kubepy.controllers.kit.pod_control import PodControl
from kubepy.controllers.kit.revision import HASH_LABEL, History, hash_of


class Reconciler:
    def __init__(self, env: Environment) -> None:
        self._clock = env.clock
        self._client = env.client_for("daemon-set-controller")
        self._recorder = env.recorder("daemonset-controller", "daemon-set-controller")
        self._sets = env.informers.informer(DAEMON_SETS).lister
        self._pods = env.informers.informer(PODS).lister
        self._nodes = env.informers.informer(NODES).lister
        revisions = env.informers.informer(CONTROLLER_REVISIONS).lister
        index_by_controller(revisions)
        self.owned = OwnedPods(DAEMON_SETS, self._sets, self._pods, env.clock)
        self._history = History(self._client, revisions, DAEMON_SETS)
        self._control = PodControl(self._client, self._recorder)

    async def reconcile(self, key: str) -> float | None:
        namespace, name = split_key(key)
        owner = self._sets.get(name, namespace)
        if owner is None:
            self.owned.expectations.forget(key)
            return None
        selector = owner["spec"].get("selector") or {}
        if not selector.get("matchLabels") and not selector.get("matchExpressions"):
            self._recorder.event(owner, "Warning", "SelectingAll",
                                 "This daemon set is selecting all pods. A non-empty selector is required.")
            return None
        if owner["metadata"].get("deletionTimestamp") is not None:
            return None
        satisfied = self.owned.expectations.satisfied(key)
        revisions = await self._history.owned(owner)
        current, collisions = await self._history.current(owner, revisions)
        hashed = hash_of(current)
        found = await claim(self._client, owner, DAEMON_SETS, from_object(selector), candidates(self._pods, owner), PODS)
        pods: dict[str, list[Object]] = {}
        for pod in found:
            pods.setdefault(node_of(pod), []).append(pod)
        nodes = self._nodes.list()
        problem: Exception | None = None
        if satisfied:
            todo = plan.manage(owner, nodes, pods, hashed, self._clock.now())
            rolling = (owner["spec"].get("updateStrategy") or {}).get("type", "RollingUpdate") == "RollingUpdate"
            if rolling and not (todo.create or todo.delete):
                todo = plan.roll(owner, nodes, pods, hashed, self._clock.now())
            problem = await self._act(key, owner, todo, hashed)
            live = {(pod["metadata"].get("labels") or {}).get(HASH_LABEL, "") for pod in found} | {hashed}
            await self._history.truncate(owner, revisions, live)
        status = plan.new_status(owner, nodes, pods, hashed, self._clock.now())
        if collisions is not None:
            status["collisionCount"] = collisions
        if status != owner.get("status"):
            try:
                await self._client.update(DAEMON_SETS, {**owner, "status": status}, subresource="status")
            except NotFound:
                return None
        if problem is not None:
            raise problem
        return self.owned.wait(key, owner, found, self._clock.now())

    async def _act(self, key: str, owner: Object, todo: plan.Plan, hashed: str) -> Exception | None:
        for pod, node in todo.ended:
            metadata = pod["metadata"]
            failed = (pod.get("status") or {}).get("phase") == "Failed"
            self._recorder.event(
                owner, "Warning" if failed else "Normal", "FailedDaemonPod" if failed else "SucceededDaemonPod",
                f"Found {'failed' if failed else 'succeeded'} daemon pod {metadata['namespace']}/{metadata['name']} on node {node}, "
                f"will try to {'kill' if failed else 'delete'} it")
        return await self.owned.act(self._control, key, owner, len(todo.create),
                                     lambda at: build_pod(owner, todo.create[at], hashed), todo.delete)

    def keys_of_node(self, node: Object) -> Sequence[str]:
        return [key_of(item) for item in self._sets.list() if fit(item, node).stay or self._has_pod(item, node)]

    def _has_pod(self, owner: Object, node: Object) -> bool:
        name = node["metadata"]["name"]
        return any(node_of(pod) == name for pod in self._pods.by_index("controller", owner["metadata"]["uid"]))


def _node_matters(old: Object | None, new: Object | None) -> bool:
    if old is None or new is None:
        return True

    def facts(node: Object) -> tuple[object, ...]:
        spec = node.get("spec") or {}
        return node["metadata"].get("labels"), spec.get("taints"), spec.get("unschedulable")

    return facts(old) != facts(new)


def controller(env: Environment) -> Controller:
    reconciler = Reconciler(env)
    watches = (
        Watch(DAEMON_SETS),
        Watch(PODS, keys=reconciler.owned.keys, observe=reconciler.owned.observe, owned_by="DaemonSet"),
        Watch(NODES, keys=reconciler.keys_of_node, when=_node_matters),
        Watch(CONTROLLER_REVISIONS, keys=None),
    )
    return Controller("daemonset", reconciler.reconcile, watches, workers=env.options.concurrency("daemonset", 2))
