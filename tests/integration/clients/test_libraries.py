"""The Python clients of others against a real server, with nothing but a kubeconfig: list, watch, patch."""
from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.apiserver import ApiServer
from tests.etcd import Etcd

pytestmark = [pytest.mark.etcd, pytest.mark.skipif(not Etcd.installed(), reason="etcd is not installed"),
              pytest.mark.filterwarnings("ignore")]
POD: dict[str, Any] = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "labels": {"app": "a"}},
                       "spec": {"containers": [{"name": "c", "image": "i"}]}}


@pytest.fixture(scope="module")
def server() -> Iterator[ApiServer]:
    with ApiServer("--disable-admission-plugins=ServiceAccount") as running:
        yield running


def test_the_official_client(server: ApiServer) -> None:
    from kubernetes import client, config, watch

    api_client = config.new_client_from_config(server.kubeconfig)
    core = client.CoreV1Api(api_client)
    core.create_namespace({"metadata": {"name": "official"}})
    version = core.list_namespaced_pod("official").metadata.resource_version
    core.create_namespaced_pod("official", POD)
    core.patch_namespaced_pod("p", "official", {"metadata": {"labels": {"app": "b"}}})
    core.patch_namespaced_pod("p", "official", [{"op": "add", "path": "/metadata/labels/x", "value": "y"}])
    core.delete_namespaced_pod("p", "official", grace_period_seconds=0)
    seen = []
    for event in watch.Watch().stream(core.list_namespaced_pod, "official", resource_version=version, timeout_seconds=60):
        seen.append((event["type"], event["object"].metadata.labels))
        if event["type"] == "DELETED":
            break
    assert seen[:3] == [("ADDED", {"app": "a"}), ("MODIFIED", {"app": "b"}), ("MODIFIED", {"app": "b", "x": "y"})]
    assert seen[-1][0] == "DELETED"
    pages, token = [], None
    for number in range(5):
        core.create_namespaced_config_map("official", {"metadata": {"name": f"c{number}"}, "data": {"k": "v"}})
    while token != "":
        page = core.list_namespaced_config_map("official", limit=2, _continue=token)
        pages.append(len(page.items))
        token = page.metadata._continue or ""
    assert pages == [2, 2, 1]
    with pytest.raises(client.ApiException) as refused:
        core.read_namespaced_pod("p", "official")
    assert refused.value.status == 404


def test_the_official_dynamic_client(server: ApiServer) -> None:
    from kubernetes import config, dynamic

    found = dynamic.DynamicClient(config.new_client_from_config(server.kubeconfig))
    deployments = found.resources.get(api_version="apps/v1", kind="Deployment")
    spec = {"selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}}, "spec": POD["spec"]}}
    body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": spec}
    assert deployments.server_side_apply(body, name="d", namespace="default", field_manager="me").spec.replicas == 1
    assert deployments.patch({"spec": {"replicas": 3}}, name="d", namespace="default").spec.replicas == 3
    assert [item.metadata.name for item in deployments.get(namespace="default").items] == ["d"]


def test_kr8s(server: ApiServer) -> None:
    import kr8s
    from kr8s.objects import ConfigMap, Pod

    api = kr8s.api(kubeconfig=server.kubeconfig)
    names = [f"k{number}" for number in range(3)]
    for name in names:
        ConfigMap({"metadata": {"name": name, "namespace": "default"}, "data": {"k": "v"}}, api=api).create()
    assert {item.name for item in api.get("configmaps", namespace="default")} >= set(names)
    pod = Pod({**POD, "metadata": {**POD["metadata"], "namespace": "default"}}, api=api)
    pod.create()
    pod.patch({"metadata": {"labels": {"app": "c"}}})
    assert [item.labels.app for item in api.get("pods", namespace="default", label_selector="app=c")] == ["c"]
    changed = threading.Timer(0.5, lambda: ConfigMap.get("k1", namespace="default", api=kr8s.api(kubeconfig=server.kubeconfig)).patch(
        {"data": {"k": "w"}}))
    changed.start()
    for kind, item in api.watch("configmaps", namespace="default"):
        if kind == "MODIFIED" or item.raw["data"].get("k") == "w":
            assert item.name == "k1"
            break
    changed.join()
    pod.delete()
    assert not pod.exists()
