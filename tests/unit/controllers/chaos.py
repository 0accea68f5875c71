"""What goes wrong on the way: writes fail before or after they have happened, caches are late, watches break, history is lost,
the controllers are restarted. Used by the tests of convergence."""
from __future__ import annotations

import random
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
from late import Late
from rig import Rig

from kubepy.api.errors import ApiError, Conflict, Forbidden, InternalError, TooManyRequests
from kubepy.api.resource import CONFIGMAPS, DEPLOYMENTS, NAMESPACES, PODS, REPLICA_SETS, SECRETS, SERVICE_ACCOUNTS, Resource
from kubepy.api.types import Object
from kubepy.client.interface import PatchType, Propagation
from kubepy.client.memory import MemoryClient
from kubepy.controllers.daemonset.eligible import node_of

NO_TRACE = ("events", "subjectaccessreviews")
OFTEN = 25
"""Passes over one key in two minutes: the nodes' monitor looks every five seconds, nothing more often."""


class Flaky(Late):
    """While `rate` is above 0, that part of the writes fails: refused, lost before, or (worst) lost after they took effect; and that
    part of the events comes late, each resource for itself, some of them twice.

    With `strict`, nothing is made in a namespace that is not there or goes away, as admission has it."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.random = random.Random(seed)
        self.rate = 0.0
        self.failures = 0
        self.strict = False

    async def passed(self) -> bool:
        if self.random.random() < self.rate / 2:
            self.failures += 1
            await self._clock.sleep(self.random.choice((0.01, 0.1, 1.0, 5.0)))
        return self.random.random() < self.rate / 2

    async def raw(self, method: str, path: str, body: bytes | None = None, *, headers: dict[str, str] | None = None) -> bytes:
        """Discovery."""
        self._refuse()
        if path == "/apis":
            return orjson.dumps({"groups": [{"name": "apps", "versions": [{"version": "v1"}], "preferredVersion": {"version": "v1"}}]})
        group = (PODS, CONFIGMAPS, SECRETS, SERVICE_ACCOUNTS) if path == "/api/v1" else (DEPLOYMENTS, REPLICA_SETS)
        return orjson.dumps({"resources": [{"name": item.plural, "kind": item.kind, "namespaced": True, "verbs": [
            "create", "list", "watch", "delete", "deletecollection"]} for item in group]})

    def _admit(self, obj: Object, namespace: str | None) -> None:
        where = namespace or obj["metadata"].get("namespace")
        if self.strict and where:
            found = next((item for item in self.all(NAMESPACES) if item["metadata"]["name"] == where), None)
            if found is None or found["metadata"].get("deletionTimestamp"):
                raise Forbidden("the namespace is terminating", {"causes": [{"reason": "NamespaceTerminating"}]})

    def _refuse(self) -> None:
        if self.random.random() < self.rate:
            self.failures += 1
            kind = self.random.randrange(4)
            if kind == 0:
                raise ConnectionError("reset before")
            raise (Conflict("changed"), InternalError("oops"), TooManyRequests("slow down"))[kind - 1]

    def _lose_answer(self) -> None:
        if self.random.random() < self.rate / 3:
            self.failures += 1
            raise ConnectionError("reset after")

    async def create(self, resource: Resource, obj: Object, namespace: str | None = None, *, name: str | None = None,
                     subresource: str | None = None, dry_run: bool = False) -> Object:
        self._refuse()
        self._admit(obj, namespace)
        made = await super().create(resource, obj, namespace, name=name, subresource=subresource, dry_run=dry_run)
        self._lose_answer()
        return made

    async def update(self, resource: Resource, obj: Object, *, subresource: str | None = None) -> Object:
        self._refuse()
        made = await super().update(resource, obj, subresource=subresource)
        self._lose_answer()
        return made

    async def patch(self, resource: Resource, name: str, patch: Any, namespace: str | None = None, *, type: PatchType = "merge",
                    subresource: str | None = None, field_manager: str = "", force: bool = False) -> Object:
        self._refuse()
        made = await super().patch(resource, name, patch, namespace, type=type, subresource=subresource)
        self._lose_answer()
        return made

    async def delete(self, resource: Resource, name: str, namespace: str | None = None, *, grace_period_seconds: int | None = None,
                     propagation: Propagation | None = None, uid: str | None = None, resource_version: str | None = None) -> Object:
        self._refuse()
        made = await super().delete(resource, name, namespace, grace_period_seconds=grace_period_seconds, propagation=propagation,
                                    uid=uid, resource_version=resource_version)
        self._lose_answer()
        return made


async def insist(rig: Rig, change: Any) -> None:
    """A user (or kubelet) tries until it works, or until it is moot."""
    for _ in range(20):
        try:
            await change()
            return
        except ConnectionError:
            continue
        except ApiError as error:
            if error.code == 404:
                return


async def kubelet(rig: Rig, chance: float = 1.0, ending: str = "") -> None:
    client = rig.client
    assert isinstance(client, Flaky)
    for pod in client.all(PODS):
        metadata = pod["metadata"]
        if client.random.random() > chance:
            continue
        if metadata.get("deletionTimestamp"):
            await insist(rig, lambda m=metadata: client.delete(PODS, m["name"], m["namespace"], grace_period_seconds=0))
        elif not pod["spec"].get("nodeName"):
            target = node_of(pod) or "n"
            await insist(rig, lambda m=metadata, t=target: MemoryClient.create(
                client, PODS, {"target": {"name": t}}, m["namespace"], name=m["name"], subresource="binding"))
        elif pod["status"].get("phase") == "Pending":
            await insist(rig, lambda p=pod: rig.set_ready(p, ready=not ending, phase=ending or "Running"))


async def chaos(rig: Rig, user: Callable[[random.Random], Awaitable[None]], rounds: int = 12, ending: str = "",
                after: int = 30, lapse: float = 400.0, pods: bool = True) -> None:
    """`user` acts in each of the rounds; then nothing goes wrong any more and time passes, `after` times 20 seconds and `lapse`.

    Unless `pods` is false, pods live as kubelets have them live, and are killed now and then."""
    client = rig.client
    assert isinstance(client, Flaky)
    client.rate = 0.3
    for _ in range(rounds):
        await user(client.random)
        if pods:
            await kubelet(rig, 0.6, ending)
        dice = client.random.randrange(6)
        if dice == 0:
            client.drop_watches()
        elif dice == 1:
            client.compact()
        elif dice == 3:
            client.failures += 1
            await rig.restart()
        elif dice == 2 and pods and (found := client.all(PODS)) and not ending:
            victim = client.random.choice(found)["metadata"]
            await insist(rig, lambda v=victim: client.delete(PODS, v["name"], v["namespace"], grace_period_seconds=0))
        await rig.settle(client.random.choice((0, 0, 1, 5)))
    client.rate = 0.0
    assert client.failures
    for _ in range(after):
        if pods:
            await kubelet(rig, 1.0, ending)
        await rig.settle(20)
    await rig.settle(lapse)  # expectations that were lost with their events have lapsed
    for _ in range(8 if pods else 0):
        if pods:
            await kubelet(rig, 1.0, ending)
        await rig.settle(20)


async def settled(rig: Rig) -> None:
    """Nothing is written any more, and nothing is looked at again and again."""
    before, passes = len(rig.client.actions), Counter(rig.passes)
    await rig.settle(120)
    late = [(action.verb, action.resource.plural) for action in rig.client.actions[before:] if action.resource.plural not in NO_TRACE]
    assert late == []
    assert [key for key, count in (rig.passes - passes).items() if count > OFTEN] == []
