"""Controllers at a server that is older than they are: what it does not serve is waited for, what it drops does no harm."""
from __future__ import annotations

from typing import Any

from rig import Rig

from kubepy.api.errors import NotFound
from kubepy.api.resource import JOBS, PODS, Resource
from kubepy.api.types import Object
from kubepy.client.controller import Controller, Watch
from kubepy.client.informer import ASK_AGAIN
from kubepy.client.memory import Action, MemoryClient
from kubepy.controllers.job import reconcile

APPS = b'{"kind":"APIGroupList","groups":[{"name":"apps","versions":[{"groupVersion":"apps/v1"}]}]}'
JOB: Object = {"metadata": {"name": "j", "namespace": "default"}, "spec": {
    "selector": {"matchLabels": {"job": "j"}}, "backoffLimit": 6, "parallelism": 1, "completions": 2,
    "template": {"metadata": {"labels": {"job": "j"}}, "spec": {"restartPolicy": "Never", "containers": [{"name": "c"}]}}}}


class WithoutBatch(MemoryClient):
    """Serves no Jobs until `new`."""

    def __init__(self) -> None:
        super().__init__()
        self.new = False
        self.before = self.look

    def look(self, action: Action) -> None:
        if action.verb == "list" and action.resource == JOBS and not self.new:
            raise NotFound("the server could not find the requested resource")

    async def raw(self, method: str, path: str, body: bytes | None = None, *, headers: dict[str, str] | None = None) -> bytes:
        return APPS


async def test_a_controller_stands_by_until_the_server_serves_what_it_works_with() -> None:
    seen: list[str] = []

    async def look(key: str) -> None:
        seen.append(key)

    async with Rig(lambda env: Controller("both", look, (Watch(PODS), Watch(JOBS))), client=WithoutBatch()) as rig:
        await rig.client.create(PODS, {"metadata": {"name": "p", "namespace": "default"}})
        await rig.settle(5)
        assert seen == []
        assert isinstance(rig.client, WithoutBatch)
        rig.client.new = True
        await rig.settle(2 * ASK_AGAIN + 1)
        assert seen == ["default/p"]


class WithoutUncounted(MemoryClient):
    """Knows no uncountedTerminatedPods, as servers before v1.22."""

    async def update(self, resource: Resource, obj: Object, *, subresource: str | None = None) -> Object:
        status: dict[str, Any] = {key: value for key, value in (obj.get("status") or {}).items() if key != "uncountedTerminatedPods"}
        return await super().update(resource, {**obj, "status": status} if resource == JOBS else obj, subresource=subresource)


async def test_pods_that_cannot_be_noted_are_not_replaced_for_ever() -> None:
    async with Rig(reconcile.controller, client=WithoutUncounted()) as rig:
        await rig.client.create(JOBS, JOB)
        for _ in range(5):
            await rig.settle(5)
            for pod in rig.client.all(PODS):
                if pod["status"]["phase"] == "Pending":
                    await rig.set_ready(pod, ready=False, phase="Succeeded")
        await rig.settle(60)
        assert len(rig.client.all(PODS)) <= 2
