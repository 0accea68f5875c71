"""ResourceQuota never lets more in than it allows, however many ask at once."""
from __future__ import annotations

import asyncio

import pytest

from kubepy.api import quota
from kubepy.api.errors import Forbidden
from kubepy.api.resource import CONFIGMAPS, PERSISTENT_VOLUME_CLAIMS, PODS, RESOURCE_QUOTAS, SERVICES
from kubepy.apiserver.admission.resource_quota import ResourceQuota
from kubepy.base.clock import settle
from tests.unit.apiserver.stores import MemoryStores, attributes, put, services


@pytest.fixture
async def stores():
    found = MemoryStores()
    yield found
    await found.close()


async def add_quota(stores: MemoryStores, name: str, hard: dict[str, str], used: dict[str, str] | None = None, **spec) -> None:
    status = {"hard": hard, "used": {key: "0" for key in hard} if used is None else used}
    await put(stores, RESOURCE_QUOTAS, name, "ns", spec={"hard": hard, **spec}, status=status)


def configmap(number: int):
    return attributes(CONFIGMAPS, "CREATE", {"metadata": {"name": f"c{number}"}})


async def used(stores: MemoryStores, name: str) -> dict[str, str]:
    return (await stores[RESOURCE_QUOTAS].get("ns", name)).decode()["status"]["used"]


async def test_a_hundred_at_once_get_in_as_many_as_there_are_places(stores: MemoryStores) -> None:
    await add_quota(stores, "q", {"configmaps": "7"})
    plugins = [ResourceQuota(services(stores)) for _ in range(4)]  # as many servers on one storage
    results = await asyncio.gather(*(plugins[number % 4].admit_valid(configmap(number)) for number in range(100)), return_exceptions=True)
    assert sum(result is None for result in results) == 7
    assert {type(result) for result in results if result is not None} == {Forbidden}
    assert await used(stores, "q") == {"configmaps": "7"}


async def test_what_a_later_quota_refuses_is_given_back_to_the_earlier(stores: MemoryStores) -> None:
    await add_quota(stores, "a", {"configmaps": "100"})
    await add_quota(stores, "b", {"configmaps": "3"})
    plugins = [ResourceQuota(services(stores)) for _ in range(3)]
    results = await asyncio.gather(*(plugins[number % 3].admit_valid(configmap(number)) for number in range(30)), return_exceptions=True)
    assert sum(result is None for result in results) == 3
    assert await used(stores, "a") == {"configmaps": "3"}


@pytest.mark.parametrize(("hard", "spec", "message"), [
    pytest.param({"pods": "0"}, {}, "exceeded quota: q, requested: pods=1, used: pods=0, limited: pods=0", id="exceeded"),
    pytest.param({"requests.cpu": "1", "limits.memory": "1Gi"}, {},
                 "failed quota: q: must specify limits.memory for: c; requests.cpu for: c", id="not given"),
    pytest.param({"configmaps": "0"}, {}, "", id="not about pods"),
    pytest.param({"pods": "0"}, {"scopes": ["Terminating"]}, "", id="another scope"),
    pytest.param({"pods": "0"}, {"scopes": ["BestEffort", "NotTerminating"]}, "exceeded quota", id="in both scopes"),
])
async def test_pods(stores: MemoryStores, hard, spec, message: str) -> None:
    await add_quota(stores, "q", hard, **spec)
    plugin = ResourceQuota(services(stores))
    request = attributes(PODS, "CREATE", {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c"}]}})
    if not message:
        await plugin.admit_valid(request)
        return
    with pytest.raises(Forbidden, match=message):
        await plugin.admit_valid(request)


async def test_a_dry_run_charges_nothing(stores: MemoryStores) -> None:
    await add_quota(stores, "q", {"configmaps": "1"})
    plugin = ResourceQuota(services(stores))
    await plugin.admit_valid(attributes(CONFIGMAPS, "CREATE", {"metadata": {"name": "a"}}, dry_run=True))
    assert await used(stores, "q") == {"configmaps": "0"}


async def test_an_update_is_charged_for_what_it_adds(stores: MemoryStores) -> None:
    await add_quota(stores, "q", {"services.nodeports": "2"}, {"services.nodeports": "1"})
    plugin = ResourceQuota(services(stores))
    old = {"metadata": {"name": "s"}, "spec": {"type": "NodePort", "ports": [{}]}}
    await plugin.admit_valid(attributes(SERVICES, "UPDATE", {**old, "spec": {"type": "NodePort", "ports": [{}, {}]}}, old))
    assert await used(stores, "q") == {"services.nodeports": "2"}
    await settle()
    with pytest.raises(Forbidden, match=r"requested: services.nodeports=2, used: services.nodeports=2"):
        await plugin.admit_valid(attributes(SERVICES, "UPDATE", {**old, "spec": {"type": "NodePort", "ports": [{}, {}, {}]}}, old))


@pytest.mark.parametrize(("resource", "obj", "expected"), [
    pytest.param(PODS, {"spec": {
        "initContainers": [{"resources": {"requests": {"cpu": "2"}}},
                           {"restartPolicy": "Always", "resources": {"requests": {"cpu": "100m"}}}],
        "containers": [{"resources": {"requests": {"cpu": "1", "example.com/gpu": "1"}, "limits": {"memory": "1Gi"}}}]}},
        {"count/pods": "1", "pods": "1", "cpu": "2", "requests.cpu": "2", "requests.example.com/gpu": "1",
         "limits.memory": "1Gi"}, id="a pod"),
    pytest.param(PODS, {"status": {"phase": "Failed"}, "spec": {"containers": []}}, {"count/pods": "1"}, id="a pod that has ended"),
    pytest.param(PERSISTENT_VOLUME_CLAIMS, {"spec": {"storageClassName": "gold", "resources": {"requests": {"storage": "1Gi"}}}}, {
        "count/persistentvolumeclaims": "1", "persistentvolumeclaims": "1", "requests.storage": "1Gi",
        "gold.storageclass.storage.k8s.io/persistentvolumeclaims": "1",
        "gold.storageclass.storage.k8s.io/requests.storage": "1Gi"}, id="a claim"),
    pytest.param(SERVICES, {"spec": {"type": "LoadBalancer", "allocateLoadBalancerNodePorts": False, "ports": [{"nodePort": 1}, {}]}}, {
        "count/services": "1", "services": "1", "services.loadbalancers": "1", "services.nodeports": "1"}, id="a load balancer"),
])
def test_usage(resource, obj, expected: dict[str, str]) -> None:
    assert {name: str(value) for name, value in quota.usage(resource, obj).items()} == expected
