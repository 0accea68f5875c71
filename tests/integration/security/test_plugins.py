"""Admission plugins that are off by default, all on, against one server: what each changes or refuses."""
from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import yaml

from kubepy.cli.pki import ensure_pki
from tests.apiserver import ApiServer
from tests.integration.security.issuer import External
from tests.integration.security.test_rotation import client

pytestmark = pytest.mark.etcd
ON = ("NamespaceAutoProvision", "NamespaceExists", "LimitPodHardAntiAffinityTopology", "AlwaysPullImages", "ImagePolicyWebhook",
      "PodNodeSelector", "PodTolerationRestriction", "EventRateLimit", "ExtendedResourceToleration", "DenyServiceExternalIPs")
PODS = "/api/v1/namespaces/ours/pods"


def pod(name: str = "p", image: str = "good", **spec: Any) -> dict[str, Any]:
    resources = spec.pop("resources", {})
    return {"metadata": {"name": name}, "spec": {"containers": [
        {"name": "c", "image": image, "imagePullPolicy": "Never", "resources": resources}], **spec}}


@pytest.fixture(scope="module")
def admin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    directory = tmp_path_factory.mktemp("plugins")
    pki = ensure_pki(directory / "pki", node_name="n1", addresses=["127.0.0.1"], service_ip="10.96.0.1")
    with External(pki) as external:
        external.reviews["ImageReview"] = lambda spec: {
            "allowed": all(container["image"] != "evil" for container in spec["containers"]), "reason": "evil"}
        (directory / "kubeconfig").write_text(yaml.safe_dump({
            "apiVersion": "v1", "kind": "Config", "current-context": "x",
            "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}], "users": [{"name": "x", "user": {}}],
            "clusters": [{"name": "x", "cluster": {"server": f"{external.url}/images", "certificate-authority": str(pki.ca.cert)}}]}))
        (directory / "nodes.yaml").write_text(yaml.safe_dump({"podNodeSelectorPluginConfig": {"ours": "disk=ssd,zone=a"}}))
        (directory / "admission.yaml").write_text(yaml.safe_dump({
            "apiVersion": "apiserver.config.k8s.io/v1", "kind": "AdmissionConfiguration", "plugins": [
                {"name": "PodNodeSelector", "path": "nodes.yaml"},
                {"name": "EventRateLimit", "configuration": {"limits": [{"type": "Namespace", "qps": 1, "burst": 2}]}},
                {"name": "ImagePolicyWebhook", "configuration": {"imagePolicy": {"kubeConfigFile": str(directory / "kubeconfig")}}},
                {"name": "PodSecurity", "configuration": {"defaults": {"enforce": "baseline"}, "exemptions": {"namespaces": ["free"]}}}]}))
        with ApiServer(f"--enable-admission-plugins={','.join(ON)}", "--disable-admission-plugins=ServiceAccount",
                       f"--admission-control-config-file={directory / 'admission.yaml'}") as server, \
                client(server.url, token=server.token) as who:
            notes = {"scheduler.alpha.kubernetes.io/node-selector": "disk=ssd",
                     "scheduler.alpha.kubernetes.io/defaultTolerations": '[{"key":"team","operator":"Exists"}]'}
            who.post("/api/v1/namespaces", json={"metadata": {"name": "ours", "annotations": notes}}).raise_for_status()
            yield who


def test_pods_are_completed(admin: httpx.Client) -> None:
    made = admin.post(PODS, json=pod(resources={"requests": {"example.com/gpu": "1"}, "limits": {"example.com/gpu": "1"}})).json()["spec"]
    assert made["containers"][0]["imagePullPolicy"] == "Always"
    assert made["nodeSelector"] == {"disk": "ssd"}
    assert [item["key"] for item in made["tolerations"]] == [
        "node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable", "team", "node.kubernetes.io/memory-pressure", "example.com/gpu"]


@pytest.mark.parametrize(("namespace", "made", "words"), [
    pytest.param("ours", pod(image="evil"), "image policy webhook backend denied one or more images: evil",
                 id="an image the webhook refuses"),
    pytest.param("ours", pod(nodeSelector={"disk": "hdd"}), "pod node label selector conflicts with its namespace node label selector",
                 id="another selector than the namespace's"),
    pytest.param("ours", pod(nodeSelector={"zone": "b"}), "pod node label selector labels conflict with its namespace whitelist",
                 id="a selector that is not listed"),
    pytest.param("ours", pod(affinity={"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
        {"topologyKey": "zone", "labelSelector": {}}]}}), "has TopologyKey zone but only key kubernetes.io/hostname is allowed",
        id="anti-affinity by zone"),
    pytest.param("ours", pod(hostNetwork=True), 'violates PodSecurity "baseline:latest": host namespaces',
                 id="below the cluster's default"),
])
def test_pods_are_refused(admin: httpx.Client, namespace: str, made: dict[str, Any], words: str) -> None:
    answer = admin.post(f"/api/v1/namespaces/{namespace}/pods", json=made)
    assert (answer.status_code, words in answer.json()["message"]) == (403, True), answer.text


def test_a_namespace_is_made_for_what_is_created_in_it(admin: httpx.Client) -> None:
    assert admin.post("/api/v1/namespaces/free/pods", json=pod(hostNetwork=True)).status_code == 201  # exempt, too
    assert admin.get("/api/v1/namespaces/free").json()["status"] == {"phase": "Active"}


def test_services_get_no_external_addresses(admin: httpx.Client) -> None:
    service = {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}], "externalIPs": ["1.2.3.4"]}}
    answer = admin.post("/api/v1/namespaces/ours/services", json=service)
    assert (answer.status_code, "Use of external IPs is denied by admission control" in answer.text) == (403, True)


def test_events_are_bounded(admin: httpx.Client) -> None:
    event = {"metadata": {"generateName": "e"}, "involvedObject": {"namespace": "default"}, "reason": "r", "message": "m", "type": "Normal"}
    codes = [admin.post("/api/v1/namespaces/default/events", json=event).status_code for _ in range(6)]
    assert codes[:2] == [201, 201]
    assert 429 in codes


def test_a_running_pod_is_not_changed_to_what_its_node_cannot_do(admin: httpx.Client) -> None:
    admin.post("/api/v1/nodes", json={"metadata": {"name": "n1"}}).raise_for_status()
    sizes = {side: {"cpu": "1", "memory": "1Gi"} for side in ("requests", "limits")}
    sized = pod("sized", resources=sizes, nodeName="n1")
    sized["spec"]["initContainers"] = [{"name": "i", "image": "i", "resources": sizes}]
    admin.post(PODS, json=sized).raise_for_status()
    headers = {"Content-Type": "application/strategic-merge-patch+json"}

    def bigger(kind: str, name: str) -> httpx.Response:
        changed = {"spec": {kind: [{"name": name, "resources": {side: {"cpu": "2"} for side in sizes}}]}}
        return admin.patch(f"{PODS}/sized/resize", json=changed, headers=headers)

    assert bigger("containers", "c").status_code == 200
    assert "pod update requires features InPlacePodVerticalScalingInitContainers which are not available on node" \
        in bigger("initContainers", "i").json()["message"]
    declared = {"status": {"declaredFeatures": ["InPlacePodVerticalScalingInitContainers"]}}
    admin.patch("/api/v1/nodes/n1/status", json=declared, headers=headers).raise_for_status()
    assert bigger("initContainers", "i").status_code == 200
