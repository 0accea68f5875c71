"""DefaultBinder: tells the API which node a pod gets.

A binding whose answer was lost is looked up before anything is concluded from it, so that no pod is bound twice and no capacity lost."""
from __future__ import annotations

from kubepy.api.errors import Conflict, NotFound
from kubepy.api.resource import PODS
from kubepy.api.types import Object
from kubepy.scheduler.framework import Cycle, NotBound, Plugin
from kubepy.scheduler.pod import Pod

TRIES = 5


class DefaultBinder(Plugin):
    name = "DefaultBinder"

    async def bind(self, cycle: Cycle, node: str) -> bool:
        assert self.handle is not None
        pod = cycle.pod
        try:
            await self.handle.client.create(PODS, _binding(pod, node), pod.namespace, name=pod.name, subresource="binding")
        except (ConnectionError, Conflict) as error:
            if not await self._is_bound(pod, node):
                raise NotBound(str(error)) from error
        return True

    async def _is_bound(self, pod: Pod, node: str) -> bool:
        """What became of a binding whose answer was lost; raises NotBound when nobody can say (it is tried again later)."""
        assert self.handle is not None
        for _ in range(TRIES):
            try:
                found = await self.handle.client.get(PODS, pod.name, pod.namespace)
            except NotFound:
                return False
            except ConnectionError:
                await self.handle.clock.sleep(1.0)
                continue
            return bool(found["metadata"].get("uid") == pod.uid and (found.get("spec") or {}).get("nodeName") == node)
        raise NotBound("the API server cannot be reached")


def _binding(pod: Pod, node: str) -> Object:
    return {"apiVersion": "v1", "kind": "Binding", "metadata": {"namespace": pod.namespace, "name": pod.name, "uid": pod.uid},
            "target": {"kind": "Node", "name": node}}
