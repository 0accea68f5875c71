"""The local APIServices: one for each group version this server serves, built in or by a CustomResourceDefinition.

Source: `kube-aggregator/pkg/controllers/autoregister` and `controlplane/apiserver/aggregator.go`. Those of built-in groups are made at
start; those of custom groups come and go with their definitions.
"""
from __future__ import annotations

import asyncio
from typing import NamedTuple

from kubepy.api.errors import AlreadyExists, ApiError, NotFound
from kubepy.api.types import Object
from kubepy.apiserver.aggregation.table import API_SERVICES, Table
from kubepy.apiserver.ensure import context_for, ensure
from kubepy.apiserver.server import Server
from kubepy.apiserver.verbs.delete import delete_object
from kubepy.base.log import get_logger

log = get_logger("aggregation")
LABEL = "kube-aggregator.kubernetes.io/automanaged"
POLL_SECONDS = 0.5


class Priority(NamedTuple):
    group: int
    version: int


CUSTOM = Priority(1000, 100)
PRIORITIES: dict[tuple[str, str], Priority] = {
    ("", "v1"): Priority(18000, 1),
    ("apps", "v1"): Priority(17800, 15),
    ("events.k8s.io", "v1"): Priority(17750, 5),
    ("authentication.k8s.io", "v1"): Priority(17700, 15),
    ("authorization.k8s.io", "v1"): Priority(17600, 15),
    ("autoscaling", "v1"): Priority(17500, 15),
    ("autoscaling", "v2"): Priority(17500, 30),
    ("batch", "v1"): Priority(17400, 15),
    ("certificates.k8s.io", "v1"): Priority(17300, 15),
    ("certificates.k8s.io", "v1beta1"): Priority(17300, 9),
    ("certificates.k8s.io", "v1alpha1"): Priority(17300, 1),
    ("networking.k8s.io", "v1"): Priority(17200, 15),
    ("policy", "v1"): Priority(17100, 15),
    ("rbac.authorization.k8s.io", "v1"): Priority(17000, 15),
    ("storage.k8s.io", "v1"): Priority(16800, 15),
    ("admissionregistration.k8s.io", "v1"): Priority(16700, 15),
    ("apiextensions.k8s.io", "v1"): Priority(16700, 15),
    ("scheduling.k8s.io", "v1"): Priority(16600, 15),
    ("coordination.k8s.io", "v1"): Priority(16500, 15),
    ("node.k8s.io", "v1"): Priority(16300, 15),
    ("discovery.k8s.io", "v1"): Priority(16200, 15),
    ("resource.k8s.io", "v1"): Priority(16200, 15),
    ("resource.k8s.io", "v1beta2"): Priority(16200, 9),
    ("resource.k8s.io", "v1alpha3"): Priority(16200, 1),
    ("flowcontrol.apiserver.k8s.io", "v1"): Priority(16100, 21),
    ("internal.apiserver.k8s.io", "v1alpha1"): Priority(16000, 9),
    ("storagemigration.k8s.io", "v1beta1"): Priority(15800, 9),
}


def local(group: str, version: str, mode: str) -> Object:
    priority = PRIORITIES.get((group, version), CUSTOM)
    spec: Object = {"version": version, "groupPriorityMinimum": priority.group, "versionPriority": priority.version}
    if group:
        spec["group"] = group
    return {"metadata": {"name": f"{version}.{group}", "labels": {LABEL: mode}}, "spec": spec}


class Registrar:
    def __init__(self, server: Server, table: Table) -> None:
        self._server = server
        self._table = table
        self._done: tuple[int, frozenset[str]] | None = None

    async def start_hook(self, server: Server) -> None:
        """The built-in group versions; an API service somebody put in the place of one stays."""
        builtin = {(kind.resource.group, kind.resource.version) for kind in server.kinds.kinds} - self._custom()
        for group, version in sorted(builtin):
            if group != API_SERVICES.group:  # the aggregator serves its own group itself
                await ensure(server, API_SERVICES, local(group, version, "onstart"))

    def _custom(self) -> set[tuple[str, str]]:
        return {(kind.resource.group, kind.resource.version) for kind in self._server.kinds.custom}

    async def run(self) -> None:
        """Keeps the API services of custom groups as the definitions want them."""
        while True:
            await asyncio.sleep(POLL_SECONDS)
            names = frozenset(self._table.local) | {remote.name for remote in self._table.remotes.values()}
            state = (self._server.kinds.generation, names)
            if state == self._done:
                continue
            if await self._sync(names):
                self._done = state

    async def _sync(self, names: frozenset[str]) -> bool:
        wanted = {f"{version}.{group}": (group, version) for group, version in self._custom()}
        done = True
        for name, key in wanted.items():
            if name not in names:
                try:
                    await ensure(self._server, API_SERVICES, local(*key, "true"))
                except AlreadyExists:
                    pass
                except ApiError as error:
                    log.warning("Cannot register an API group", name=name, err=error.message)
                done = False
        for name, obj in list(self._table.local.items()):
            if name not in wanted and (obj["metadata"].get("labels") or {}).get(LABEL) == "true":
                try:
                    await delete_object(self._server, context_for(self._server, API_SERVICES, "delete", "", name), name, {})
                except NotFound:
                    pass
                except ApiError as error:
                    log.warning("Cannot take an API group away", name=name, err=error.message)
                done = False
        return done
