"""What a kubelet written in Go says, request by request, under a node's identity: paths, headers and bodies as such a kubelet sends them
(empty values included), JSON and protobuf. Every answer must be the one it counts on."""
from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from kubepy.api.protobuf.decode import decode_body
from kubepy.api.protobuf.encode import encode_body
from kubepy.cli.pki import ensure_pki
from tests.apiserver import ApiServer
from tests.etcd import Etcd

pytestmark = [pytest.mark.etcd, pytest.mark.skipif(not Etcd.installed(), reason="etcd is not installed")]
STRATEGIC, PROTOBUF = "application/strategic-merge-patch+json", "application/vnd.kubernetes.protobuf"
NODE = "n1"
PODS, LEASES = "/api/v1/namespaces/default/pods", "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
CSI_NODES, EVENTS = "/apis/storage.k8s.io/v1/csinodes", "/api/v1/namespaces/default/events"
NOW = "2030-01-02T03:04:05Z"


def node(name: str = NODE) -> dict[str, Any]:
    return {"kind": "Node", "apiVersion": "v1", "metadata": {
        "name": name, "creationTimestamp": None, "labels": {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux"},
        "annotations": {"volumes.kubernetes.io/controller-managed-attach-detach": "true"}}, "spec": {}, "status": {
            "capacity": {"cpu": "2", "memory": "8052288Ki", "pods": "110"},
            "allocatable": {"cpu": "2", "memory": "7949888Ki", "pods": "110"},
            "conditions": [condition("Ready", "False")], "addresses": [{"type": "InternalIP", "address": "192.0.2.7"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}}, "nodeInfo": {
                "machineID": "m", "systemUUID": "s", "bootID": "b", "kernelVersion": "k", "osImage": "o", "containerRuntimeVersion": "c://1",
                "kubeletVersion": "v1.20.2", "kubeProxyVersion": "v1.20.2", "operatingSystem": "linux", "architecture": "amd64"}}}


def condition(kind: str, status: str) -> dict[str, Any]:
    return {"type": kind, "status": status, "lastHeartbeatTime": NOW, "lastTransitionTime": NOW, "reason": "R", "message": "m"}


def lease(version: str | None = None, seconds: int = 5) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": NODE, "namespace": "kube-node-lease", "creationTimestamp": None}
    if version:
        metadata["resourceVersion"] = version
    return {"kind": "Lease", "apiVersion": "coordination.k8s.io/v1", "metadata": metadata,
            "spec": {"holderIdentity": NODE, "leaseDurationSeconds": 40, "renewTime": f"2030-01-02T03:04:{seconds:02}.000006Z"}}


def pod(name: str) -> dict[str, Any]:
    return {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": name}, "spec": {
        "nodeName": NODE, "containers": [{"name": "c", "image": "i"}], "terminationGracePeriodSeconds": 1}}


class Kubelet:
    """Asks as a Go client does; `expect` is the exact status."""

    def __init__(self, client: httpx.Client, admin: httpx.Client) -> None:
        self.client, self.admin = client, admin

    def ask(self, expect: int, method: str, path: str, body: Any = None, *, content: str = "application/json", **query: str) -> Any:
        headers = {"Accept": "application/json, */*", "User-Agent": "kubelet/v1.20.2 (linux/amd64) kubernetes/faecb19"}
        if body is not None:
            headers["Content-Type"] = content
        answer = self.client.request(method, path, params=query, headers=headers, content=None if body is None else orjson.dumps(body))
        assert answer.status_code == expect, answer.text
        return answer.json()

    def binary(self, expect: int, method: str, path: str, body: dict[str, Any] | None = None, **query: str) -> dict[str, Any]:
        """The same in protobuf, which is a kubelet's default."""
        headers = {"Accept": f"{PROTOBUF},application/json", "Content-Type": PROTOBUF}
        answer = self.client.request(method, path, params=query, headers=headers, content=encode_body(body) if body else None)
        assert answer.status_code == expect, answer.content
        assert answer.headers["Content-Type"] == PROTOBUF
        return decode_body(answer.content)[0]


@pytest.fixture(scope="module")
def kubelet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kubelet]:
    home: Path = tmp_path_factory.mktemp("foreign")
    pki = ensure_pki(home, node_name=NODE, addresses=["127.0.0.1"], service_ip="10.96.0.1")
    with ApiServer("--client-ca-file", str(pki.ca.cert), "--enable-admission-plugins=NodeRestriction",
                   "--disable-admission-plugins=ServiceAccount") as server:
        trusted = ssl.create_default_context(cafile=server.ca)
        known = ssl.create_default_context(cafile=server.ca)
        known.load_cert_chain(pki.kubelet_client.cert, pki.kubelet_client.key)
        with (httpx.Client(base_url=server.url, verify=known, timeout=30) as client,
              httpx.Client(base_url=server.url, verify=trusted, timeout=30, headers={"Authorization": f"Bearer {server.token}"}) as admin):
            asked = Kubelet(client, admin)
            asked.ask(404, "GET", f"/api/v1/nodes/{NODE}", resourceVersion="0", timeout="10s")
            asked.ask(201, "POST", "/api/v1/nodes", node())
            yield asked


def test_it_registers_and_reports_its_node(kubelet: Kubelet) -> None:
    again = kubelet.ask(409, "POST", "/api/v1/nodes", node())
    assert (again["reason"], again["message"]) == ("AlreadyExists", f'nodes "{NODE}" already exists')
    other = kubelet.ask(403, "POST", "/api/v1/nodes", node("n2"))
    assert other["message"] == f'nodes "n2" is forbidden: node "{NODE}" is not allowed to modify node "n2"'
    patch = {"status": {"$setElementOrder/conditions": [{"type": "MemoryPressure"}, {"type": "Ready"}],
                        "conditions": [condition("MemoryPressure", "False"), condition("Ready", "True")]}}
    status = kubelet.ask(200, "PATCH", f"/api/v1/nodes/{NODE}/status", patch, content=STRATEGIC, timeout="10s")["status"]
    assert [(entry["type"], entry["status"]) for entry in status["conditions"]] == [("MemoryPressure", "False"), ("Ready", "True")]
    assert status["capacity"]["memory"] == "8052288Ki"
    beat = {"status": {"$setElementOrder/conditions": [{"type": "MemoryPressure"}, {"type": "Ready"}],
                       "conditions": [{"lastHeartbeatTime": "2030-01-02T03:04:15Z", "type": "Ready"}]}}
    status = kubelet.ask(200, "PATCH", f"/api/v1/nodes/{NODE}/status", beat, content=STRATEGIC, timeout="10s")["status"]
    assert status["conditions"][1] == {**condition("Ready", "True"), "lastHeartbeatTime": "2030-01-02T03:04:15Z"}
    found = kubelet.binary(200, "GET", f"/api/v1/nodes/{NODE}", resourceVersion="0", timeout="10s")
    assert found["status"]["daemonEndpoints"] == {"kubeletEndpoint": {"Port": 10250}}


def test_it_renews_its_lease_in_json_and_in_protobuf(kubelet: Kubelet) -> None:
    path = f"{LEASES}/{NODE}"
    kubelet.ask(404, "GET", path, timeout="10s")
    made = kubelet.binary(201, "POST", LEASES, lease(), timeout="10s")
    assert made["spec"]["renewTime"] == "2030-01-02T03:04:05.000006Z"
    renewed = kubelet.ask(200, "PUT", path, lease(made["metadata"]["resourceVersion"], 15), timeout="10s")
    kubelet.binary(200, "PUT", path, lease(renewed["metadata"]["resourceVersion"], 25), timeout="10s")
    late = kubelet.ask(409, "PUT", path, lease(made["metadata"]["resourceVersion"], 35), timeout="10s")
    assert late["message"].startswith(f'Operation cannot be fulfilled on leases.coordination.k8s.io "{NODE}": the object has been modified')


def test_it_keeps_its_csi_node_and_reads_what_all_nodes_read(kubelet: Kubelet) -> None:
    kubelet.ask(404, "GET", f"{CSI_NODES}/{NODE}")
    owner = {"apiVersion": "v1", "kind": "Node", "name": NODE, "uid": kubelet.ask(200, "GET", f"/api/v1/nodes/{NODE}")["metadata"]["uid"]}
    body = {"kind": "CSINode", "apiVersion": "storage.k8s.io/v1", "metadata": {
        "name": NODE, "creationTimestamp": None, "ownerReferences": [owner],
        "annotations": {"storage.alpha.kubernetes.io/migrated-plugins": "kubernetes.io/cinder"}}, "spec": {"drivers": None}}
    made = kubelet.ask(201, "POST", CSI_NODES, body)
    assert made["spec"] == {"drivers": None}
    driver = {"name": "d.example.org", "nodeID": NODE, "topologyKeys": None}
    changed = kubelet.ask(200, "PUT", f"{CSI_NODES}/{NODE}", {**made, "spec": {"drivers": [driver]}})
    assert changed["spec"]["drivers"] == [driver]
    for path in ("/api/v1/services", "/apis/storage.k8s.io/v1/csidrivers", "/apis/node.k8s.io/v1/runtimeclasses"):
        for found in (kubelet.ask(200, "GET", path, limit="500", resourceVersion="0"),
                      kubelet.binary(200, "GET", path, limit="500", resourceVersion="0")):
            assert int(found["metadata"]["resourceVersion"]) > 0
            with kubelet.client.stream("GET", path, params={
                    "allowWatchBookmarks": "true", "resourceVersion": found["metadata"]["resourceVersion"], "timeoutSeconds": "1",
                    "watch": "true"}) as stream:
                assert stream.status_code == 200


def test_it_carries_a_pod_from_its_volumes_to_its_end(kubelet: Kubelet) -> None:
    admin = kubelet.admin
    account = admin.post("/api/v1/namespaces/default/serviceaccounts", json={"metadata": {"name": "default"}})
    assert account.status_code in (201, 409)
    mounted = pod("life")
    token_source = {"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}}
    mounted["spec"] |= {"serviceAccountName": "default", "volumes": [
        {"name": "v", "secret": {"secretName": "seen"}}, {"name": "t", "projected": {"sources": [token_source]}}]}
    for name in ("seen", "other"):
        assert admin.post("/api/v1/namespaces/default/secrets", json={"metadata": {"name": name}}).status_code == 201
    made = admin.post(PODS, json=mounted)
    assert made.status_code == 201
    uid = made.json()["metadata"]["uid"]
    listed = kubelet.ask(200, "GET", "/api/v1/pods", fieldSelector=f"spec.nodeName={NODE}", limit="500", resourceVersion="0")
    assert "life" in [entry["metadata"]["name"] for entry in listed["items"]]

    kubelet.ask(200, "GET", "/api/v1/namespaces/default/secrets/seen")
    one = {"fieldSelector": "metadata.name=seen", "limit": "500", "resourceVersion": "0"}
    assert kubelet.ask(200, "GET", "/api/v1/namespaces/default/secrets", **one)["kind"] == "SecretList"
    refused = kubelet.ask(403, "GET", "/api/v1/namespaces/default/secrets/other")
    assert refused["message"] == (
        f'secrets "other" is forbidden: User "system:node:{NODE}" cannot get resource "secrets" in API group "" in the namespace '
        f"\"default\": no relationship found between node '{NODE}' and this object")

    token = {"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1", "metadata": {"creationTimestamp": None}, "spec": {
        "audiences": None, "expirationSeconds": 3607,
        "boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": "life", "uid": uid}},
        "status": {"token": "", "expirationTimestamp": None}}
    path = "/api/v1/namespaces/default/serviceaccounts/default/token"
    for granted in (kubelet.ask(201, "POST", path, token), kubelet.binary(201, "POST", path, token)):
        assert granted["status"]["token"].count(".") == 2
        assert granted["status"]["expirationTimestamp"]
    unbound = {**token, "spec": {"audiences": [], "expirationSeconds": 3607, "boundObjectRef": None}}
    assert f'node "{NODE}" requests' not in (refused := kubelet.ask(403, "POST", path, unbound))["message"]
    assert "node requested token not bound to a pod" in refused["message"]

    state = {"running": {"startedAt": NOW}}
    conditions = [{"type": kind, "status": "True", "lastProbeTime": None, "lastTransitionTime": NOW}
                  for kind in ("Initialized", "Ready", "ContainersReady", "PodScheduled")]
    order = [{"type": entry["type"]} for entry in conditions]
    status = {"$setElementOrder/conditions": order, "conditions": conditions, "phase": "Running",
              "containerStatuses": [{"containerID": "containerd://c1", "image": "i", "imageID": "sha256:1", "lastState": {}, "name": "c",
                                     "ready": True, "restartCount": 0, "started": True, "state": state}],
              "hostIP": "192.0.2.7", "podIP": "10.244.1.2", "podIPs": [{"ip": "10.244.1.2"}], "startTime": NOW}
    path = f"{PODS}/life/status"
    kept = kubelet.ask(200, "PATCH", path, {"metadata": {"uid": uid}, "status": status}, content=STRATEGIC)["status"]
    assert (kept["phase"], kept["podIPs"], kept["containerStatuses"][0]["state"]) == ("Running", [{"ip": "10.244.1.2"}], state)
    wrong = "00000000-0000-0000-0000-000000000000"
    lost = kubelet.ask(422, "PATCH", path, {"metadata": {"uid": wrong}, "status": {"phase": "Failed"}}, content=STRATEGIC)
    assert lost["message"] == f'Pod "life" is invalid: metadata.uid: Invalid value: "{wrong}": field is immutable'

    assert admin.delete(f"{PODS}/life").json()["metadata"]["deletionGracePeriodSeconds"] == 1
    ended = {"metadata": {"uid": uid}, "status": {"$setElementOrder/conditions": [{"type": "Ready"}], "conditions": [
        {"type": "Ready", "status": "False", "reason": "ContainersNotReady", "lastTransitionTime": NOW}], "phase": "Failed"}}
    kubelet.ask(200, "PATCH", path, ended, content=STRATEGIC)
    options = {"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0, "preconditions": {"uid": wrong}}
    lost = kubelet.ask(409, "DELETE", f"{PODS}/life", options)
    assert lost["message"] == (f'Operation cannot be fulfilled on Pod "life": the UID in the precondition ({wrong}) does not match the UID '
                               f"in record ({uid}). The object might have been deleted and then recreated")
    kubelet.ask(200, "DELETE", f"{PODS}/life", {**options, "preconditions": {"uid": uid}})
    kubelet.ask(404, "DELETE", f"{PODS}/life", options)


def test_it_says_what_happens_in_events(kubelet: Kubelet) -> None:
    event: dict[str, Any] = {
        "kind": "Event", "apiVersion": "v1", "metadata": {"name": "n1.16f0c1", "namespace": "default", "creationTimestamp": None},
        "involvedObject": {"kind": "Node", "name": NODE, "uid": NODE}, "reason": "Starting", "message": "Starting kubelet.",
        "source": {"component": "kubelet", "host": NODE}, "firstTimestamp": NOW, "lastTimestamp": NOW, "count": 1, "type": "Normal",
        "eventTime": None, "reportingComponent": "", "reportingInstance": ""}
    kubelet.ask(201, "POST", EVENTS, event)
    counted = kubelet.ask(200, "PATCH", f"{EVENTS}/n1.16f0c1", {"count": 2, "lastTimestamp": "2030-01-02T03:05:05Z"}, content=STRATEGIC)
    assert (counted["count"], counted["message"]) == (2, "Starting kubelet.")
    gone = kubelet.ask(404, "PATCH", f"{EVENTS}/n1.none", {"count": 2}, content=STRATEGIC)
    assert gone["message"] == 'events "n1.none" not found'
    event["metadata"]["name"] = "n1.16f0c2"
    assert kubelet.binary(201, "POST", EVENTS, event)["reason"] == "Starting"


def test_it_makes_a_mirror_of_a_static_pod_and_asks_who_calls(kubelet: Kubelet) -> None:
    static = pod("static-n1")
    static["metadata"] |= {"annotations": {"kubernetes.io/config.mirror": "h", "kubernetes.io/config.hash": "h",
                                           "kubernetes.io/config.source": "file"}, "creationTimestamp": None}
    uid = kubelet.ask(200, "GET", f"/api/v1/nodes/{NODE}")["metadata"]["uid"]
    refused = kubelet.ask(403, "POST", PODS, static)
    assert refused["message"] == f'pods "static-n1" is forbidden: node "{NODE}" can only create pods with an owner reference set to itself'
    static["metadata"]["ownerReferences"] = [{"apiVersion": "v1", "kind": "Node", "name": NODE, "uid": uid, "controller": True}]
    kubelet.ask(201, "POST", PODS, static)
    kubelet.ask(200, "DELETE", f"{PODS}/static-n1", {"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0})

    review = {"kind": "TokenReview", "apiVersion": "authentication.k8s.io/v1", "metadata": {"creationTimestamp": None},
              "spec": {"token": "admintoken"}, "status": {"user": {}}}
    assert kubelet.ask(201, "POST", "/apis/authentication.k8s.io/v1/tokenreviews", review)["status"]["user"]["username"] == "admin"
    access = {"kind": "SubjectAccessReview", "apiVersion": "authorization.k8s.io/v1", "metadata": {"creationTimestamp": None}, "spec": {
        "resourceAttributes": {"verb": "get", "version": "v1", "resource": "nodes", "subresource": "proxy", "name": NODE},
        "user": "nobody", "groups": ["somebodies"]}, "status": {"allowed": False}}
    assert kubelet.ask(201, "POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", access)["status"] == {"allowed": False}
