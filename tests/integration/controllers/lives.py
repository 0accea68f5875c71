"""The smallest workloads, quotas and their like, and what the tests of their lives do with them."""
from __future__ import annotations

import asyncio
from typing import Any

from kubepy.api.errors import ApiError
from kubepy.api.resource import (
    CONTROLLER_REVISIONS,
    CRON_JOBS,
    DAEMON_SETS,
    DEPLOYMENTS,
    ENDPOINT_SLICES,
    ENDPOINTS,
    JOBS,
    NAMESPACES,
    POD_DISRUPTION_BUDGETS,
    REPLICA_SETS,
    REPLICATION_CONTROLLERS,
    RESOURCE_QUOTAS,
    SERVICE_ACCOUNTS,
    STATEFUL_SETS,
    Resource,
)
from kubepy.api.types import Object
from kubepy.client.http import HttpClient
from tests.integration.controllers.test_manager import until

LABELS = {"app": "x"}
TEMPLATE: Object = {"metadata": {"labels": LABELS}, "spec": {
    "terminationGracePeriodSeconds": 0, "containers": [{"name": "c", "image": "one"}]}}
APPS: Object = {"selector": {"matchLabels": LABELS}, "template": TEMPLATE}
ONCE: Object = {"template": {"spec": {**TEMPLATE["spec"], "restartPolicy": "Never"}}}
SPECS: dict[Resource, Object] = {
    CONTROLLER_REVISIONS: {"data": {"a": "b"}, "revision": 1},
    CRON_JOBS: {"spec": {"schedule": "0 0 1 1 *", "jobTemplate": {"spec": ONCE}}},
    DAEMON_SETS: {"spec": APPS},
    DEPLOYMENTS: {"spec": {**APPS, "replicas": 1}},
    POD_DISRUPTION_BUDGETS: {"spec": {"selector": {"matchLabels": {"app": "none"}}, "minAvailable": 1}},
    JOBS: {"spec": {**ONCE, "suspend": True}},
    REPLICA_SETS: {"spec": {**APPS, "replicas": 1}},
    REPLICATION_CONTROLLERS: {"spec": {"replicas": 1, "selector": LABELS, "template": TEMPLATE}},
    STATEFUL_SETS: {"spec": {**APPS, "serviceName": "x", "replicas": 1}},
    RESOURCE_QUOTAS: {"spec": {"hard": {"count/leases.coordination.k8s.io": "5"}}},
    SERVICE_ACCOUNTS: {"automountServiceAccountToken": False},
    ENDPOINTS: {"subsets": [{"addresses": [{"ip": "192.0.2.1"}], "ports": [{"name": "a", "port": 80}]}]},
    ENDPOINT_SLICES: {"addressType": "IPv4", "endpoints": [{"addresses": ["192.0.2.1"]}], "ports": [{"name": "a", "port": 80}]},
}
SCALED = (DEPLOYMENTS, REPLICA_SETS, REPLICATION_CONTROLLERS, STATEFUL_SETS)
WITH_STATUS = (CRON_JOBS, DAEMON_SETS, DEPLOYMENTS, POD_DISRUPTION_BUDGETS, JOBS, REPLICA_SETS, REPLICATION_CONTROLLERS, STATEFUL_SETS,
               RESOURCE_QUOTAS)


async def space(client: HttpClient, name: str) -> str:
    """A namespace in which pods can be made."""
    await client.create(NAMESPACES, {"metadata": {"name": name}})
    await until(lambda: client.get(SERVICE_ACCOUNTS, "default", name), "its account")
    return name


async def change(client: HttpClient, resource: Resource, name: str, namespace: str, body: Object, subresource: str | None = None) -> Object:
    """Replaces the object as it is with `body` merged into it, until nobody else is faster."""
    for _ in range(50):
        live = await client.get(resource, name, namespace, subresource=subresource if subresource == "scale" else None)
        try:
            return await client.update(resource, _merge(live, body), subresource=subresource)
        except ApiError as error:
            if error.code != 409:
                raise
            await asyncio.sleep(0.05)
    raise AssertionError("always too late")


def _merge(target: Any, patch: Any) -> Any:
    if not isinstance(patch, dict) or not isinstance(target, dict):
        return patch
    return {**target, **{key: _merge(target.get(key), value) for key, value in patch.items()}}
