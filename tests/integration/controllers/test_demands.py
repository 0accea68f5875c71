"""Demands of conformance that a controller and the API meet together, in the order that the demand describes."""
from __future__ import annotations

from typing import Any

import pytest

from kubepy.api.errors import ApiError, NotFound
from kubepy.api.resource import (
    CONFIGMAPS,
    CONTROLLER_REVISIONS,
    DAEMON_SETS,
    ENDPOINT_SLICES,
    ENDPOINTS,
    JOBS,
    POD_DISRUPTION_BUDGETS,
    PODS,
    REPLICA_SETS,
    RESOURCE_QUOTAS,
    SERVICES,
    Resource,
)
from kubepy.api.types import Object
from kubepy.client.http import HttpClient
from tests.integration.controllers.lives import APPS, LABELS, ONCE, SPECS, change, space
from tests.integration.controllers.test_lifecycles import client, server
from tests.integration.controllers.test_manager import until

pytestmark = [pytest.mark.etcd, pytest.mark.asyncio(loop_scope="module")]
__all__ = ["client", "server"]


async def gone(client: HttpClient, resource: Resource, name: str, namespace: str) -> bool:
    try:
        await client.get(resource, name, namespace)
    except NotFound:
        return True
    return False


async def test_revisions_are_made_by_hand_deleted_and_counted_on(client: HttpClient) -> None:
    """A revision made by hand that holds the same template becomes the current one; the next has the number after it."""
    namespace = await space(client, "revisions")
    await client.create(DAEMON_SETS, {"metadata": {"name": "ds", "namespace": namespace, "labels": LABELS}, "spec": APPS})

    async def revisions(count: int) -> list[Object]:
        found = (await client.list(CONTROLLER_REVISIONS, namespace, label_selector="app=x"))["items"]
        return found if len(found) == count else []

    [first] = await until(lambda: revisions(1), "the first revision", 60)
    name = first["metadata"]["name"]
    patched = await client.patch(CONTROLLER_REVISIONS, name, {"metadata": {"labels": {name: "patched"}}}, namespace)
    assert patched["metadata"]["labels"][name] == "patched"
    same = {"namespace": namespace, "labels": first["metadata"]["labels"], "ownerReferences": first["metadata"]["ownerReferences"]}
    await client.create(CONTROLLER_REVISIONS, {"metadata": {"name": "made", **same}, "data": first["data"], "revision": 2})
    await until(lambda: revisions(2), "both", 60)
    await client.delete(CONTROLLER_REVISIONS, name, namespace)
    await until(lambda: revisions(1), "the one made by hand", 60)
    await change(client, CONTROLLER_REVISIONS, "made", namespace, {"metadata": {"labels": {"made": "updated"}}})
    await client.patch(DAEMON_SETS, "ds", {"spec": {"template": {"spec": {"terminationGracePeriodSeconds": 1}}}}, namespace)
    await until(lambda: revisions(2), "the new one besides", 60)
    await client.delete_collection(CONTROLLER_REVISIONS, namespace, label_selector="made=updated")
    [last] = await until(lambda: revisions(1), "the new one alone", 60)
    assert last["revision"] == 3


async def test_endpoints_made_by_hand_are_mirrored_as_they_change(client: HttpClient) -> None:
    namespace = await space(client, "mirrored")
    await client.create(SERVICES, {"metadata": {"name": "by-hand", "namespace": namespace}, "spec": {"ports": [{"name": "p", "port": 80}]}})
    subset: Object = {"addresses": [{"ip": "192.0.2.3"}], "ports": [{"name": "p", "port": 80, "protocol": "TCP"}]}
    await client.create(ENDPOINTS, {"metadata": {"name": "by-hand", "namespace": namespace}, "subsets": [subset]})

    async def slices(*wanted: tuple[str, int]) -> bool:
        found = (await client.list(ENDPOINT_SLICES, namespace, label_selector="kubernetes.io/service-name=by-hand"))["items"]
        assert all(item["metadata"]["labels"]["endpointslice.kubernetes.io/managed-by"] == "endpointslicemirroring-controller.k8s.io"
                   for item in found)
        return [(item["endpoints"][0]["addresses"][0], item["ports"][0]["port"]) for item in found if item.get("endpoints")] == [*wanted]

    await until(lambda: slices(("192.0.2.3", 80)), "the mirror", 60)
    await client.patch(ENDPOINTS, "by-hand", {"subsets": [{"addresses": [{"ip": "192.0.2.4"}], "ports": [{"name": "p", "port": 81}]}]},
                       namespace)
    await until(lambda: slices(("192.0.2.4", 81)), "its change", 60)
    await client.delete(ENDPOINTS, "by-hand", namespace)
    await until(slices, "its end", 60)


async def test_a_service_without_pods_has_empty_endpoints_that_go_with_it(client: HttpClient) -> None:
    namespace = await space(client, "nothing")
    await client.create(SERVICES, {"metadata": {"name": "empty", "namespace": namespace}, "spec": {
        "selector": {"does": "not-match"}, "ports": [{"port": 80}]}})

    async def slices() -> list[Object]:
        return list((await client.list(ENDPOINT_SLICES, namespace, label_selector="kubernetes.io/service-name=empty"))["items"])

    await until(lambda: client.get(ENDPOINTS, "empty", namespace), "Endpoints", 60)
    [made] = await until(slices, "a slice", 60)
    assert not made.get("endpoints")
    await client.delete(SERVICES, "empty", namespace)

    async def none() -> bool:
        return await gone(client, ENDPOINTS, "empty", namespace) and not await slices()

    await until(none, "both to go", 90)


async def test_the_root_ca_of_a_namespace_comes_back_as_it_was(client: HttpClient) -> None:
    namespace, name = await space(client, "authority"), "kube-root-ca.crt"
    made = await until(lambda: client.get(CONFIGMAPS, name, namespace), "the ConfigMap", 60)
    await client.delete(CONFIGMAPS, name, namespace)

    async def again() -> bool:
        return bool((await client.get(CONFIGMAPS, name, namespace))["data"] == made["data"])

    await until(again, "another", 60)
    await client.patch(CONFIGMAPS, name, {"data": {"ca.crt": ""}}, namespace)
    await until(again, "the authority in it", 60)


async def test_what_a_quota_says_of_itself_follows_what_it_is_to_be(client: HttpClient) -> None:
    namespace = await space(client, "said")
    await client.create(RESOURCE_QUOTAS, {"metadata": {"name": "q", "namespace": namespace}, "spec": {"hard": {"cpu": "500m"}}})

    def says(cpu: str) -> Any:
        async def so() -> bool:
            return bool(((await client.get(RESOURCE_QUOTAS, "q", namespace)).get("status") or {}).get("hard") == {"cpu": cpu})
        return so

    await until(says("500m"), "the first", 60)
    odd = await client.patch(RESOURCE_QUOTAS, "q", {"status": {"hard": {"cpu": "2"}}, "spec": {"hard": {"cpu": "9"}}}, namespace,
                             subresource="status")
    assert (odd["status"]["hard"], odd["spec"]["hard"]) == ({"cpu": "2"}, {"cpu": "500m"})
    await until(says("500m"), "what is so", 60)
    await client.patch(RESOURCE_QUOTAS, "q", {"spec": {"hard": {"cpu": "750m"}}}, namespace)
    await until(says("750m"), "the new", 60)


async def test_a_budget_blocks_an_eviction_until_it_is_changed_to_allow_it(client: HttpClient) -> None:
    namespace = await space(client, "blocked")
    await client.create(REPLICA_SETS, {"metadata": {"name": "rs", "namespace": namespace}, "spec": {
        **SPECS[REPLICA_SETS]["spec"], "replicas": 3}})
    await client.create(POD_DISRUPTION_BUDGETS, {"metadata": {"name": "b", "namespace": namespace}, "spec": {
        "minAvailable": 3, "selector": {"matchLabels": LABELS}}})

    def allows(count: int) -> Any:
        async def so() -> bool:
            found = await client.get(POD_DISRUPTION_BUDGETS, "b", namespace)
            status = found.get("status") or {}
            return bool((status.get("currentHealthy"), status.get("disruptionsAllowed"), status.get("observedGeneration"))
                        == (3, count, found["metadata"]["generation"]))
        return so

    await until(allows(0), "three healthy pods", 60)
    victim = (await client.list(PODS, namespace))["items"][0]["metadata"]["name"]
    eviction: Object = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": victim}}
    with pytest.raises(ApiError, match="would violate the pod's disruption budget") as refused:
        await client.create(PODS, eviction, namespace, name=victim, subresource="eviction")
    assert refused.value.code == 429
    await client.patch(POD_DISRUPTION_BUDGETS, "b", {"spec": {"minAvailable": 2}}, namespace)
    await until(allows(1), "one disruption", 60)
    await client.create(PODS, eviction, namespace, name=victim, subresource="eviction")

    async def evicted() -> bool:
        return await gone(client, PODS, victim, namespace)

    await until(evicted, "it to go", 60)


async def test_a_suspended_job_is_patched_resumed_and_ends(client: HttpClient) -> None:
    """Its status takes conditions of others; it is listed everywhere and goes as one of a collection."""
    namespace = await space(client, "resumed")
    labels = {"resumed": "yes"}
    await client.create(JOBS, {"metadata": {"name": "j", "namespace": namespace, "labels": labels}, "spec": {**ONCE, "suspend": True}})
    odd = {"type": "CustomConditionType", "status": "True", "lastTransitionTime": "2026-01-02T03:04:05Z"}

    async def suspended() -> bool:
        found = (await client.get(JOBS, "j", namespace)).get("status") or {}
        return any(item["type"] == "Suspended" for item in found.get("conditions") or ())

    await until(suspended, "its suspension", 60)
    await change(client, JOBS, "j", namespace, {"status": {"conditions": [
        *(await client.get(JOBS, "j", namespace))["status"]["conditions"], odd]}}, "status")
    await client.patch(JOBS, "j", {"metadata": {"labels": {"patched": "yes"}}}, namespace)
    await change(client, JOBS, "j", namespace, {"metadata": {"annotations": {"updated": "yes"}}, "spec": {"suspend": False}})

    async def ended() -> bool:
        types = {item["type"] for item in (await client.get(JOBS, "j", namespace))["status"]["conditions"]}
        return {"Complete", "CustomConditionType"} <= types

    await until(ended, "its end", 60)
    assert len((await client.list(JOBS, label_selector="resumed=yes,patched=yes"))["items"]) == 1
    await client.delete_collection(JOBS, namespace, label_selector="resumed=yes", propagation="Background")

    async def none() -> bool:
        return await gone(client, JOBS, "j", namespace) and not (await client.list(PODS, namespace))["items"]

    await until(none, "it and its pods to go", 60)
