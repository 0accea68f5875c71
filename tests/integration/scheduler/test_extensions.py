"""What reaches out of the scheduler process, on a real API server: extenders over HTTPS, devices, metrics, servers that lack kinds."""
from __future__ import annotations

import asyncio
import importlib.util
import ssl
import threading
from contextlib import ExitStack
from pathlib import Path

import aiohttp
import httpx
import pytest
import yaml
from aiohttp import web

from tests.apiserver import free_port
from tests.integration.scheduler.cluster import Cluster

pytestmark = pytest.mark.etcd
DEFAULTS = {"apiVersion": "kubescheduler.config.k8s.io/v1", "kind": "KubeSchedulerConfiguration", "leaderElection": {"leaderElect": False}}


class Server:
    """An aiohttp application in a thread."""

    def __init__(self, application, tls=None):
        self.port = free_port()
        self._application, self._tls = application, tls
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self):
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)
        return self

    async def _start(self):
        self._runner = web.AppRunner(self._application, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, ssl_context=self._tls).start()

    async def _stop(self):
        await self._runner.cleanup()
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)
        await asyncio.sleep(0.1)  # the transports say goodbye

    def __exit__(self, *_):
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with ExitStack() as stack:
        made = Cluster(stack, tmp_path_factory.mktemp("scheduler"))
        for name in ("n1", "n2", "n3"):
            made.node(name)
        made.stack = stack
        yield made


def configured(cluster, tmp_path, name, **more):
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump({**DEFAULTS, "profiles": [{"schedulerName": name}], **more}))
    return f"--config={path}"


class Extender:
    """Knows which nodes have widgets, likes the last of them, binds itself, and protects the pods on one node."""

    def __init__(self, api):
        self.api, self.calls, self.protected = api, [], ""

    def application(self):
        application = web.Application(client_max_size=2**26)
        for verb in ("filter", "prioritize", "preempt", "bind"):
            application.router.add_post(f"/widgets/{verb}", getattr(self, verb))
        return application

    async def filter(self, request):
        args = await request.json()
        nodes = args["nodes"]["items"]
        assert all(node["status"].get("capacity") for node in nodes)  # whole objects
        self.calls.append(("filter", sorted(node["metadata"]["name"] for node in nodes)))
        if args["pod"]["metadata"]["name"] == "broken":
            return web.json_response({"error": "the widget press is broken"})
        left = [node for node in nodes if node["metadata"]["name"] != "n1"]
        failed = {"n1": "no widgets here"} if len(left) < len(nodes) else {}
        if args["pod"]["metadata"]["name"] == "greedy":
            left, failed = [], {node["metadata"]["name"]: "not enough widgets" for node in nodes}
        return web.json_response({"nodes": {"items": left}, "failedNodes": {}, "failedAndUnresolvableNodes": failed})

    async def prioritize(self, request):
        args = await request.json()
        return web.json_response([{"host": node["metadata"]["name"], "score": 10 if node["metadata"]["name"] == "n3" else 0}
                                  for node in args["nodes"]["items"]])

    async def preempt(self, request):
        args = await request.json()
        victims = args["nodeNameToVictims"]
        assert all(pod["spec"]["nodeName"] == node for node, entry in victims.items() for pod in entry["pods"])
        self.calls.append(("preempt", sorted(victims)))
        return web.json_response({"nodeNameToMetaVictims": {
            node: {"pods": [{"uid": pod["metadata"]["uid"]} for pod in entry["pods"]], "numPDBViolations": 0}
            for node, entry in victims.items() if node != self.protected}})

    async def bind(self, request):
        args = await request.json()
        self.calls.append(("bind", args["podName"], args["node"]))
        answer = await asyncio.to_thread(self.api.post, f"/api/v1/namespaces/{args['podNamespace']}/pods/{args['podName']}/binding", json={
            "metadata": {"name": args["podName"], "uid": args["podUID"]}, "target": {"kind": "Node", "name": args["node"]}})
        return web.json_response({"error": "" if answer.status_code < 300 else answer.text})


def test_extenders_filter_prefer_bind_and_have_a_say_in_preemption(cluster, tmp_path):
    extender = Extender(cluster.api)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(cluster.server.directory / "apiserver.crt", cluster.server.directory / "apiserver.key")
    with Server(extender.application(), tls) as server:
        process = cluster.start(configured(cluster, tmp_path, "extended", extenders=[
            {"urlPrefix": f"https://127.0.0.1:{server.port}/widgets", "filterVerb": "filter", "prioritizeVerb": "prioritize", "weight": 100,
             "preemptVerb": "preempt", "bindVerb": "bind", "enableHTTPS": True, "tlsConfig": {"caFile": cluster.server.ca},
             "httpTimeout": "20s", "managedResources": [{"name": "example.com/widget", "ignoredByScheduler": True}]},
            {"urlPrefix": "http://127.0.0.1:1", "filterVerb": "any", "nodeCacheCapable": True, "ignorable": True}]))
        def wants(cpu="100m"):
            amounts = {"cpu": cpu, "example.com/widget": "1"}
            return {"name": "c", "image": "x", "resources": {"requests": amounts, "limits": amounts}}

        def wanting(name, cpu="100m", **spec):
            cluster.pod(name, schedulerName="extended", **{"containers": [wants(cpu)], **spec})

        wanting("liked")
        assert cluster.eventually(lambda: cluster.placed()["liked"]) == "n3"
        assert ("filter", ["n1", "n2", "n3"]) in extender.calls
        assert ("bind", "liked", "n3") in extender.calls
        cluster.pod("plain", schedulerName="extended")
        assert cluster.eventually(lambda: cluster.placed()["plain"])
        assert not [call for call in extender.calls if call[1] == "plain"]
        wanting("greedy")
        event = cluster.eventually(lambda: cluster.events("FailedScheduling").get("greedy"))
        assert event["message"].startswith("0/3 nodes are available: 3 not enough widgets. ")
        wanting("broken")
        event = cluster.eventually(lambda: cluster.events("FailedScheduling").get("broken"))
        assert event["message"] == "the widget press is broken"

        cluster.post("/apis/scheduling.k8s.io/v1/priorityclasses", {"metadata": {"name": "above"}, "value": 1000})
        for name in ("n2", "n3"):
            cluster.pod(f"low-{name}", schedulerName="extended", cpu="3", nodeSelector={"kubernetes.io/hostname": name})
        cluster.eventually(lambda: all(cluster.placed()[f"low-{name}"] for name in ("n2", "n3")))
        extender.protected = "n3"
        where = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchExpressions": [
            {"key": "kubernetes.io/hostname", "operator": "In", "values": ["n2", "n3"]}]}]}}}
        wanting("urgent", "3", priorityClassName="above", affinity=where)
        assert cluster.eventually(lambda: cluster.placed()["urgent"]) == "n2"
        assert ("preempt", ["n2", "n3"]) in extender.calls
        assert "low-n3" in cluster.placed()
        process.terminate()
        assert process.wait(15) == 0


def test_devices_are_allocated_and_the_server_accepts_what_is_written(cluster, tmp_path):
    port = free_port()
    cluster.start(configured(cluster, tmp_path, "devices"), f"--secure-port={port}", "--bind-address=127.0.0.1")
    group = "/apis/resource.k8s.io/v1"
    cluster.post(f"{group}/deviceclasses", {"metadata": {"name": "gpu"}, "spec": {
        "selectors": [{"cel": {"expression": 'device.driver == "gpu.example.com"'}}]}})
    shared = {"name": "big", "allowMultipleAllocations": True, "attributes": {"model": {"string": "a"}},
              "capacity": {"memory": {"value": "40Gi", "requestPolicy": {"default": "1Gi", "validRange": {"min": "1Gi", "step": "1Gi"}}}}}
    for node, devices in (("n1", [{"name": "small", "attributes": {"model": {"string": "b"}}}]), ("n2", [shared])):
        cluster.post(f"{group}/resourceslices", {"metadata": {"name": node}, "spec": {
            "driver": "gpu.example.com", "nodeName": node, "pool": {"name": node, "generation": 1, "resourceSliceCount": 1},
            "devices": devices}})
    for name, request in (("one", {"selectors": [{"cel": {"expression": 'device.attributes["gpu.example.com"].model == "b"'}}]}),
                          ("two", {"capacity": {"requests": {"memory": "30Gi"}}}),
                          ("three", {"capacity": {"requests": {"memory": "30Gi"}}})):
        cluster.post(f"{group}/namespaces/default/resourceclaims", {"metadata": {"name": name}, "spec": {"devices": {"requests": [
            {"name": "r", "exactly": {"deviceClassName": "gpu", **request}}]}}})
        cluster.pod(f"gpu-{name}", schedulerName="devices", resourceClaims=[{"name": "g", "resourceClaimName": name}])
        if name != "three":
            assert cluster.eventually(lambda name=name: cluster.placed()[f"gpu-{name}"]) == {"one": "n1", "two": "n2"}[name]
    event = cluster.eventually(lambda: cluster.events("FailedScheduling").get("gpu-three"))
    assert event["message"] == ("0/3 nodes are available: 3 cannot allocate all claims. still not schedulable, preemption: 0/3 nodes are "
                                "available: 3 Preemption is not helpful for scheduling.")
    two = cluster.get(f"{group}/namespaces/default/resourceclaims/two")
    [result] = two["status"]["allocation"]["devices"]["results"]
    assert result["consumedCapacity"] == {"memory": "30Gi"}
    assert [entry["name"] for entry in two["status"]["reservedFor"]] == ["gpu-two"]

    with httpx.Client(verify=False, headers={"Authorization": f"Bearer {cluster.server.token}"}) as client:
        text = cluster.eventually(lambda: found if 'plugin="DynamicResources",profile="devices"} 1.0' in (
            found := client.get(f"https://127.0.0.1:{port}/metrics").text) else "")
    for name in METRICS:
        assert f"# TYPE {name} " in text, name
    for line in ('scheduler_schedule_attempts_total{profile="devices",result="scheduled"} 2.0',
                 'duration_seconds_count{extension_point="PreBind",profile="devices",status="Success"} 2',
                 'scheduler_queue_incoming_pods_total{event="PodAdd",queue="active"} 3.0',
                 'scheduler_unschedulable_pods{plugin="DynamicResources",profile="devices"} 1.0',
                 'scheduler_plugin_evaluation_total{extension_point="Filter",plugin="NodeResourcesFit",profile="devices"}'):
        assert line in text, line

    cluster.post(f"{group}/deviceclasses", {"metadata": {"name": "card"}, "spec": {
        "extendedResourceName": "example.com/card", "selectors": [{"cel": {"expression": 'device.driver == "card.example.com"'}}]}})
    cluster.post(f"{group}/resourceslices", {"metadata": {"name": "cards"}, "spec": {
        "driver": "card.example.com", "nodeName": "n3", "pool": {"name": "n3", "generation": 1, "resourceSliceCount": 1},
        "devices": [{"name": "c1"}]}})
    cluster.pod("card", schedulerName="devices", containers=[{"name": "c", "image": "i", "resources": {
        side: {"example.com/card": "1"} for side in ("requests", "limits")}}])
    assert cluster.eventually(lambda: cluster.placed()["card"]) == "n3"
    status = cluster.get("/api/v1/namespaces/default/pods/card")["status"]["extendedResourceClaimStatus"]
    made = cluster.get(f"{group}/namespaces/default/resourceclaims/{status['resourceClaimName']}")
    assert made["metadata"]["name"].startswith("card-extended-resources-")
    assert [entry["device"] for entry in made["status"]["allocation"]["devices"]["results"]] == ["c1"]
    assert status["requestMappings"][0]["requestName"] == made["status"]["allocation"]["devices"]["results"][0]["request"]


METRICS = (
    "scheduler_schedule_attempts_total", "scheduler_scheduling_attempt_duration_seconds", "scheduler_scheduling_algorithm_duration_seconds",
    "scheduler_pod_scheduling_sli_duration_seconds", "scheduler_pod_scheduling_attempts", "scheduler_pending_pods",
    "scheduler_queue_incoming_pods_total", "scheduler_unschedulable_pods", "scheduler_framework_extension_point_duration_seconds",
    "scheduler_plugin_execution_duration_seconds", "scheduler_plugin_evaluation_total", "scheduler_preemption_attempts_total",
    "scheduler_preemption_victims", "scheduler_preemption_goroutines_duration_seconds", "scheduler_preemption_goroutines_execution_total",
    "scheduler_permit_wait_duration_seconds", "scheduler_cache_size", "scheduler_goroutines", "scheduler_inflight_events",
    "scheduler_event_handling_duration_seconds", "scheduler_queueing_hint_execution_duration_seconds",
    "scheduler_resourceclaim_creates_total",
)


def older(url, token):
    """The server as one of v1.30 with little enabled and stricter roles looks: no resource.k8s.io in a version that is known, no
    disruption budgets, no right to read CSI storage capacities or StatefulSets, no events while watching from the start."""
    hidden = ("/apis/resource.k8s.io", "/apis/policy")
    refused = ("/apis/storage.k8s.io/v1/csistoragecapacities", "/apis/apps/v1/statefulsets")

    async def forward(request):
        for paths, code, reason in ((hidden, 404, "NotFound"), (refused, 403, "Forbidden")):
            if request.path.startswith(paths):
                return web.json_response({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "code": code},
                                         status=code)
        if "sendInitialEvents" in request.query:
            return web.json_response({"kind": "Status", "status": "Failure", "reason": "Invalid", "code": 422}, status=422)
        async with aiohttp.ClientSession(auto_decompress=False, timeout=aiohttp.ClientTimeout()) as session, session.request(
                request.method, url + str(request.rel_url), data=await request.read(), ssl=False,
                headers={key: value for key, value in request.headers.items() if key.lower() not in ("host", "content-length")}) as answer:
            response = web.StreamResponse(status=answer.status, headers={
                key: value for key, value in answer.headers.items() if key.lower() not in ("content-length", "transfer-encoding")})
            await response.prepare(request)
            try:
                async for part in answer.content.iter_any():
                    await response.write(part)
                await response.write_eof()
            except ConnectionError:  # the scheduler has ended
                pass
            return response

    application = web.Application(client_max_size=2**26)
    application.router.add_route("*", "/{rest:.*}", forward)
    return application


def test_a_server_without_the_newer_kinds_is_served_as_well(cluster, tmp_path):
    with Server(older(cluster.server.url, cluster.server.token)) as server:
        kubeconfig = tmp_path / "old.conf"
        kubeconfig.write_text(yaml.safe_dump({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{server.port}"}}],
            "users": [{"name": "u", "user": {"token": cluster.server.token}}]}))
        log = tmp_path / "log"
        with log.open("wb") as output:
            process = cluster.start(configured(cluster, tmp_path, "older"), "--kubeconfig", str(kubeconfig), stderr=output)
        cluster.pod("modest", schedulerName="older")
        assert cluster.eventually(lambda: cluster.placed()["modest"])
        cluster.pod("modern", schedulerName="older", resourceClaims=[{"name": "g", "resourceClaimName": "one"}])
        event = cluster.eventually(lambda: cluster.events("FailedScheduling").get("modern"))
        assert "the server has no ResourceClaims" in event["message"]
        cluster.pod("large", cpu="64", schedulerName="older")
        assert cluster.eventually(lambda: cluster.events("FailedScheduling").get("large"))
        process.terminate()
        assert process.wait(15) == 0
    text = log.read_text()
    assert "dynamic resource allocation is off" in text
    for name in ("poddisruptionbudgets.policy", "statefulsets.apps", "csistoragecapacities.storage.k8s.io"):
        assert f'"Not served by this server, or not readable: taken as empty" resource="{name}"' in text, text


def test_a_large_cluster_fits_into_little_memory():
    """A tenth of 5,000 nodes and 30,000 pods, which need 180 MB (tests/bench/scheduler_memory.py); half of that is the program."""
    spec = importlib.util.spec_from_file_location("scheduler_memory", Path(__file__).resolve().parents[2] / "bench/scheduler_memory.py")
    bench = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(bench)
    found = asyncio.run(bench.measure(500, 3000))
    assert found["known"] == "nodes=500 pods=3000 pending=0"
    assert found["peak_mb"] <= 130, found
