"""What the conformance demands say of the API alone, clause by clause, where the operations of every kind (test_operations) do not show it:
statuses that are written by themselves, collections of which only a part goes, orders of events, approvals, reviews, rules of change."""
from __future__ import annotations

import base64
import json
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.apiserver import ApiServer
from tests.integration.clients.test_operations import resource_of, say

pytestmark = pytest.mark.etcd
NS = "demands"
KINDS = {(item["apiVersion"], item["kind"]): item
         for item in yaml.safe_load_all(Path(__file__).with_name("manifests.yaml").read_text()) if item}
MERGE = {"Content-Type": "application/merge-patch+json"}
STRATEGIC = {"Content-Type": "application/strategic-merge-patch+json"}
BARE = ("ServiceCIDR", "VolumeAttachment", "CustomResourceDefinition", "APIService", "ValidatingAdmissionPolicy", "FlowSchema",
        "PriorityLevelConfiguration")
"""Kinds whose status brings no metadata along."""
WHEN = "2026-01-02T03:04:05Z"


@pytest.fixture(scope="module")
def http() -> Iterator[httpx.Client]:
    with ApiServer("--disable-admission-plugins=ServiceAccount,StorageObjectInUseProtection") as server, httpx.Client(
            base_url=server.url, verify=ssl.create_default_context(cafile=server.ca), timeout=30,
            headers={"Authorization": f"Bearer {server.token}"}) as client:
        for name in (NS, f"{NS}-2", "flows"):
            client.post("/api/v1/namespaces", json={"metadata": {"name": name}}).raise_for_status()
        yield client


def condition(kind: str = "StatusPatch", **more: Any) -> dict[str, Any]:
    return {"conditions": [{"type": kind, "status": "True", "reason": "E2E", "message": "Set by a test", "lastTransitionTime": WHEN,
                            **more}]}


@pytest.mark.parametrize(("version", "kind", "first", "second"), [
    pytest.param("v1", "Service", condition(), condition("StatusUpdate"), id="Service"),
    pytest.param("v1", "Pod", {"message": "patched", "reason": "E2E"}, {"message": "updated", "reason": "E2E"}, id="Pod"),
    pytest.param("v1", "PersistentVolume", {"phase": "Available", "reason": "E2E", "message": "patched"},
                 {"phase": "Available", "reason": "E2E", "message": "updated"}, id="PersistentVolume"),
    pytest.param("v1", "PersistentVolumeClaim", condition("StatusPatched"), condition("StatusUpdated"), id="PersistentVolumeClaim"),
    pytest.param("v1", "ResourceQuota", {"hard": {"pods": "7"}}, {"hard": {"pods": "8"}}, id="ResourceQuota"),
    pytest.param("v1", "Namespace", condition(), condition("StatusUpdate"), id="Namespace"),
    pytest.param("v1", "Node", condition(lastHeartbeatTime=WHEN), condition("StatusUpdate", lastHeartbeatTime=WHEN), id="Node"),
    pytest.param("apps/v1", "Deployment", condition(lastUpdateTime=WHEN), condition("StatusUpdate", lastUpdateTime=WHEN), id="Deployment"),
    pytest.param("apps/v1", "StatefulSet", condition(), condition("StatusUpdate"), id="StatefulSet"),
    pytest.param("batch/v1", "CronJob", {"lastScheduleTime": WHEN}, {"lastScheduleTime": "2026-02-02T03:04:05Z"}, id="CronJob"),
    pytest.param("networking.k8s.io/v1", "Ingress", {"loadBalancer": {"ingress": [{"ip": "169.1.1.1"}]}},
                 {"loadBalancer": {"ingress": [{"ip": "169.1.1.2", "ports": [{"port": 80, "protocol": "TCP"}]}]}}, id="Ingress"),
    pytest.param("networking.k8s.io/v1", "ServiceCIDR", condition(), condition("StatusUpdate"), id="ServiceCIDR"),
    pytest.param("policy/v1", "PodDisruptionBudget", condition(), condition("StatusUpdate"), id="PodDisruptionBudget"),
    pytest.param("storage.k8s.io/v1", "VolumeAttachment", {"attached": True}, {"attached": False}, id="VolumeAttachment"),
    pytest.param("apiextensions.k8s.io/v1", "CustomResourceDefinition", condition(), condition("StatusUpdate"), id="CRD"),
    pytest.param("apiregistration.k8s.io/v1", "APIService", condition(), condition("StatusUpdate"), id="APIService"),
    pytest.param("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicy", condition(), condition("StatusUpdate"), id="Policy"),
    pytest.param("flowcontrol.apiserver.k8s.io/v1", "FlowSchema", condition(), condition("StatusUpdate"), id="FlowSchema"),
    pytest.param("flowcontrol.apiserver.k8s.io/v1", "PriorityLevelConfiguration", condition(), condition("StatusUpdate"), id="Level"),
    pytest.param("certificates.k8s.io/v1", "CertificateSigningRequest", condition("Odd"), condition("Odder"), id="CSR"),
    pytest.param("autoscaling/v2", "HorizontalPodAutoscaler", {"desiredReplicas": 2, **condition()},
                 {"desiredReplicas": 3, **condition("StatusUpdate")}, id="HorizontalPodAutoscaler"),
])
def test_a_status_is_written_by_itself(http: httpx.Client, version: str, kind: str, first: dict[str, Any], second: dict[str, Any]) -> None:
    """Patched and replaced through `status`, which changes nothing else; replacing the object does not change it."""
    manifest = KINDS[version, kind]
    base, resource, subresources = resource_of(http, version, kind)
    path = f"{base}/namespaces/{NS}/{resource['name']}" if resource["namespaced"] else f"{base}/{resource['name']}"
    assert "status" in subresources
    name = manifest["metadata"]["name"]
    made = say(http.post(path, json=manifest))
    patched = say(http.patch(f"{path}/{name}/status", headers=MERGE,
                             json={"metadata": {"annotations": {"patched": "status"}}, "spec": {"odd": 1}, "status": first}))
    assert (patched["metadata"].get("annotations") or {}).get("patched") == (None if kind in BARE else "status")
    for seen in (patched, say(http.get(f"{path}/{name}/status"))):
        assert shows(seen["status"], first)
        assert seen.get("spec") == made.get("spec")
    if made["metadata"].get("managedFields"):  # of what nobody owned anything of nobody is noted
        assert any(entry.get("subresource") == "status" for entry in patched["metadata"]["managedFields"])
    for _ in range(20):  # the server itself writes conditions of some
        live = say(http.get(f"{path}/{name}/status"))
        answer = http.put(f"{path}/{name}/status", json={**live, "status": {**live["status"], **second}})
        if answer.status_code != 409:
            break
    assert shows(say(answer)["status"], second)
    assert shows(say(http.get(f"{path}/{name}"))["status"], second)
    if kind != "CustomResourceDefinition":  # of which the server writes the status at its own time
        live = say(http.get(f"{path}/{name}"))
        kept = say(http.put(f"{path}/{name}", json={**live, "status": {}}))
        assert shows(kept["status"], second)
    http.delete(f"{path}/{name}").raise_for_status()


def shows(found: Any, wanted: Any) -> bool:
    """All that is wanted is there; lists hold at least what is wanted."""
    if isinstance(wanted, dict):
        return all(key in found and shows(found[key], value) for key, value in wanted.items())
    if isinstance(wanted, list):
        return all(any(shows(one, item) for one in found) for item in wanted)
    return bool(found == wanted)


def test_a_status_says_it_was_patched_as_a_strategic_merge(http: httpx.Client) -> None:
    """Conditions are merged by their type, in the status as elsewhere."""
    path = f"/api/v1/namespaces/{NS}/services"
    say(http.post(path, json={"metadata": {"name": "merged"}, "spec": {"ports": [{"port": 80}]}}))
    for kind in ("One", "Two"):
        say(http.patch(f"{path}/merged/status", headers=STRATEGIC, json={"status": condition(kind)}))
    assert [one["type"] for one in say(http.get(f"{path}/merged"))["status"]["conditions"]] in (["One", "Two"], ["Two", "One"])


@pytest.mark.parametrize(("version", "kind"), [
    ("v1", "LimitRange"), ("v1", "Service"), ("v1", "Event"), ("v1", "PodTemplate"), ("v1", "ConfigMap"), ("v1", "Endpoints"),
    ("v1", "Secret"), ("v1", "ResourceQuota"), ("events.k8s.io/v1", "Event"), ("apps/v1", "ControllerRevision"),
    ("policy/v1", "PodDisruptionBudget"), ("discovery.k8s.io/v1", "EndpointSlice"), ("storage.k8s.io/v1", "CSIStorageCapacity"),
    ("resource.k8s.io/v1", "ResourceClaimTemplate")], ids=lambda item: item)
def test_of_a_collection_goes_what_was_named(http: httpx.Client, version: str, kind: str) -> None:
    """Listed in all namespaces by their label; deleted in one, by label; the others stay, and watchers are told."""
    manifest = KINDS[version, kind]
    base, resource, _ = resource_of(http, version, kind)
    spaces = ("flows",) if kind == "Event" else (NS, f"{NS}-2")  # what an Event is about lives in its namespace

    def path(space: str) -> str:
        return f"{base}/namespaces/{space}/{resource['name']}"

    label = f"set={kind.lower()}-{version.partition('/')[0]}"
    key, _, value = label.partition("=")
    for space in spaces:
        for name, labels in (("a", {key: value}), ("b", {key: value}), ("c", {key: "other"})):
            say(http.post(path(space), json={**manifest, "metadata": {"name": f"{name}-{value}", "labels": labels}}))
    listed = say(http.get(f"{base}/{resource['name']}", params={"labelSelector": label}))
    assert len(listed["items"]) == 2 * len(spaces)
    say(http.delete(path(spaces[0]), params={"labelSelector": label}))
    everywhere = say(http.get(f"{base}/{resource['name']}", params={"labelSelector": f"{key} in ({value},other)"}))["items"]
    left = [item["metadata"] for item in everywhere if item["metadata"]["name"].endswith(value)]
    stay = [(spaces[0], "c"), *((space, name) for space in spaces[1:] for name in "abc")]
    assert sorted((metadata["namespace"], metadata["name"][0]) for metadata in left) == sorted(stay)
    events = watched(http, path(spaces[0]), listed["metadata"]["resourceVersion"], 2, label)
    assert sorted((event["type"], event["object"]["metadata"]["name"][0]) for event in events) == [("DELETED", "a"), ("DELETED", "b")]


def watched(http: httpx.Client, path: str, version: str, count: int, selector: str = "") -> list[dict[str, Any]]:
    """The next `count` events after a version."""
    found: list[dict[str, Any]] = []
    parameters = {"watch": "true", "resourceVersion": version, "timeoutSeconds": "60", "labelSelector": selector}
    with http.stream("GET", path, params=parameters, timeout=90) as answer:
        for line in answer.iter_lines():
            found.append(json.loads(line))
            if len(found) == count:
                break
    return found


def test_all_watches_tell_the_same_in_the_same_order(http: httpx.Client) -> None:
    """A watch begun at the version of each event goes on as the first one did."""
    path = f"/api/v1/namespaces/{NS}-2/configmaps"
    begin = say(http.get(path))["metadata"]["resourceVersion"]
    count, together = 40, 8

    def work() -> None:
        for number in range(count // 2):
            say(http.post(path, json={"metadata": {"name": f"w{number}"}, "data": {"n": str(number)}}))
            if number % 2:
                say(http.delete(f"{path}/w{number - 1}"))
            else:
                say(http.patch(f"{path}/w{number}", json={"data": {"n": "changed"}}, headers=MERGE))

    worker = threading.Thread(target=work)
    worker.start()
    first = [event["object"]["metadata"]["resourceVersion"] for event in watched(http, path, begin, count)]
    worker.join()
    assert sorted(first, key=int) == first

    def again(position: int) -> list[str]:
        events = watched(http, path, first[position], count - position - 1)
        return [event["object"]["metadata"]["resourceVersion"] for event in events]

    with ThreadPoolExecutor(together) as pool:
        for position, seen in enumerate(pool.map(again, range(count - 1))):
            assert seen == first[position + 1:]


def test_a_certificate_request_is_approved_and_signed_by_subresources_of_its_own(http: httpx.Client) -> None:
    manifest = KINDS["certificates.k8s.io/v1", "CertificateSigningRequest"]
    path = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
    names = {item["name"]: set(item["verbs"]) for item in say(http.get("/apis/certificates.k8s.io/v1"))["resources"]}
    for sub in ("approval", "status"):
        assert names[f"certificatesigningrequests/{sub}"] == {"get", "patch", "update"}
    say(http.post(path, json={**manifest, "metadata": {"name": "asked"}}))
    patched = say(http.patch(f"{path}/asked/approval", headers=MERGE, json={
        "metadata": {"annotations": {"patchedapproval": "true"}}, "status": condition("ApprovalPatch")}))
    assert patched["metadata"]["annotations"] == {"patchedapproval": "true"}
    approved = {**patched, "status": {"conditions": [*patched["status"]["conditions"], *condition("Approved")["conditions"]]}}
    say(http.put(f"{path}/asked/approval", json=approved))
    assert [one["type"] for one in say(http.get(f"{path}/asked/approval"))["status"]["conditions"]] == ["ApprovalPatch", "Approved"]
    pem = base64.b64encode(b"-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n").decode()
    refused = http.patch(f"{path}/asked/status", headers=MERGE, json={"status": {"certificate": pem}})
    assert refused.status_code == 422
    say(http.patch(f"{path}/asked/status", headers=MERGE, json={"metadata": {"annotations": {"patchedstatus": "true"}}, "status": {
        "conditions": [*approved["status"]["conditions"], *condition("StatusPatch")["conditions"]]}}))
    live = say(http.get(f"{path}/asked/status"))
    live["status"]["conditions"] += condition("StatusUpdate")["conditions"]
    assert [one["type"] for one in say(http.put(f"{path}/asked/status", json=live))["status"]["conditions"]] \
        == ["ApprovalPatch", "Approved", "StatusPatch", "StatusUpdate"]
    live = say(http.get(f"{path}/asked/status"))
    said = {**live, "status": {"conditions": [*live["status"]["conditions"], *condition("Denied")["conditions"]]}}
    assert 'updates may not add a condition of type \\"Denied\\"' in http.put(f"{path}/asked/status", json=said).text
    taken = {**live, "status": {"conditions": [one for one in live["status"]["conditions"] if one["type"] != "Approved"]}}
    assert http.put(f"{path}/asked/approval", json={**taken, "metadata": {"name": "asked"}}).status_code == 422


def test_an_event_is_told_again_and_becomes_a_series(http: httpx.Client) -> None:
    path = "/apis/events.k8s.io/v1/namespaces/flows/events"
    manifest = KINDS["events.k8s.io/v1", "Event"]
    about = {"metadata": {"name": "told", "labels": {"told": "yes"}}, "note": "first", "reason": "Told"}
    made = say(http.post(path, json={**manifest, **about}))
    series = {"count": 100, "lastObservedTime": "2026-01-02T03:05:06.000007Z"}
    assert say(http.patch(f"{path}/told", json={"series": {**series, "count": 2}}, headers=STRATEGIC))["series"]["count"] == 2
    live = say(http.get(f"{path}/told"))
    assert say(http.put(f"{path}/told", json={**live, "series": series}))["series"] == series
    core = say(http.get("/api/v1/namespaces/flows/events/told"))
    assert (core["message"], core["series"], core["source"]) == ("first", series, {})
    assert core["reportingComponent"] == made["reportingController"]
    mended = say(http.patch("/api/v1/namespaces/flows/events/told", json={"series": {**series, "count": 101}}, headers=MERGE))
    assert mended["series"]["count"] == 101
    selector = "reason=Told,reportingController=example.com/c"
    found = say(http.get("/apis/events.k8s.io/v1/events", params={"fieldSelector": selector}))["items"]
    assert [item["metadata"]["name"] for item in found] == ["told"]
    say(http.delete(path, params={"labelSelector": "told=yes"}))
    assert say(http.get("/api/v1/events", params={"labelSelector": "told=yes"}))["items"] == []


def test_of_a_priority_class_the_value_stays(http: httpx.Client) -> None:
    path = "/apis/scheduling.k8s.io/v1/priorityclasses"
    for name, value in (("p1", 1), ("p2", 2)):
        say(http.post(path, json={"metadata": {"name": name, "labels": {"set": "p"}}, "value": value}))
    assert len(say(http.get(path, params={"labelSelector": "set=p"}))["items"]) == 2
    assert say(http.patch(f"{path}/p1", json={"description": "patched"}, headers=MERGE))["description"] == "patched"
    live = say(http.get(f"{path}/p1"))
    assert say(http.put(f"{path}/p1", json={**live, "description": "updated"}))["description"] == "updated"
    answer = http.patch(f"{path}/p1", json={"value": 5}, headers=MERGE)
    assert (answer.status_code, "Forbidden: may not be changed in an update." in answer.json()["message"]) == (422, True)
    live = say(http.get(f"{path}/p2"))
    assert http.put(f"{path}/p2", json={**live, "value": 6}).status_code == 422
    assert http.put(f"{path}/p2", json={**live, "preemptionPolicy": "Never"}).status_code == 422


def test_reviews_say_what_an_account_then_may(http: httpx.Client) -> None:
    """A review for an account, of the cluster and of a namespace, and what happens to it when it acts."""
    say(http.post(f"/api/v1/namespaces/{NS}/serviceaccounts", json={"metadata": {"name": "asks"}}))
    who = f"system:serviceaccount:{NS}:asks"
    groups = ["system:serviceaccounts", f"system:serviceaccounts:{NS}", "system:authenticated"]
    as_it = [("Impersonate-User", who), *(("Impersonate-Group", group) for group in groups)]
    asked = {"user": who, "groups": groups,
             "resourceAttributes": {"verb": "list", "resource": "configmaps", "version": "v1", "namespace": NS}}
    local = f"/apis/authorization.k8s.io/v1/namespaces/{NS}/localsubjectaccessreviews"

    def answers() -> tuple[bool, bool, bool]:
        bodies = {"/apis/authorization.k8s.io/v1/subjectaccessreviews": {"spec": asked},
                  local: {"metadata": {"namespace": NS}, "spec": asked}}
        reviews = [say(http.post(path, json=body))["status"]["allowed"] for path, body in bodies.items()]
        return reviews[0], reviews[1], http.get(f"/api/v1/namespaces/{NS}/configmaps", headers=as_it).is_success

    assert answers() == (False, False, False)
    rbac = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{NS}"
    say(http.post(f"{rbac}/roles", json={"metadata": {"name": "asks"}, "rules": [
        {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"]}]}))
    say(http.post(f"{rbac}/rolebindings", json={
        "metadata": {"name": "asks"}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "asks"},
        "subjects": [{"kind": "ServiceAccount", "name": "asks", "namespace": NS}]}))
    assert answers() == (True, True, True)
    made = say(http.post(f"/api/v1/namespaces/{NS}/serviceaccounts/asks/token", json={"spec": {"expirationSeconds": 3600}}))
    token = made["status"]["token"]
    review = say(http.post("/apis/authentication.k8s.io/v1/tokenreviews", json={"spec": {"token": token}}))["status"]
    assert (review["authenticated"], review["user"]["username"], review.get("error")) == (True, who, None)


def test_a_pod_has_a_generation_of_its_own_from_1_on(http: httpx.Client) -> None:
    """Whatever was said when it was made; 500 changes later it is 500; a graceful deletion counts, a label does not."""
    path = "/api/v1/namespaces/flows/pods"
    body = {"metadata": {"name": "counted", "generation": 100}, "spec": {
        "nodeName": "n1", "activeDeadlineSeconds": 5000, "containers": [{"name": "c", "image": "i:1"}]}}
    assert say(http.post(path, json=body))["metadata"]["generation"] == 1
    assert say(http.patch(f"{path}/counted", json={"metadata": {"labels": {"a": "b"}}}, headers=MERGE))["metadata"]["generation"] == 1
    for number in range(499):
        changed = {"spec": {"containers": [{"name": "c", "image": f"i:{number % 2 + 2}"}]}}
        say(http.patch(f"{path}/counted", json=changed, headers=STRATEGIC))
    assert say(http.get(f"{path}/counted"))["metadata"]["generation"] == 500
    seen = say(http.patch(f"{path}/counted/status", json={"status": {"observedGeneration": 500}}, headers=MERGE))
    assert (seen["metadata"]["generation"], seen["status"]["observedGeneration"]) == (500, 500)
    gone = say(http.request("DELETE", f"{path}/counted", json={"gracePeriodSeconds": 60}))
    assert (gone["metadata"]["generation"], gone["metadata"]["deletionGracePeriodSeconds"]) == (501, 60)
    debugger = {"spec": {"ephemeralContainers": [{"name": "d", "image": "i"}]}}
    assert say(http.patch(f"{path}/counted/ephemeralcontainers", json=debugger, headers=STRATEGIC))["metadata"]["generation"] == 502
    again = {"spec": {"ephemeralContainers": [{"name": "e", "image": "i"}]}}
    assert [one["name"] for one in say(http.patch(f"{path}/counted/ephemeralcontainers", json=again, headers=STRATEGIC))["spec"][
        "ephemeralContainers"]] in (["d", "e"], ["e", "d"])
    assert http.patch(f"{path}/counted/ephemeralcontainers", json={"spec": {"ephemeralContainers": [{"name": "d", "image": "other"}]}},
                      headers=STRATEGIC).status_code == 422


def test_an_eviction_is_told_before_it_begins(http: httpx.Client) -> None:
    """The pod's status says so while the pod still runs; a version that the deletion demands is the one it then has."""
    path = "/api/v1/namespaces/flows/pods"
    say(http.post(path, json={"metadata": {"name": "evicted"}, "spec": {"nodeName": "n1", "containers": [{"name": "c", "image": "i"}]}}))
    running = say(http.patch(f"{path}/evicted/status", json={"status": {"phase": "Running", "observedGeneration": 1}}, headers=MERGE))
    version = running["metadata"]["resourceVersion"]

    def evict(**preconditions: str) -> httpx.Response:
        body = {"metadata": {"name": "evicted"}, "deleteOptions": {"preconditions": preconditions}}
        return http.post(f"{path}/evicted/eviction", json=body)

    assert evict(resourceVersion="1").status_code == 409
    assert say(http.get(f"{path}/evicted"))["metadata"]["resourceVersion"] == version
    say(evict(resourceVersion=version, uid=running["metadata"]["uid"]))
    first, second = (event["object"] for event in watched(http, path, version, 2))
    [condition] = first["status"]["conditions"]
    assert (condition["type"], condition["reason"], condition["message"], condition["observedGeneration"]) \
        == ("DisruptionTarget", "EvictionByEvictionAPI", "Eviction API: evicting", 1)
    assert "deletionTimestamp" not in first["metadata"]
    assert second["status"]["conditions"] == [condition]
    assert second["metadata"]["deletionTimestamp"]
