"""Autoscaling by custom and external metrics: an adapter behind the aggregation layer, as any metrics adapter is."""
from __future__ import annotations

import base64
import json
import ssl
import threading
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
import pytest_asyncio

from kubepy.api.resource import DEPLOYMENTS, Resource
from kubepy.api.types import Object
from kubepy.client.http import HttpClient
from kubepy.client.kubeconfig import load
from tests.apiserver import ApiServer
from tests.integration.apiserver.test_extension import certificate, expose
from tests.integration.controllers.hollow import HollowNodes
from tests.integration.controllers.manager import SHORT_LEASE, Manager
from tests.integration.controllers.test_manager import pods, until, workload

pytestmark = [pytest.mark.etcd, pytest.mark.asyncio(loop_scope="module")]

AUTOSCALERS = Resource("autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler", True)
API_SERVICES = Resource("apiregistration.k8s.io", "v1", "apiservices", "APIService", False)
DEFINITIONS = Resource("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", False)
QUEUES = Resource("example.com", "v1", "queues", "Queue", True)
NOW = "2026-01-01T00:00:00Z"


class Adapter(BaseHTTPRequestHandler):
    """Every pod handles 30 requests, the service 300, and 80 messages wait in the queue `mail`."""

    pods: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        parts = unquote(url.path).strip("/").split("/")
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        found = self.answer(parts, query)
        data = json.dumps(found or {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}).encode()
        self.send_response(200 if found else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def answer(self, parts: list[str], query: dict[str, str]) -> Object | None:
        if len(parts) == 3:
            return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "/".join(parts[1:]), "resources": []}
        if len(parts) > 3 and parts[1] == "external.metrics.k8s.io":
            if parts[-1] != "waiting" or query.get("labelSelector") != "queue=mail":
                return None
            item: Object = {"metricName": "waiting", "metricLabels": {"queue": "mail"}, "timestamp": NOW, "value": "80"}
            return {"kind": "ExternalMetricValueList", "apiVersion": "external.metrics.k8s.io/v1beta1", "metadata": {}, "items": [item]}
        if len(parts) > 3 and parts[5:] == ["pods", "*", "requests"]:
            about = [("Pod", name, "30") for name in self.pods]
        elif len(parts) > 3 and parts[5:] == ["services", "shop", "hits"]:
            about = [("Service", "shop", "300")]
        else:
            return None
        return {"kind": "MetricValueList", "apiVersion": "custom.metrics.k8s.io/v1beta2", "metadata": {}, "items": [
            {"describedObject": {"kind": kind, "namespace": "default", "name": name}, "metric": {"name": parts[-1]}, "timestamp": NOW,
             "value": value} for kind, name, value in about]}

    def log_message(self, *args: Any) -> None: ...


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    folder = tmp_path_factory.mktemp("adapter")
    cert, key = certificate(folder, "front-proxy-client")
    with ApiServer("--disable-admission-plugins=ServiceAccount", f"--proxy-client-cert-file={cert}",
                   f"--proxy-client-key-file={key}") as running:
        yield running


@pytest.fixture(scope="module")
def bundle(server: ApiServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The adapter runs behind the service `adapter`; its CA bundle."""
    cert, key = certificate(Path(tmp_path_factory.mktemp("adapter")), "adapter.default.svc")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    httpd = ThreadingHTTPServer(("0.0.0.0", 0), Adapter)
    httpd.socket = context.wrap_socket(httpd.socket, server_side=True)
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    expose(server, "adapter", httpd.server_address[1])
    yield base64.b64encode(cert.read_bytes()).decode()
    httpd.shutdown()
    httpd.server_close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(server: ApiServer, bundle: str) -> AsyncIterator[HttpClient]:
    manager = Manager(server, "--controllers=deployment,replicaset,horizontal-pod-autoscaler-controller",
                      "--horizontal-pod-autoscaler-sync-period=1s", *SHORT_LEASE)
    manager.start()
    client = HttpClient(load(server.kubeconfig))
    nodes = HollowNodes(client, 1)
    await nodes.start()
    for group, version in (("custom.metrics.k8s.io", "v1beta2"), ("external.metrics.k8s.io", "v1beta1")):
        await client.create(API_SERVICES, {"metadata": {"name": f"{version}.{group}"}, "spec": {
            "group": group, "version": version, "groupPriorityMinimum": 100, "versionPriority": 100, "caBundle": bundle,
            "service": {"namespace": "default", "name": "adapter"}}})
    yield client
    await nodes.stop()
    await client.close()
    manager.stop()


def autoscaler(kind: str, name: str, metric: Object, api: str = "apps/v1") -> Object:
    return {"metadata": {"name": name, "namespace": "default"}, "spec": {
        "minReplicas": 1, "maxReplicas": 8, "scaleTargetRef": {"apiVersion": api, "kind": kind, "name": name}, "metrics": [metric]}}


METRICS: dict[str, Object] = {
    "a metric of its pods": {"type": "Pods", "pods": {
        "metric": {"name": "requests"}, "target": {"type": "AverageValue", "averageValue": "10"}}},
    "a metric of another object": {"type": "Object", "object": {
        "metric": {"name": "hits"}, "describedObject": {"apiVersion": "v1", "kind": "Service", "name": "shop"},
        "target": {"type": "AverageValue", "averageValue": "50"}}},
    "an external metric": {"type": "External", "external": {
        "metric": {"name": "waiting", "selector": {"matchLabels": {"queue": "mail"}}},
        "target": {"type": "AverageValue", "averageValue": "14"}}},
}


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS.keys())
async def test_a_deployment_grows_by(client: HttpClient, metric: Object) -> None:
    name = metric["type"].lower()
    await client.create(DEPLOYMENTS, workload("Deployment", name, replicas=2))

    async def runs() -> bool:
        return ((await client.get(DEPLOYMENTS, name, "default")).get("status") or {}).get("availableReplicas") == 2

    await until(runs, "two pods")
    Adapter.pods = [pod["metadata"]["name"] for pod in await pods(client, name)]
    await client.create(AUTOSCALERS, autoscaler("Deployment", name, metric))

    async def grown() -> bool:
        return bool((await client.get(DEPLOYMENTS, name, "default"))["spec"]["replicas"] == 6)

    await until(grown, "six replicas")

    async def told() -> bool:
        status = (await client.get(AUTOSCALERS, name, "default"))["status"]
        found = {item["type"]: item["status"] for item in status["conditions"]}
        return found == {"AbleToScale": "True", "ScalingActive": "True", "ScalingLimited": "False"} and bool(status["currentMetrics"])

    await until(told, "conditions")


async def test_a_custom_resource_with_a_scale_grows_by_an_external_metric(client: HttpClient) -> None:
    schema = {"type": "object", "properties": {
        "spec": {"type": "object", "properties": {"workers": {"type": "integer"}}},
        "status": {"type": "object", "properties": {"workers": {"type": "integer"}, "selector": {"type": "string"}}}}}
    await client.create(DEFINITIONS, {"metadata": {"name": "queues.example.com"}, "spec": {
        "group": "example.com", "scope": "Namespaced", "names": {"plural": "queues", "singular": "queue", "kind": "Queue"},
        "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}, "subresources": {
            "status": {}, "scale": {"specReplicasPath": ".spec.workers", "statusReplicasPath": ".status.workers",
                                    "labelSelectorPath": ".status.selector"}}}]}})

    async def made() -> bool:
        return bool(await client.create(QUEUES, {"apiVersion": "example.com/v1", "kind": "Queue", "spec": {"workers": 2},
                                                 "metadata": {"name": "mail", "namespace": "default"}}))

    await until(made, "the new resource")
    await client.patch(QUEUES, "mail", {"status": {"workers": 2, "selector": "app=mail"}}, "default", subresource="status")
    await client.create(AUTOSCALERS, autoscaler("Queue", "mail", METRICS["an external metric"], "example.com/v1"))

    async def grown() -> bool:
        return bool((await client.get(QUEUES, "mail", "default"))["spec"]["workers"] == 6)

    await until(grown, "six workers")


async def test_a_metric_that_nobody_knows_is_told_of(client: HttpClient) -> None:
    metric = {"type": "External", "external": {"metric": {"name": "unknown"}, "target": {"type": "Value", "value": "1"}}}
    await client.create(DEPLOYMENTS, workload("Deployment", "lost", replicas=1))
    await client.create(AUTOSCALERS, autoscaler("Deployment", "lost", metric))

    async def told() -> bool:
        found = (await client.get(AUTOSCALERS, "lost", "default")).get("status", {}).get("conditions") or ()
        return any(item["type"] == "ScalingActive" and item["status"] == "False" and item["reason"] == "FailedGetExternalMetric"
                   for item in found)

    await until(told, "the failure")
