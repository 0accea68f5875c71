"""The lives of workloads, quotas and their like through the API, as conformance asks for them, while their controllers run."""
from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from kubepy.api.errors import ApiError, Conflict, NotFound
from kubepy.api.pod import controller_of
from kubepy.api.resource import (
    CONFIGMAPS,
    CONTROLLER_REVISIONS,
    CRON_JOBS,
    DAEMON_SETS,
    JOBS,
    NAMESPACES,
    POD_DISRUPTION_BUDGETS,
    PODS,
    REPLICA_SETS,
    REPLICATION_CONTROLLERS,
    RESOURCE_QUOTAS,
    SECRETS,
    SERVICE_ACCOUNTS,
    SERVICES,
    Resource,
)
from kubepy.api.types import Object
from kubepy.client.http import HttpClient
from kubepy.client.kubeconfig import load
from tests.apiserver import ApiServer
from tests.integration.controllers.hollow import HollowNodes
from tests.integration.controllers.lives import APPS, LABELS, SCALED, SPECS, TEMPLATE, WITH_STATUS, change, space
from tests.integration.controllers.manager import SHORT_LEASE, Manager
from tests.integration.controllers.test_manager import until

pytestmark = [pytest.mark.etcd, pytest.mark.asyncio(loop_scope="module")]

def plural(resource: Resource) -> str:
    return resource.plural


@pytest.fixture(scope="module")
def server() -> Iterator[ApiServer]:
    with ApiServer() as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(server: ApiServer) -> AsyncIterator[HttpClient]:
    manager = Manager(server, *SHORT_LEASE)
    manager.start()
    client = HttpClient(load(server.kubeconfig))
    nodes = HollowNodes(client, 2)
    await nodes.start()
    await until(lambda: client.get(SERVICE_ACCOUNTS, "default", "default"), "the manager")
    yield client
    await nodes.stop()
    await client.close()
    assert manager.stop() == 0


@pytest.mark.parametrize("resource", SPECS, ids=plural)
async def test_the_life_of(client: HttpClient, resource: Resource) -> None:
    """Created, watched, read, patched, replaced, listed everywhere, deleted as one of a collection."""
    namespace = await space(client, f"life-{resource.plural}")
    events: list[tuple[str, str]] = []
    version = (await client.list(resource, namespace, limit=1))["metadata"]["resourceVersion"]

    async def watch() -> None:
        async for event in client.watch(resource, namespace, resource_version=version, label_selector="mine=yes"):
            events.append((event.type, event.object["metadata"]["name"]))

    watching = asyncio.create_task(watch())
    for name in ("a", "b"):
        metadata = {"name": name, "namespace": namespace, "labels": {"mine": "yes"}}
        made = await client.create(resource, {"metadata": metadata, **SPECS[resource]})
        assert made["metadata"]["uid"]
    patched = await client.patch(resource, "a", {"metadata": {"labels": {"patched": "yes"}}}, namespace)
    assert patched["metadata"]["labels"]["patched"] == "yes"
    changed = await change(client, resource, "a", namespace, {"metadata": {"annotations": {"replaced": "yes"}}})
    assert changed["metadata"]["annotations"]["replaced"] == "yes"
    everywhere = (await client.list(resource, label_selector="mine=yes"))["items"]
    assert {(item["metadata"]["namespace"], item["metadata"]["name"]) for item in everywhere} == {(namespace, "a"), (namespace, "b")}
    assert [item["metadata"]["name"] for item in (await client.list(resource, namespace, label_selector="patched=yes"))["items"]] == ["a"]
    await client.delete(resource, "b", namespace)
    await client.delete_collection(resource, namespace, label_selector="patched=yes", propagation="Background")

    async def gone() -> bool:
        return not (await client.list(resource, namespace, label_selector="mine=yes"))["items"]

    await until(gone, "deletion")

    async def told() -> bool:
        return {("ADDED", "a"), ("ADDED", "b"), ("MODIFIED", "a"), ("DELETED", "a"), ("DELETED", "b")} <= set(events)

    await until(told, "events")
    watching.cancel()


@pytest.mark.parametrize("resource", WITH_STATUS, ids=plural)
async def test_the_status_of(client: HttpClient, resource: Resource) -> None:
    """Read, patched and replaced by itself; writing the object does not touch it, writing it does not touch the rest."""
    namespace = await space(client, f"status-{resource.plural}")
    await client.create(resource, {"metadata": {"name": "a", "namespace": namespace}, **SPECS[resource]})
    if resource in (CRON_JOBS, JOBS, RESOURCE_QUOTAS, POD_DISRUPTION_BUDGETS):  # what their controllers leave alone
        body: Object = {"status": {
            CRON_JOBS: {"lastSuccessfulTime": "2026-01-01T00:00:00Z"}, RESOURCE_QUOTAS: {"hard": {"pods": "7"}},
            JOBS: {"conditions": [{"type": "Odd", "status": "True"}]},
            POD_DISRUPTION_BUDGETS: {"conditions": [{
                "type": "Odd", "status": "True", "reason": "E2E", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}]},
        }[resource]}
    else:
        body = {"status": {"conditions": [{"type": "StatusUpdate", "status": "True", "reason": "E2E", "message": "Set from a test"}]}}
    await client.patch(resource, "a", body, namespace, subresource="status")
    found = await client.get(resource, "a", namespace, subresource="status")
    [field] = body["status"]
    assert field in found["status"]
    changed = await change(client, resource, "a", namespace, {"metadata": {"annotations": {"via": "status"}}, **body}, "status")
    assert field in changed["status"]
    assert found["spec"] == changed["spec"]


@pytest.mark.parametrize("resource", SCALED, ids=plural)
async def test_the_scale_of(client: HttpClient, resource: Resource) -> None:
    namespace = await space(client, f"scale-{resource.plural}")
    await client.create(resource, {"metadata": {"name": "a", "namespace": namespace}, **SPECS[resource]})
    scale = await client.get(resource, "a", namespace, subresource="scale")
    assert (scale["kind"], scale["spec"]["replicas"]) == ("Scale", 1)
    await change(client, resource, "a", namespace, {"spec": {"replicas": 2}}, "scale")
    assert (await client.patch(resource, "a", {"spec": {"replicas": 3}}, namespace, subresource="scale"))["spec"]["replicas"] == 3

    async def scaled() -> bool:
        found = await client.get(resource, "a", namespace, subresource="scale")
        return bool(found["status"]["replicas"] == 3 and found["status"]["selector"] == "app=x")

    await until(scaled, "three replicas")


async def test_a_namespace_is_patched_replaced_finalized_and_has_a_status(client: HttpClient) -> None:
    await client.create(NAMESPACES, {"metadata": {"name": "life"}})
    assert (await client.patch(NAMESPACES, "life", {"metadata": {"labels": {"patched": "yes"}}}))["metadata"]["labels"]["patched"] == "yes"
    for _ in range(20):
        live = await client.get(NAMESPACES, "life")
        try:
            live["metadata"]["annotations"] = {"replaced": "yes"}
            await client.update(NAMESPACES, live)
            live = await client.get(NAMESPACES, "life")
            live["spec"]["finalizers"].append("example.com/keep")
            await client.update(NAMESPACES, live, subresource="finalize")
            break
        except Conflict:
            continue
    condition = {"type": "StatusPatch", "status": "True", "reason": "E2E", "message": "Patched"}
    await client.patch(NAMESPACES, "life", {"status": {"conditions": [condition]}}, subresource="status")
    assert any(item["type"] == "StatusPatch" for item in (await client.get(NAMESPACES, "life"))["status"]["conditions"])
    await client.delete(NAMESPACES, "life")

    async def emptied() -> bool:
        return bool((await client.get(NAMESPACES, "life"))["spec"]["finalizers"] == ["example.com/keep"])

    await until(emptied, "only our finalizer")
    live = await client.get(NAMESPACES, "life")
    await client.update(NAMESPACES, {**live, "spec": {"finalizers": []}}, subresource="finalize")

    async def gone() -> bool:
        try:
            await client.get(NAMESPACES, "life")
        except NotFound:
            return True
        return False

    await until(gone, "its end")


async def test_a_quota_follows_the_lives_of_what_it_counts(client: HttpClient) -> None:
    namespace = await space(client, "counted")
    hard = {"pods": "5", "requests.cpu": "1", "configmaps": "9", "secrets": "9", "services": "9", "services.nodeports": "1",
            "replicationcontrollers": "9", "count/replicasets.apps": "9", "resourcequotas": "9"}
    await client.create(RESOURCE_QUOTAS, {"metadata": {"name": "q", "namespace": namespace}, "spec": {"hard": hard}})

    async def used() -> Object:
        return ((await client.get(RESOURCE_QUOTAS, "q", namespace)).get("status") or {}).get("used") or {}

    async def until_used(**wanted: str) -> None:
        async def so() -> bool:
            found = await used()
            return bool(found) and all(found[name] == value for name, value in wanted.items())
        await until(so, str(wanted))

    await until_used(configmaps="1", pods="0", resourcequotas="1")  # the root CA's; itself
    container = {"name": "c", "image": "i", "resources": {"requests": {"cpu": "100m"}}}
    nothing: Object = {"replicas": 0, "template": {"metadata": {"labels": LABELS}, "spec": {"containers": [container]}}}
    made: dict[Resource, Object] = {
        PODS: {"spec": {"containers": [container], "terminationGracePeriodSeconds": 0}}, CONFIGMAPS: {}, SECRETS: {},
        SERVICES: {"spec": {"type": "NodePort", "ports": [{"port": 80}]}},
        REPLICATION_CONTROLLERS: {"spec": {**nothing, "selector": LABELS}},
        REPLICA_SETS: {"spec": {**nothing, "selector": {"matchLabels": LABELS}}},
        RESOURCE_QUOTAS: {"spec": {"hard": {"persistentvolumeclaims": "1"}}}}
    for resource, body in made.items():
        await client.create(resource, {"metadata": {"name": "one", "namespace": namespace}, **body})
    full = {"pods": "1", "requests.cpu": "100m", "configmaps": "2", "secrets": "1", "services": "1", "services.nodeports": "1",
            "replicationcontrollers": "1", "count/replicasets.apps": "1", "resourcequotas": "2"}
    await until_used(**full)
    large = {"name": "c", "image": "i", "resources": {"requests": {"cpu": "950m"}}}
    with pytest.raises(ApiError, match=r"exceeded quota: q, requested: requests\.cpu=950m, used: requests\.cpu=100m, limited: "):
        await client.create(PODS, {"metadata": {"name": "two", "namespace": namespace}, "spec": {"containers": [large]}})
    await client.patch(RESOURCE_QUOTAS, "q", {"spec": {"hard": {"requests.cpu": "2"}}}, namespace)
    for resource in made:
        await client.delete(resource, "one", namespace)
    await until_used(**{**dict.fromkeys(full, "0"), "configmaps": "1", "resourcequotas": "1"})
    assert (await client.get(RESOURCE_QUOTAS, "q", namespace))["status"]["hard"]["requests.cpu"] == "2"


@pytest.mark.parametrize(("scopes", "inside", "outside"), [
    pytest.param(["BestEffort"], {}, {"resources": {"requests": {"cpu": "1m"}}}, id="best effort"),
    pytest.param(["NotBestEffort"], {"resources": {"requests": {"cpu": "1m"}}}, {}, id="not best effort"),
    pytest.param(["Terminating"], {"activeDeadlineSeconds": 3600}, {}, id="terminating"),
    pytest.param(["NotTerminating"], {}, {"activeDeadlineSeconds": 3600}, id="not terminating"),
])
async def test_a_quota_counts_within_its_scope(client: HttpClient, scopes: list[str], inside: Object, outside: Object) -> None:
    namespace = await space(client, f"scope-{scopes[0].lower()}")
    await client.create(RESOURCE_QUOTAS, {"metadata": {"name": "q", "namespace": namespace}, "spec": {
        "hard": {"pods": "5"}, "scopes": scopes}})

    async def used() -> str | None:
        status = (await client.get(RESOURCE_QUOTAS, "q", namespace)).get("status") or {}
        return (status.get("used") or {}).get("pods")

    async def ready() -> bool:
        return await used() == "0"

    await until(ready, "the first count")
    for name, extra in (("in", inside), ("out", outside)):
        container = {"name": "c", "image": "i", **({"resources": extra["resources"]} if "resources" in extra else {})}
        deadline = {key: value for key, value in extra.items() if key != "resources"}
        await client.create(PODS, {"metadata": {"name": name, "namespace": namespace}, "spec": {
            "containers": [container], "terminationGracePeriodSeconds": 0, **deadline}})

    async def one() -> bool:
        return await used() == "1"

    await until(one, "one of two")
    await client.delete(PODS, "in", namespace)
    await until(ready, "none")


async def test_a_controller_tells_that_a_quota_stops_it_and_goes_on_when_it_does_not(client: HttpClient) -> None:
    namespace = await space(client, "stopped")
    await client.create(RESOURCE_QUOTAS, {"metadata": {"name": "q", "namespace": namespace}, "spec": {"hard": {"pods": "2"}}})

    async def counted() -> bool:
        return bool((await client.get(RESOURCE_QUOTAS, "q", namespace)).get("status"))

    await until(counted, "the quota's status")
    await client.create(REPLICATION_CONTROLLERS, {"metadata": {"name": "rc", "namespace": namespace}, "spec": {
        "replicas": 3, "selector": LABELS, "template": TEMPLATE}})

    async def failing() -> list[Object]:
        status = (await client.get(REPLICATION_CONTROLLERS, "rc", namespace)).get("status") or {}
        return [item for item in status.get("conditions") or () if item["type"] == "ReplicaFailure"]

    await until(failing, "the condition")
    assert "exceeded quota" in (await failing())[0]["message"]
    await client.patch(REPLICATION_CONTROLLERS, "rc", {"spec": {"replicas": 2}}, namespace)

    async def well() -> bool:
        return not await failing()

    await until(well, "its end")


@pytest.mark.parametrize("resource", [REPLICA_SETS, REPLICATION_CONTROLLERS, JOBS], ids=plural)
async def test_orphans_are_adopted_and_those_that_no_longer_match_released(client: HttpClient, resource: Resource) -> None:
    namespace = await space(client, f"adopt-{resource.plural}")
    spec: Object = {"containers": [{"name": "c", "image": "i"}], "terminationGracePeriodSeconds": 0}
    if resource is JOBS:
        body: Object = {"parallelism": 1, "manualSelector": True, "selector": {"matchLabels": LABELS}, "template": {
            "metadata": {"labels": LABELS}, "spec": {**spec, "restartPolicy": "Never"}}}
        spec = {**spec, "restartPolicy": "Never"}
    else:
        body = {**SPECS[resource]["spec"], "replicas": 1}
    orphan: Object = {"metadata": {"name": "orphan", "namespace": namespace, "labels": LABELS}, "spec": spec}
    if resource is JOBS:
        orphan["metadata"]["finalizers"] = ["batch.kubernetes.io/job-tracking"]
    await client.create(PODS, orphan)
    await client.create(resource, {"metadata": {"name": "owner", "namespace": namespace}, "spec": body})

    async def owner() -> str | None:
        found = controller_of(await client.get(PODS, "orphan", namespace))
        return found["name"] if found else None

    async def adopted() -> bool:
        return await owner() == "owner"

    async def released() -> bool:
        return await owner() is None

    await until(adopted, "adoption")
    await client.patch(PODS, "orphan", {"metadata": {"labels": {"app": "free"}}}, namespace)
    await until(released, "release")


async def test_a_failed_daemon_is_replaced_and_a_rollback_restarts_none_that_runs_the_old(client: HttpClient) -> None:
    namespace = await space(client, "daemons")
    await client.create(DAEMON_SETS, {"metadata": {"name": "ds", "namespace": namespace}, "spec": APPS})

    async def running(image: str = "one", count: int = 2) -> list[Object]:
        pods = [pod for pod in (await client.list(PODS, namespace))["items"] if pod["status"].get("phase") == "Running"
                and "deletionTimestamp" not in pod["metadata"] and pod["spec"]["containers"][0]["image"] == image]
        return pods if len(pods) >= count else []

    await until(running, "a daemon on each node")
    before = {pod["metadata"]["name"] for pod in await running()}
    victim = sorted(before)[0]
    await client.patch(PODS, victim, {"status": {"phase": "Failed"}}, namespace, subresource="status")

    async def replaced() -> bool:
        return victim not in {pod["metadata"]["name"] for pod in await running()} and bool(await running())

    await until(replaced, "a new daemon")
    before = {pod["metadata"]["uid"] for pod in await running()}
    bad = {"containers": [{"name": "c", "image": "two"}], "nodeSelector": {"no": "where"}}
    good = {"containers": [{"name": "c", "image": "one"}], "nodeSelector": None}
    for spec in (bad, good):
        await client.patch(DAEMON_SETS, "ds", {"spec": {"template": {"spec": spec}}}, namespace)

    async def back() -> bool:
        found = await client.get(DAEMON_SETS, "ds", namespace)
        status = found["status"]
        return (status["observedGeneration"] == found["metadata"]["generation"] and status.get("updatedNumberScheduled") == 2
                and status["numberReady"] == 2)

    await until(back, "the old revision")
    assert len((await client.list(CONTROLLER_REVISIONS, namespace))["items"]) <= 2
    assert {pod["metadata"]["uid"] for pod in await running()} & before or len(before) == 2


async def test_a_circle_of_owners_holds_nothing_up(client: HttpClient) -> None:
    namespace = await space(client, "circle")
    pods = [await client.create(PODS, {"metadata": {"name": f"pod{number}", "namespace": namespace}, "spec": {
        "terminationGracePeriodSeconds": 0, "containers": [{"name": "c", "image": "i"}]}}) for number in range(3)]
    for number, pod in enumerate(pods):
        owner = pods[(number + 2) % 3]["metadata"]
        reference = {"apiVersion": "v1", "kind": "Pod", "name": owner["name"], "uid": owner["uid"], "controller": True,
                     "blockOwnerDeletion": True}
        await client.patch(PODS, pod["metadata"]["name"], {"metadata": {"ownerReferences": [reference]}}, namespace)
    await client.delete(PODS, "pod0", namespace, propagation="Foreground")

    async def gone() -> bool:
        return not (await client.list(PODS, namespace))["items"]

    await until(gone, "all of them", 90)


async def test_dependents_with_another_owner_outlive_one_that_waits_for_them(client: HttpClient) -> None:
    namespace = await space(client, "two-owners")
    owners = []
    for name in ("goes", "stays"):
        spec = {"replicas": 0, "selector": {"app": name}, "template": {**TEMPLATE, "metadata": {"labels": {"app": name}}}}
        owners.append(await client.create(REPLICATION_CONTROLLERS, {"metadata": {"name": name, "namespace": namespace}, "spec": spec}))
    references = [{"apiVersion": "v1", "kind": "ReplicationController", "name": item["metadata"]["name"], "uid": item["metadata"]["uid"],
                   "blockOwnerDeletion": True} for item in owners]
    for number in range(4):
        await client.create(CONFIGMAPS, {"metadata": {"name": f"c{number}", "namespace": namespace,
                                                     "ownerReferences": references if number % 2 else references[:1]}})
    await client.delete(REPLICATION_CONTROLLERS, "goes", namespace, propagation="Foreground")

    async def settled() -> bool:
        left = {item["metadata"]["name"] for item in (await client.list(REPLICATION_CONTROLLERS, namespace))["items"]}
        maps = [item for item in (await client.list(CONFIGMAPS, namespace))["items"] if item["metadata"]["name"].startswith("c")]
        return left == {"stays"} and {item["metadata"]["name"] for item in maps} == {"c1", "c3"} and all(
            len(item["metadata"]["ownerReferences"]) == 1 for item in maps)

    await until(settled, "only what has an owner", 90)
