"""The real controller manager against the real API server and etcd, each controller with its own identity and RBAC role."""
from __future__ import annotations

import asyncio
import ssl
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
import pytest_asyncio

from kubepy.api.errors import NotFound
from kubepy.api.pod import is_true
from kubepy.api.resource import (
    CONFIGMAPS,
    CRON_JOBS,
    DAEMON_SETS,
    DEPLOYMENTS,
    ENDPOINT_SLICES,
    ENDPOINTS,
    JOBS,
    NAMESPACES,
    NODES,
    PODS,
    REPLICA_SETS,
    SERVICE_ACCOUNTS,
    SERVICES,
    STATEFUL_SETS,
)
from kubepy.api.types import Object
from kubepy.client.http import HttpClient
from kubepy.client.kubeconfig import load
from tests.apiserver import ApiServer
from tests.integration.controllers.hollow import HollowNodes
from tests.integration.controllers.manager import SHORT_LEASE, Manager

pytestmark = [pytest.mark.etcd, pytest.mark.asyncio(loop_scope="module")]


@pytest.fixture(scope="module")
def server() -> Iterator[ApiServer]:
    with ApiServer() as server:
        yield server


@pytest.fixture(scope="module")
def manager(server: ApiServer) -> Iterator[Manager]:
    manager = Manager(server, "-v", "2", *SHORT_LEASE)
    manager.start()
    yield manager
    assert manager.stop() == 0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(server: ApiServer, manager: Manager) -> AsyncIterator[HttpClient]:
    client = HttpClient(load(server.kubeconfig))
    nodes = HollowNodes(client, 3)
    await nodes.start()
    yield client
    await nodes.stop()
    await client.close()


async def until(check: Callable[[], Awaitable[object]], what: str, seconds: float = 90.0) -> Any:
    """Waits until `check` gives something true, and gives that."""
    async with asyncio.timeout(seconds):
        while True:
            try:
                if found := await check():
                    return found
            except NotFound:
                pass
            await asyncio.sleep(0.1)
    raise AssertionError(what)


def workload(kind: str, name: str, image: str = "one", **spec: object) -> Object:
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name, "namespace": "default"}, "spec": {
        "selector": {"matchLabels": {"app": name}},
        "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [
            {"name": "c", "image": image, "ports": [{"name": "http", "containerPort": 80}]}]}}, **spec}}


def image(name: str) -> Object:
    return {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": name}]}}}}


async def pods(client: HttpClient, name: str) -> list[Object]:
    found = await client.list(PODS, "default", label_selector=f"app={name}")
    return [pod for pod in found["items"] if "deletionTimestamp" not in pod["metadata"]]


async def test_namespaces_get_their_account_and_root_ca_and_nodes_their_range(client: HttpClient) -> None:
    await until(lambda: client.get(SERVICE_ACCOUNTS, "default", "default"), "default account")
    await until(lambda: client.get(CONFIGMAPS, "kube-root-ca.crt", "kube-public"), "root CA")

    async def ranges() -> bool:
        nodes = (await client.list(NODES))["items"]
        found = {node["spec"].get("podCIDR") for node in nodes}
        return None not in found and len(found) == len(nodes) == 3

    await until(ranges, "pod CIDRs")


async def test_a_deployment_rolls_over_behind_its_service_and_goes_in_the_foreground(client: HttpClient) -> None:
    await client.create(SERVICES, {"metadata": {"name": "web", "namespace": "default"}, "spec": {
        "selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": "http"}]}})
    await client.create(DEPLOYMENTS, workload("Deployment", "web", replicas=4))

    async def complete() -> bool:
        found = await client.get(DEPLOYMENTS, "web", "default")
        status = found.get("status") or {}
        return (status.get("observedGeneration") == found["metadata"]["generation"] and status.get("updatedReplicas") == 4
                and status.get("replicas") == 4 and status.get("availableReplicas") == 4 and is_true(found, "Progressing"))

    async def published() -> bool:
        names = {pod["metadata"]["name"] for pod in await pods(client, "web")}
        slices = (await client.list(ENDPOINT_SLICES, "default", label_selector="kubernetes.io/service-name=web"))["items"]
        endpoints = await client.get(ENDPOINTS, "web", "default")
        ready = {item["targetRef"]["name"] for found in slices for item in found["endpoints"] or () if item["conditions"]["ready"]}
        legacy = {item["targetRef"]["name"] for subset in endpoints.get("subsets") or () for item in subset.get("addresses") or ()}
        return ready == names == legacy and len(names) == 4

    await until(complete, "first rollout")
    await until(published, "endpoints")
    await client.patch(DEPLOYMENTS, "web", image("two"), "default", type="strategic")
    await until(complete, "second rollout")
    await until(published, "endpoints after the rollout")
    assert {pod["spec"]["containers"][0]["image"] for pod in await pods(client, "web")} == {"two"}
    await client.delete(DEPLOYMENTS, "web", "default", propagation="Foreground")

    async def gone() -> bool:
        left = [(await client.list(resource, "default", label_selector="app=web"))["items"] for resource in (REPLICA_SETS, PODS)]
        return not any(left)

    await until(gone, "foreground deletion")
    async def unknown() -> bool:
        try:
            await client.get(DEPLOYMENTS, "web", "default")
        except NotFound:
            return True
        return False

    await until(unknown, "the Deployment itself to go")


async def test_stateful_and_daemon_sets_run_and_update(client: HttpClient) -> None:
    await client.create(STATEFUL_SETS, workload("StatefulSet", "db", replicas=3, serviceName="db"))
    await client.create(DAEMON_SETS, workload("DaemonSet", "agent"))

    async def running() -> bool:
        db = (await client.get(STATEFUL_SETS, "db", "default")).get("status") or {}
        agent = (await client.get(DAEMON_SETS, "agent", "default")).get("status") or {}
        return bool(db.get("availableReplicas") == 3 and agent.get("numberAvailable") == 3)

    await until(running, "sets")
    assert {pod["metadata"]["name"] for pod in await pods(client, "db")} == {"db-0", "db-1", "db-2"}
    assert len({pod["spec"]["nodeName"] for pod in await pods(client, "agent")}) == 3
    for resource, name in ((STATEFUL_SETS, "db"), (DAEMON_SETS, "agent")):
        await client.patch(resource, name, image("two"), "default", type="strategic")

    async def updated() -> bool:
        found = await pods(client, "db") + await pods(client, "agent")
        return len(found) == 6 and {pod["spec"]["containers"][0]["image"] for pod in found} == {"two"} and await running()

    await until(updated, "updates")


async def test_a_job_completes_through_the_death_of_the_manager(client: HttpClient, manager: Manager) -> None:
    template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}
    await client.create(JOBS, {"metadata": {"name": "sum", "namespace": "default"},
                               "spec": {"completions": 20, "parallelism": 4, "template": template}})

    async def begun() -> bool:
        return bool(((await client.get(JOBS, "sum", "default")).get("status") or {}).get("succeeded"))

    await until(begun, "first pods")
    manager.kill()
    manager.start()

    async def complete() -> bool:
        return is_true(await client.get(JOBS, "sum", "default"), "Complete")

    await until(complete, "completion")
    found = (await client.list(PODS, "default", label_selector="job-name=sum"))["items"]
    assert (await client.get(JOBS, "sum", "default"))["status"]["succeeded"] == 20
    assert len(found) == 20
    assert not any(pod["metadata"].get("finalizers") for pod in found)


async def test_a_namespace_goes_with_everything_in_it(client: HttpClient) -> None:
    await client.create(NAMESPACES, {"metadata": {"name": "doomed"}})
    body = workload("Deployment", "web", replicas=2)
    await client.create(DEPLOYMENTS, {**body, "metadata": {"name": "web", "namespace": "doomed"}})
    job_template = {"spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}}}
    await client.create(CRON_JOBS, {"metadata": {"name": "tick", "namespace": "doomed"},
                                    "spec": {"schedule": "* * * * *", "jobTemplate": job_template}})

    async def there() -> bool:
        return len((await client.list(PODS, "doomed"))["items"]) == 2

    await until(there, "pods")
    await client.delete(NAMESPACES, "doomed")

    async def gone() -> bool:
        try:
            await client.get(NAMESPACES, "doomed")
        except NotFound:
            return True
        return False

    await until(gone, "namespace deletion")


METRICS = """
workqueue_depth workqueue_adds_total workqueue_queue_duration_seconds workqueue_work_duration_seconds workqueue_retries_total
workqueue_unfinished_work_seconds workqueue_longest_running_processor_seconds rest_client_requests_total
rest_client_request_duration_seconds leader_election_master_status running_managed_controllers process_cpu_seconds_total
job_controller_job_syncs_total job_controller_job_sync_duration_seconds job_controller_jobs_finished_total
job_controller_job_pods_finished_total job_controller_job_pods_creation_total job_controller_terminated_pods_tracking_finalizer_total
node_collector_zone_size node_collector_zone_health node_collector_unhealthy_nodes_in_zone
node_collector_update_all_nodes_health_duration_seconds node_ipam_controller_cidrset_usage_cidrs
node_ipam_controller_cidrset_cidrs_allocations_total garbagecollector_controller_resources_sync_error_total
endpoint_slice_controller_syncs endpoint_slice_controller_changes endpoint_slice_controller_endpoints_desired
root_ca_cert_publisher_sync_total cronjob_controller_job_creation_skew_duration_seconds ttl_after_finished_controller_job_deletion_duration_seconds
pod_gc_collector_force_delete_pods_total taint_eviction_controller_pod_deletions_total ephemeral_volume_controller_create_total
horizontal_pod_autoscaler_controller_reconciliations_total
""".split()  # noqa: SIM905, E501


async def test_the_metrics_of_upstream_are_there(client: HttpClient, server: ApiServer, manager: Manager) -> None:
    template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}
    await client.create(JOBS, {"metadata": {"name": "counted", "namespace": "default"}, "spec": {"template": template}})

    async def complete() -> bool:
        return is_true(await client.get(JOBS, "counted", "default"), "Complete")

    await until(complete, "a Job to count")
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    request = urllib.request.Request(f"https://127.0.0.1:{manager.port}/metrics", headers={"Authorization": f"Bearer {server.token}"})
    text = await asyncio.to_thread(lambda: urllib.request.urlopen(request, context=context, timeout=30).read().decode())
    told = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
    missing = [name for name in METRICS if name not in told and f"{name}_total" not in told]
    assert not missing
    assert 'job_controller_jobs_finished_total{completion_mode="NonIndexed",reason="CompletionsReached",result="succeeded"} ' in text


async def test_nothing_was_refused_and_nothing_failed(client: HttpClient, manager: Manager) -> None:
    lines = [line for line in manager.log().splitlines() if line.startswith("E") or "forbidden" in line]
    assert not lines, "\n".join(lines[:10])
