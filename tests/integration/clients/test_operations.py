"""Every stored kind's operations, as the conformance suite asks for them kind by kind: found by discovery, created, read, listed,
watched, patched, replaced, its status by itself where it has one, deleted, and deleted as a collection."""
from __future__ import annotations

import contextlib
import copy
import json
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.apiserver import ApiServer
from tests.e2e.cluster import eventually

pytestmark = pytest.mark.etcd
NS = "flows"
"""What the Event of the manifests is about lives there."""
MANIFESTS = [item for item in yaml.safe_load_all(Path(__file__).with_name("manifests.yaml").read_text()) if item]
UNCHANGED = ("Namespace",)
"""Kinds whose objects are not deleted as a collection."""


@pytest.fixture(scope="module")
def server() -> Iterator[ApiServer]:
    with ApiServer("--disable-admission-plugins=ServiceAccount,StorageObjectInUseProtection") as server:
        yield server


@pytest.fixture(scope="module")
def http(server: ApiServer) -> Iterator[httpx.Client]:
    trusted = ssl.create_default_context(cafile=server.ca)
    with httpx.Client(base_url=server.url, verify=trusted, headers={"Authorization": f"Bearer {server.token}"}, timeout=30) as client:
        client.post("/api/v1/namespaces", json={"metadata": {"name": NS}}).raise_for_status()
        yield client


def say(answer: httpx.Response) -> Any:
    assert answer.is_success, f"{answer.request.method} {answer.request.url}: {answer.status_code} {answer.text}"
    return answer.json()


def resource_of(http: httpx.Client, version: str, kind: str) -> tuple[str, Any, set[str]]:
    """The path of a kind's group version, its resource and the names of its subresources, from the discovery documents."""
    if "/" in version:
        group = version.partition("/")[0]
        found = next(item for item in say(http.get("/apis"))["groups"] if item["name"] == group)
        assert version in [item["groupVersion"] for item in found["versions"]]
        assert say(http.get(f"/apis/{group}"))["name"] == group
    base = f"/apis/{version}" if "/" in version else f"/api/{version}"
    resources = say(http.get(base))["resources"]
    resource = next(item for item in resources if item["kind"] == kind and "/" not in item["name"])
    return base, resource, {item["name"].partition("/")[2] for item in resources if item["name"].startswith(f"{resource['name']}/")}


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda item: item["kind"])
def test_operations(http: httpx.Client, manifest: Any) -> None:
    base, resource, subresources = resource_of(http, manifest["apiVersion"], manifest["kind"])
    assert {"create", "delete", "get", "list", "patch", "update", "watch"} <= set(resource["verbs"])
    plural = resource["name"]
    path = f"{base}/namespaces/{NS}/{plural}" if resource["namespaced"] else f"{base}/{plural}"
    name = manifest["metadata"]["name"]
    labels = {"operations": "yes"}
    made = say(http.post(path, json={**manifest, "metadata": {**manifest["metadata"], "labels": labels}}))
    version = made["metadata"]["resourceVersion"]
    events: list[tuple[str, str]] = []
    watching = threading.Thread(target=watch, args=(http, path, version, events), daemon=True)
    watching.start()

    assert say(http.get(f"{path}/{name}"))["metadata"]["uid"] == made["metadata"]["uid"]
    for where in {path, f"{base}/{plural}"}:
        assert [item["metadata"]["name"] for item in say(http.get(where, params={"labelSelector": "operations=yes"}))["items"]] == [name]
    patched = say(http.patch(f"{path}/{name}", json={"metadata": {"annotations": {"patched": "true"}}},
                             headers={"Content-Type": "application/merge-patch+json"}))
    assert patched["metadata"]["annotations"]["patched"] == "true"
    changed = copy.deepcopy(patched)
    changed["metadata"]["annotations"]["updated"] = "true"
    assert say(http.put(f"{path}/{name}", json=changed))["metadata"]["annotations"]["updated"] == "true"
    assert http.put(f"{path}/{name}", json=changed).json()["reason"] == "Conflict"
    eventually("the changes are watched", lambda: [item for item in events if item == ("MODIFIED", name)])

    if "status" in subresources:
        found = say(http.get(f"{path}/{name}/status"))
        assert found["metadata"]["annotations"]["updated"] == "true"
        status = say(http.patch(f"{path}/{name}/status", json={"metadata": {"annotations": {"patchedstatus": "true"}}},
                                headers={"Content-Type": "application/merge-patch+json"}))
        assert say(http.put(f"{path}/{name}/status", json=status))["kind"] == manifest["kind"]

    say(http.delete(f"{path}/{name}"))
    if manifest["kind"] in UNCHANGED:
        return
    release(http, path, name)
    eventually("it is gone", lambda: http.get(f"{path}/{name}").status_code == 404)
    eventually("that is watched", lambda: ("DELETED", name) in events)
    again = say(http.post(path, json={**manifest, "metadata": {**manifest["metadata"], "labels": {**labels, "last": "yes"}}}))
    if "deletecollection" in resource["verbs"]:
        say(http.delete(path, params={"labelSelector": "last=yes"}))
    else:
        say(http.delete(f"{path}/{name}"))
    release(http, path, name)
    uid = again["metadata"]["uid"]
    eventually("the collection is gone", lambda: http.get(f"{path}/{name}").json().get("metadata", {}).get("uid") != uid)


def release(http: httpx.Client, path: str, name: str) -> None:
    """No controller runs here: what protects an object from deletion is taken away by hand, and pods end at once."""
    found = http.get(f"{path}/{name}")
    if found.is_success and found.json()["metadata"].get("finalizers"):
        http.patch(f"{path}/{name}", json={"metadata": {"finalizers": None}}, headers={"Content-Type": "application/merge-patch+json"})
    if found.is_success and found.json()["kind"] == "Pod":
        http.request("DELETE", f"{path}/{name}", json={"gracePeriodSeconds": 0})


def watch(http: httpx.Client, path: str, version: str, events: list[tuple[str, str]]) -> None:
    parameters = {"watch": "true", "resourceVersion": version, "labelSelector": "operations=yes", "timeoutSeconds": "60"}
    with contextlib.suppress(httpx.HTTPError), http.stream("GET", path, params=parameters) as answer:  # the server may stop first
        for line in answer.iter_lines():
            event = json.loads(line)
            events.append((event["type"], event["object"]["metadata"]["name"]))
            if event["type"] == "DELETED":
                return


def test_a_server_says_what_it_is_and_that_it_is_there(http: httpx.Client) -> None:
    full = "application/json;g=config.k8s.io;v=v1beta1;as=Flagz"
    assert say(http.get("/flagz", headers={"Accept": full}))["flags"]["secure-port"] == str(http.base_url.port)
    assert http.get("/statusz", headers={"Accept": "text/plain"}).text.startswith("\nkube-apiserver statusz\n")
    assert http.get("/statusz", headers={"Accept": "application/json"}).status_code == 406
    leases = say(http.get("/apis/coordination.k8s.io/v1/namespaces/kube-system/leases"))["items"]
    [lease] = [item for item in leases if item["metadata"]["name"].startswith("apiserver-")]
    assert lease["metadata"]["labels"]["apiserver.kubernetes.io/identity"] == "kube-apiserver"
