"""How long kubelets may cache Secrets and ConfigMaps, by cluster size, as a node annotation (`pkg/controller/ttl`)."""
from __future__ import annotations

from kubepy.api.errors import NotFound
from kubepy.api.resource import NODES
from kubepy.client.controller import Controller, Watch
from kubepy.controllers.kit.environment import Environment

ANNOTATION = "node.alpha.kubernetes.io/ttl"
_STEPS = ((0, 100, 0), (90, 500, 15), (450, 1000, 30), (900, 2000, 60), (1800, 1 << 31, 300))
"""(down below, up above, seconds): the ranges overlap, so that a cluster at an edge does not flutter."""


def ttl(nodes: int, current: int) -> int:
    step = next((index for index, item in enumerate(_STEPS) if item[2] == current), 0)
    while nodes > _STEPS[step][1]:
        step += 1
    while nodes < _STEPS[step][0]:
        step -= 1
    return _STEPS[step][2]


class Reconciler:
    def __init__(self, env: Environment) -> None:
        self._client = env.client_for("ttl-controller")
        self._nodes = env.informers.informer(NODES).lister
        self._current = 0

    async def reconcile(self, key: str) -> float | None:
        node = self._nodes.get(key)
        if node is None:
            return None
        self._current = ttl(len(self._nodes), self._current)
        if (node["metadata"].get("annotations") or {}).get(ANNOTATION) != str(self._current):
            try:
                await self._client.patch(NODES, key, {"metadata": {"annotations": {ANNOTATION: str(self._current)}}})
            except NotFound:
                return None
        return None


def controller(env: Environment) -> Controller:
    reconciler = Reconciler(env)

    def changed(old: object, new: object) -> bool:
        return old is None or new is None

    return Controller("ttl", reconciler.reconcile, (Watch(NODES, when=changed),))
