"""What clients meet before any API: certificates by name, feature gates, metrics that parse, the last bookmark of a watch."""
from __future__ import annotations

import http.client
import ssl
from collections.abc import Iterator

import httpx
import orjson
import pytest
from prometheus_client.parser import text_string_to_metric_families

from kubepy.cli.pki import Pki, ensure_pki
from tests.apiserver import ApiServer
from tests.etcd import Etcd

pytestmark = [pytest.mark.etcd, pytest.mark.skipif(not Etcd.installed(), reason="etcd is not installed")]
NAME = "kubernetes.default.svc"
"""In the certificate of the second pair, and in the self-signed first one."""


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return ensure_pki(tmp_path_factory.mktemp("pki"), node_name="n1", addresses=["127.0.0.1"], service_ip="10.96.0.1")


@pytest.fixture(scope="module")
def server(pki: Pki) -> Iterator[ApiServer]:
    with ApiServer(f"--tls-sni-cert-key={pki.apiserver.cert},{pki.apiserver.key}:{NAME}", f"--client-ca-file={pki.ca.cert}",
                   "--feature-gates=WatchList=true,kube:CBORServingAndStorage=false", "--feature-gates=StorageVersionAPI=true") as running:
        yield running


@pytest.mark.parametrize("second", [pytest.param(True, id="the second for its name"), pytest.param(False, id="the first for another")])
def test_a_certificate_is_chosen_by_name_and_clients_show_theirs(server: ApiServer, pki: Pki, second: bool) -> None:
    context = ssl.create_default_context(cafile=str(pki.ca.cert) if second else server.ca)
    context.load_cert_chain(pki.admin.cert, pki.admin.key)
    connection = http.client.HTTPSConnection("127.0.0.1", server.port, timeout=30)
    plain = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    plain.connect()
    assert plain.sock is not None
    connection.sock = context.wrap_socket(plain.sock, server_hostname=NAME if second else "localhost")
    body = orjson.dumps({"kind": "SelfSubjectReview", "apiVersion": "authentication.k8s.io/v1"})
    connection.request("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    assert (answer.status, orjson.loads(answer.read())["status"]["userInfo"]["username"]) == (201, "kubernetes-admin")
    connection.close()


def test_metrics_parse_and_show_feature_gates(server: ApiServer) -> None:
    with httpx.Client(base_url=server.url, verify=ssl.create_default_context(cafile=server.ca),
                      headers={"Authorization": f"Bearer {server.token}"}, timeout=30) as client:
        families = list(text_string_to_metric_families(client.get("/metrics").text))
    samples = {(sample.name, *sorted(sample.labels.items())) for family in families for sample in family.samples}
    assert len(samples) > 100
    gates = {sample.labels["name"]: (sample.labels["stage"], sample.value) for family in families for sample in family.samples
             if sample.name == "kubernetes_feature_enabled"}
    assert gates.items() >= {"WatchList": ("BETA", 1.0), "StorageVersionAPI": ("ALPHA", 1.0), "CBORServingAndStorage": ("ALPHA", 0.0),
                             "SidecarContainers": ("", 1.0)}.items()


def test_a_watch_tells_how_far_it_came_before_its_time_is_over(server: ApiServer) -> None:
    path = "/api/v1/namespaces/default/configmaps"
    with httpx.Client(base_url=server.url, verify=ssl.create_default_context(cafile=server.ca),
                      headers={"Authorization": f"Bearer {server.token}"}, timeout=30) as client:
        version = client.get(path).json()["metadata"]["resourceVersion"]
        made = client.post(path, json={"metadata": {"name": "c"}}).json()
        question = {"watch": "1", "resourceVersion": version, "allowWatchBookmarks": "true", "timeoutSeconds": "3"}
        events = [orjson.loads(line) for line in client.get(path, params=question).text.splitlines()]
    assert [event["type"] for event in events] == ["ADDED", "BOOKMARK"]
    assert int(events[1]["object"]["metadata"]["resourceVersion"]) >= int(made["metadata"]["resourceVersion"])
