"""What every `Client` does: the memory client (unit tests of controllers) and HTTP with the real API server on etcd."""
from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from typing import Any, cast

import pytest

from kubepy.api.errors import AlreadyExists, ApiError, Conflict, NotFound
from kubepy.api.resource import CONFIGMAPS, DEPLOYMENTS, LEASES, NODES, PODS, SERVICE_ACCOUNTS, Resource
from kubepy.api.types import Object
from kubepy.client.http import HttpClient
from kubepy.client.interface import Client
from kubepy.client.kubeconfig import load
from kubepy.client.memory import MemoryClient
from tests.apiserver import ApiServer

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def server() -> Iterator[ApiServer]:
    with ApiServer("--disable-admission-plugins", "ServiceAccount") as server:
        yield server


@pytest.fixture(params=["memory", pytest.param("server", marks=pytest.mark.etcd)])
async def client(request: pytest.FixtureRequest) -> AsyncIterator[Client]:
    if request.param == "memory":
        yield MemoryClient()
        return
    http = HttpClient(load(request.getfixturevalue("server").kubeconfig))
    yield http
    await http.close()


@pytest.fixture
def name() -> str:
    """Unused by the tests before."""
    return f"thing-{next(_numbers)}"


def config(name: str, **metadata: Any) -> Object:
    return {"metadata": {"name": name, "namespace": "default", **metadata}, "data": {"a": "1"}}


def pod(name: str, **metadata: Any) -> Object:
    return {"metadata": {"name": name, "namespace": "default", **metadata}, "spec": {"containers": [{"name": "c", "image": "i"}]}}


def deployment(name: str) -> Object:
    return {"metadata": {"name": name, "namespace": "default"}, "spec": {
        "replicas": 1, "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}}


async def collect(client: Client, resource: Resource, count: int, **options: Any) -> list[tuple[str, str]]:
    """The first `count` events of a watch, as (type, name)."""
    found: list[tuple[str, str]] = []
    async with asyncio.timeout(60), aclosing(cast(Any, client.watch(resource, "default", **options))) as events:
        async for type, obj in events:
            if type != "BOOKMARK":
                found.append((type, obj["metadata"]["name"]))
            if len(found) == count:
                break
    return found


async def test_what_is_created_can_be_read(client: Client, name: str) -> None:
    created = await client.create(CONFIGMAPS, config(name))
    read = await client.get(CONFIGMAPS, name, "default")
    assert read["metadata"]["uid"] == created["metadata"]["uid"]
    assert read["metadata"]["resourceVersion"] == created["metadata"]["resourceVersion"]
    assert read["data"] == {"a": "1"}
    with pytest.raises(AlreadyExists):
        await client.create(CONFIGMAPS, config(name))
    with pytest.raises(NotFound):
        await client.get(CONFIGMAPS, "absent", "default")


async def test_a_name_can_be_generated(client: Client) -> None:
    body: Object = {"metadata": {"generateName": "made-", "namespace": "default"}}
    made = [await client.create(CONFIGMAPS, body) for _ in range(2)]
    names = {item["metadata"]["name"] for item in made}
    assert len(names) == 2
    assert all(item.startswith("made-") and len(item) > 5 for item in names)


async def test_a_lost_race_is_a_conflict(client: Client, name: str) -> None:
    created = await client.create(CONFIGMAPS, config(name))
    updated = await client.update(CONFIGMAPS, {**created, "data": {"a": "2"}})
    assert updated["metadata"]["resourceVersion"] != created["metadata"]["resourceVersion"]
    with pytest.raises(Conflict):
        await client.update(CONFIGMAPS, {**created, "data": {"a": "3"}})
    with pytest.raises(Conflict):
        await client.patch(CONFIGMAPS, name, {"metadata": {"resourceVersion": created["metadata"]["resourceVersion"]}, "data": {"a": "4"}},
                           "default")
    with pytest.raises(Conflict):
        await client.delete(CONFIGMAPS, name, "default", uid="other")


async def test_an_update_that_changes_nothing_is_none(client: Client, name: str) -> None:
    created = await client.create(CONFIGMAPS, config(name))
    again = await client.update(CONFIGMAPS, created)
    assert again["metadata"]["resourceVersion"] == created["metadata"]["resourceVersion"]


async def test_status_and_the_rest_are_written_apart(client: Client, name: str) -> None:
    created = await client.create(DEPLOYMENTS, {**deployment(name), "status": {"replicas": 5}})
    assert not (created.get("status") or {}).get("replicas")
    reported = await client.update(DEPLOYMENTS, {**created, "spec": {**created["spec"], "replicas": 9}, "status": {"replicas": 1}},
                                   subresource="status")
    assert (reported["spec"]["replicas"], reported["status"]["replicas"]) == (1, 1)
    assert reported["metadata"]["generation"] == 1
    changed = await client.update(DEPLOYMENTS, {**reported, "spec": {**reported["spec"], "replicas": 2}, "status": {"replicas": 7}})
    assert (changed["spec"]["replicas"], changed["status"]["replicas"], changed["metadata"]["generation"]) == (2, 1, 2)


async def test_finalizers_hold_an_object_until_the_last_is_gone(client: Client, name: str) -> None:
    await client.create(CONFIGMAPS, config(name, finalizers=["example.com/a", "example.com/b"]))
    await client.delete(CONFIGMAPS, name, "default")
    held = await client.get(CONFIGMAPS, name, "default")
    assert held["metadata"]["deletionTimestamp"]
    await client.patch(CONFIGMAPS, name, {"metadata": {"finalizers": ["example.com/b"]}}, "default")
    await client.patch(CONFIGMAPS, name, {"metadata": {"finalizers": None}}, "default")
    with pytest.raises(NotFound):
        await client.get(CONFIGMAPS, name, "default")


@pytest.mark.parametrize(("propagation", "finalizer"), [("Foreground", "foregroundDeletion"), ("Orphan", "orphan")])
async def test_propagation_is_a_finalizer_for_the_garbage_collector(client: Client, name: str, propagation: Any, finalizer: str) -> None:
    await client.create(CONFIGMAPS, config(name))
    await client.delete(CONFIGMAPS, name, "default", propagation=propagation)
    held = await client.get(CONFIGMAPS, name, "default")
    assert held["metadata"]["finalizers"] == [finalizer]


async def test_a_pod_on_a_node_is_deleted_gracefully_and_one_without_at_once(client: Client, name: str) -> None:
    await client.create(PODS, pod(name))
    await client.create(PODS, {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name},
                               "target": {"kind": "Node", "name": "n1"}}, "default", name=name, subresource="binding")
    assert (await client.get(PODS, name, "default"))["spec"]["nodeName"] == "n1"
    with pytest.raises(Conflict):
        await client.create(PODS, {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name},
                                   "target": {"kind": "Node", "name": "n2"}}, "default", name=name, subresource="binding")
    await client.delete(PODS, name, "default")
    leaving = await client.get(PODS, name, "default")
    assert leaving["metadata"]["deletionGracePeriodSeconds"] == 30
    await client.delete(PODS, name, "default", grace_period_seconds=0)
    with pytest.raises(NotFound):
        await client.get(PODS, name, "default")
    await client.create(PODS, pod(f"{name}-b"))
    await client.delete(PODS, f"{name}-b", "default")
    with pytest.raises(NotFound):
        await client.get(PODS, f"{name}-b", "default")


async def test_lists_are_selected_and_paged(client: Client, name: str) -> None:
    for number in range(5):
        await client.create(CONFIGMAPS, config(f"{name}-{number}", labels={"of": name, "odd": str(number % 2)}))
    odd = await client.list(CONFIGMAPS, "default", label_selector=f"of={name},odd=1")
    assert [item["metadata"]["name"] for item in odd["items"]] == [f"{name}-1", f"{name}-3"]
    assert odd["items"][0]["kind"] == "ConfigMap"
    first = await client.list(CONFIGMAPS, "default", label_selector=f"of={name}", limit=3)
    rest = await client.list(CONFIGMAPS, "default", label_selector=f"of={name}", limit=3, continue_token=first["metadata"]["continue"])
    assert [len(page["items"]) for page in (first, rest)] == [3, 2]
    assert not rest["metadata"].get("continue")
    one = await client.list(CONFIGMAPS, "default", field_selector=f"metadata.name={name}-4")
    assert len(one["items"]) == 1


async def test_a_watch_goes_on_where_the_list_ended(client: Client, name: str) -> None:
    version = (await client.list(CONFIGMAPS, "default"))["metadata"]["resourceVersion"]
    await client.create(CONFIGMAPS, config(name))
    await client.patch(CONFIGMAPS, name, {"data": {"b": "2"}}, "default")
    await client.delete(CONFIGMAPS, name, "default")
    found = await collect(client, CONFIGMAPS, 3, resource_version=version)
    assert found == [("ADDED", name), ("MODIFIED", name), ("DELETED", name)]


async def test_a_selected_watch_sees_objects_come_and_go(client: Client, name: str) -> None:
    version = (await client.list(CONFIGMAPS, "default"))["metadata"]["resourceVersion"]
    await client.create(CONFIGMAPS, config(name, labels={"in": "no"}))
    await client.patch(CONFIGMAPS, name, {"metadata": {"labels": {"in": name}}}, "default")
    await client.patch(CONFIGMAPS, name, {"data": {"b": "2"}}, "default")
    await client.patch(CONFIGMAPS, name, {"metadata": {"labels": {"in": "no"}}}, "default")
    found = await collect(client, CONFIGMAPS, 3, resource_version=version, label_selector=f"in={name}")
    assert found == [("ADDED", name), ("MODIFIED", name), ("DELETED", name)]


async def test_a_watch_by_node_sees_a_pod_when_it_is_bound(client: Client, name: str) -> None:
    version = (await client.list(PODS, "default"))["metadata"]["resourceVersion"]
    await client.create(PODS, pod(name))
    await client.create(PODS, {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name},
                               "target": {"kind": "Node", "name": f"node-of-{name}"}}, "default", name=name, subresource="binding")
    found = await collect(client, PODS, 1, resource_version=version, field_selector=f"spec.nodeName=node-of-{name}")
    assert found == [("ADDED", name)]


async def test_cluster_scoped_objects_have_no_namespace(client: Client, name: str) -> None:
    created = await client.create(NODES, {"metadata": {"name": name}, "status": {"capacity": {"pods": "110"}}})
    assert "namespace" not in created["metadata"]
    assert created["status"]["capacity"] == {"pods": "110"}
    patched = await client.patch(NODES, name, {"spec": {"unschedulable": True}})
    assert patched["spec"]["unschedulable"] is True


async def test_a_json_patch_tests_before_it_changes(client: Client, name: str) -> None:
    await client.create(CONFIGMAPS, config(name))
    changed = await client.patch(CONFIGMAPS, name, [{"op": "test", "path": "/data/a", "value": "1"},
                                                    {"op": "replace", "path": "/data/a", "value": "2"}], "default", type="json")
    assert changed["data"] == {"a": "2"}
    with pytest.raises(ApiError) as refused:
        await client.patch(CONFIGMAPS, name, [{"op": "test", "path": "/data/a", "value": "1"}], "default", type="json")
    assert refused.value.code == 422


async def test_collections_are_deleted_by_selector(client: Client, name: str) -> None:
    for number in range(3):
        await client.create(LEASES, {"metadata": {"name": f"{name}-{number}", "namespace": "default",
                                                  "labels": {"of": name if number else "none"}}, "spec": {}})
    await client.delete_collection(LEASES, "default", label_selector=f"of={name}")
    left = await client.list(LEASES, "default", label_selector=f"of in ({name},none)")
    assert f"{name}-0" in [item["metadata"]["name"] for item in left["items"]]
    assert f"{name}-1" not in [item["metadata"]["name"] for item in left["items"]]


async def test_tokens_are_made_for_service_accounts(client: Client, name: str) -> None:
    await client.create(SERVICE_ACCOUNTS, {"metadata": {"name": name, "namespace": "default"}})
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "metadata": {}, "spec": {"audiences": [],
                                                                                                     "expirationSeconds": 3600}}
    made = await client.create(SERVICE_ACCOUNTS, body, "default", name=name, subresource="token")
    assert made["status"]["token"]
    assert made["status"]["expirationTimestamp"]
