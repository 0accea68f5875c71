"""The API server process as clients meet it: kubectl, watches, restarts, several workers."""
from __future__ import annotations

import json
import shutil
import ssl
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.apiserver import ApiServer
from tests.etcd import Etcd

pytestmark = [pytest.mark.etcd, pytest.mark.skipif(not Etcd.installed(), reason="etcd is not installed")]


@pytest.fixture(scope="module")
def server() -> Iterator[ApiServer]:
    with ApiServer("--disable-admission-plugins=ServiceAccount") as running:
        yield running


def call(server: ApiServer, method: str, path: str, body: Any = None, *, token: str | None = None, kind: str = "application/json",
         timeout: float = 20) -> tuple[int, Any]:
    request = urllib.request.Request(server.url + path, method=method, data=json.dumps(body).encode() if body is not None else None,
                                     headers={"Content-Type": kind})
    if token != "":
        request.add_header("Authorization", f"Bearer {token or server.token}")
    context = ssl.create_default_context(cafile=server.ca)
    try:
        with urllib.request.urlopen(request, timeout=timeout, context=context) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


def configmap(name: str, **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def service(name: str, **spec: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": {"ports": [{"port": 80}], **spec}}


CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
SERVICES = "/api/v1/namespaces/default/services"


def test_an_object_lives_and_dies(server: ApiServer) -> None:
    assert call(server, "POST", CONFIGMAPS, configmap("life", a="1"))[0] == 201
    code, changed = call(server, "PATCH", f"{CONFIGMAPS}/life", {"data": {"a": "2"}}, kind="application/merge-patch+json")
    assert (code, changed["data"]) == (200, {"a": "2"})
    stale = {**changed, "metadata": {**changed["metadata"], "resourceVersion": "1"}}
    assert call(server, "PUT", f"{CONFIGMAPS}/life", stale)[1]["reason"] == "Conflict"
    assert call(server, "DELETE", f"{CONFIGMAPS}/life")[1]["status"] == "Success"
    assert call(server, "GET", f"{CONFIGMAPS}/life")[0] == 404


def test_strangers_are_refused(server: ApiServer) -> None:
    assert call(server, "GET", CONFIGMAPS, token="wrong")[0] == 401
    assert call(server, "GET", CONFIGMAPS, token="nobodytoken")[1]["reason"] == "Forbidden"
    assert call(server, "GET", CONFIGMAPS, token="")[0] == 403


def test_kubectl_applies_gets_and_deletes(server: ApiServer) -> None:
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed")

    def kubectl(*words: str, stdin: str = "") -> str:
        return subprocess.run(["kubectl", "--kubeconfig", server.kubeconfig, "--cache-dir", str(server.directory / "cache"), *words],
                              input=stdin, capture_output=True, text=True, check=True, timeout=60).stdout

    assert "created" in kubectl("apply", "-f", "-", stdin=json.dumps(configmap("by-kubectl", x="y")))
    assert "configured" in kubectl("apply", "-f", "-", stdin=json.dumps(configmap("by-kubectl", x="z")))
    assert "NAME" in kubectl("get", "configmaps")
    assert kubectl("get", "cm", "by-kubectl", "-o", "jsonpath={.data.x}") == "z"
    assert "deleted" in kubectl("delete", "configmap", "by-kubectl")
    assert "deployments" in kubectl("api-resources")


def test_a_watch_sees_what_happens(server: ApiServer) -> None:
    version = call(server, "GET", CONFIGMAPS)[1]["metadata"]["resourceVersion"]
    seen: list[tuple[str, str]] = []
    request = urllib.request.Request(f"{server.url}{CONFIGMAPS}?watch=1&resourceVersion={version}&timeoutSeconds=60",
                                     headers={"Authorization": f"Bearer {server.token}"})

    def follow() -> None:
        with urllib.request.urlopen(request, timeout=60, context=ssl.create_default_context(cafile=server.ca)) as answer:
            for event in map(json.loads, answer):
                seen.append((event["type"], event["object"]["metadata"]["name"]))
                if event["type"] == "DELETED":
                    return

    thread = threading.Thread(target=follow)
    thread.start()
    call(server, "POST", CONFIGMAPS, configmap("watched"))
    call(server, "PATCH", f"{CONFIGMAPS}/watched", {"data": {"a": "2"}}, kind="application/merge-patch+json")
    call(server, "DELETE", f"{CONFIGMAPS}/watched")
    thread.join(60)
    assert seen == [("ADDED", "watched"), ("MODIFIED", "watched"), ("DELETED", "watched")]


def test_addresses_and_ports_are_given_once_and_come_back(server: ApiServer) -> None:
    code, first = call(server, "POST", SERVICES, service("one", type="NodePort"))
    assert code == 201
    address, port = first["spec"]["clusterIP"], first["spec"]["ports"][0]["nodePort"]
    assert call(server, "POST", SERVICES, service("two", clusterIP=address))[1]["reason"] == "Invalid"
    taken = service("two", type="NodePort", ports=[{"port": 80, "nodePort": port}])
    assert "already allocated" in call(server, "POST", SERVICES, taken)[1]["message"]
    assert call(server, "DELETE", f"{SERVICES}/one")[0] == 200
    assert call(server, "POST", SERVICES, taken)[0] == 201
    assert call(server, "DELETE", f"{SERVICES}/two")[0] == 200


def test_what_was_written_survives_a_restart(server: ApiServer) -> None:
    call(server, "POST", CONFIGMAPS, configmap("kept", a="b"))
    assert server.stop() == 0
    server.launch()
    assert call(server, "GET", f"{CONFIGMAPS}/kept")[1]["data"] == {"a": "b"}


def test_workers_share_one_port_and_a_dead_one_comes_back() -> None:
    with ApiServer("--workers", "2", "--disable-admission-plugins=ServiceAccount") as server:
        assert server.process is not None
        found = subprocess.run(["ps", "--ppid", str(server.process.pid), "-o", "pid="], capture_output=True, text=True, check=True)
        children = [int(pid) for pid in found.stdout.split()]
        assert len(children) == 2
        made = [call(server, "POST", SERVICES, service(f"s{number}"))[1]["spec"]["clusterIP"] for number in range(12)]
        assert len(set(made)) == 12
        assert_one_to_clients(server)
        subprocess.run(["kill", "-9", str(children[0])], check=True)
        deadline = time.monotonic() + 60
        answered = 0
        while answered < 10 and time.monotonic() < deadline:
            try:
                answered += call(server, "GET", CONFIGMAPS, timeout=8)[0] == 200
            except OSError:
                time.sleep(0.2)
        assert answered == 10


def assert_one_to_clients(server: ApiServer) -> None:
    """Each request is a connection of its own, so that they fall to the workers at random: none shows less than another did."""
    since = call(server, "GET", CONFIGMAPS)[1]["metadata"]["resourceVersion"]
    with ThreadPoolExecutor(8) as pool:
        for number in range(6):
            path = f"{CONFIGMAPS}/shared-{number}"

            def version(_: int, path: str = path) -> str:
                return str(call(server, "GET", path)[1]["metadata"]["resourceVersion"])

            def patch(key: int, path: str = path) -> int:
                return call(server, "PATCH", path, {"data": {f"k{key}": "1"}}, kind="application/merge-patch+json")[0]

            made = call(server, "POST", CONFIGMAPS, configmap(f"shared-{number}", a="0"))[1]
            assert list(pool.map(version, range(4))) == [made["metadata"]["resourceVersion"]] * 4
            assert list(pool.map(patch, range(4))) == [200] * 4
            assert len(call(server, "GET", path)[1]["data"]) == 5  # no patch undid another
        seen = list(pool.map(lambda _: watched(server, f"{CONFIGMAPS}?watch=1&resourceVersion={since}&timeoutSeconds=4"), range(8)))
    assert len(seen[0]) == 30
    assert all(one == seen[0] for one in seen)


def watched(server: ApiServer, path: str) -> list[tuple[str, str, str]]:
    request = urllib.request.Request(server.url + path, headers={"Authorization": f"Bearer {server.token}"})
    with urllib.request.urlopen(request, timeout=30, context=ssl.create_default_context(cafile=server.ca)) as answer:
        events = [json.loads(line) for line in answer]
    return [(event["type"], event["object"]["metadata"]["name"], event["object"]["metadata"]["resourceVersion"]) for event in events]
