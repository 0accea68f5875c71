"""Extending the API server with what is in deploy/examples: a TLS webhook, an operator, an aggregated server; and with policies."""
from __future__ import annotations

import asyncio
import base64
import contextlib
import datetime
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from kubepy.apiserver.options import _own_address
from kubepy.client.http import HttpClient
from kubepy.client.kubeconfig import load
from kubepy.controllers.policystatus import check
from tests.apiserver import ROOT, ApiServer, free_port
from tests.etcd import Etcd
from tests.integration.apiserver.test_server import call

pytestmark = [pytest.mark.etcd, pytest.mark.skipif(not Etcd.installed(), reason="etcd is not installed")]


def certificate(folder: Path, name: str, *hosts: str) -> tuple[Path, Path]:
    """A self-signed certificate and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    built = (x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
             .serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(hours=1))
             .not_valid_after(now + datetime.timedelta(hours=1))
             .add_extension(x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts or (name,)]), critical=False)
             .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True).sign(key, hashes.SHA256()))
    cert_path, key_path = folder / f"{name}.crt", folder / f"{name}.key"
    cert_path.write_bytes(built.public_bytes(serialization.Encoding.PEM))
    key_path.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    return cert_path, key_path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("extension")


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[ApiServer]:
    cert, key = certificate(folder, "front-proxy-client")
    with ApiServer("--disable-admission-plugins=ServiceAccount", f"--proxy-client-cert-file={cert}",
                   f"--proxy-client-key-file={key}") as running:
        yield running


def expose(server: ApiServer, name: str, port: int) -> None:
    """A service with one endpoint on this machine."""
    call(server, "POST", "/api/v1/namespaces/default/services", {
        "metadata": {"name": name}, "spec": {"ports": [{"name": "x", "port": 443}]}})
    call(server, "POST", "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices", {
        "metadata": {"name": name, "labels": {"kubernetes.io/service-name": name}}, "addressType": "IPv4",
        "endpoints": [{"addresses": [_own_address()]}], "ports": [{"name": "x", "port": port}]})


EXAMPLES = ROOT / "deploy/examples"
ADMISSION = "/apis/admissionregistration.k8s.io/v1"


@contextlib.contextmanager
def running(*command: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, *command], env={**os.environ, **environment})
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()


def kubectl(server: ApiServer, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(["kubectl", "--kubeconfig", server.kubeconfig, *arguments], capture_output=True, text=True, timeout=150,
                          check=False, input=stdin)


needs_kubectl = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")


@needs_kubectl
def test_a_webhook_server_denies_warns_and_patches(server: ApiServer, folder: Path) -> None:
    cert, key = certificate(folder, "pod-rules.default.svc")
    port = free_port()
    with running(str(EXAMPLES / "admission-webhook/server.py"), "--cert", str(cert), "--key", str(key), "--port", str(port)):
        wait_for(lambda: listening(port))
        expose(server, "pod-rules", port)
        documents = (EXAMPLES / "admission-webhook/webhook.yaml").read_text().partition("\n---\n")[2]
        bundle = base64.b64encode(cert.read_bytes()).decode()
        applied = kubectl(server, "apply", "-f", "-", stdin=documents.replace('caBundle: ""', f"caBundle: {bundle}"))
        assert applied.returncode == 0, applied.stderr
        kubectl(server, "create", "namespace", "ruled")
        kubectl(server, "label", "namespace", "ruled", "pod-rules=enforced")

        def refused() -> bool:
            return "images need a tag" in kubectl(server, "-n", "ruled", "run", "bad", "--image=busybox", "--dry-run=server").stderr

        wait_for(refused)
        told = kubectl(server, "-n", "ruled", "run", "bad", "--image=busybox:latest")
        assert told.stderr.strip() == ('Error from server (Forbidden): admission webhook "checks.pod-rules.example.kubepy.io" denied the '
                                       "request: images need a tag that stays what it is: bad")
        made = kubectl(server, "-n", "ruled", "run", "good", "--image=busybox:1.36", "-o", "json")
        assert "Warning: container good has no memory limit" in made.stderr
        pod = json.loads(made.stdout)
        assert pod["metadata"]["labels"] == {"run": "good", "pod-rules/made-by": "admin"}
        assert pod["spec"]["containers"][0]["securityContext"] == {"capabilities": {"drop": ["ALL"]}}
        assert kubectl(server, "-n", "default", "run", "elsewhere", "--image=busybox").returncode == 0
    # nobody answers any more: failurePolicy Fail refuses, the metrics tell
    gone = kubectl(server, "-n", "ruled", "run", "late", "--image=busybox:1.36")
    assert 'failed calling webhook "defaults.pod-rules.example.kubepy.io"' in gone.stderr
    metrics = kubectl(server, "get", "--raw", "/metrics").stdout
    assert any("apiserver_admission_webhook_rejection_count" in line and "calling_webhook_error" in line for line in metrics.splitlines())
    kubectl(server, "delete", "-f", "-", stdin=documents)


def policy(server: ApiServer, kind: str, name: str, spec: dict[str, Any], group: str = "", resource: str = "configmaps",
           **binding: Any) -> None:
    """A policy for new objects of the namespace `default`, with a binding."""
    plural = f"{kind}admissionpolicies"
    scope = {"resourceRules": [{"apiGroups": [group], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": [resource]}]}
    made = call(server, "POST", f"{ADMISSION}/{plural}", {"metadata": {"name": name}, "spec": {"matchConstraints": scope, **spec}})
    assert made[0] == 201, made
    only = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "default"}}}
    assert call(server, "POST", f"{ADMISSION}/{kind}admissionpolicybindings", {
        "metadata": {"name": name}, "spec": {"policyName": name, "matchResources": only, **binding}})[0] == 201


def test_policies_change_judge_and_ask_for_rights(server: ApiServer) -> None:
    """Mutating policies come first, each seeing what the one before it left; parameters and the authorizer are there for both."""
    maps = "/api/v1/namespaces/default/configmaps"
    call(server, "POST", maps, {"metadata": {"name": "limits"}, "data": {"longest": "9"}})
    wanted = "Object{data: {'first': 'a', ?'mark': optional.ofNonZeroValue(variables.mark)}}"
    policy(server, "mutating", "a-first", {
        "reinvocationPolicy": "Never", "variables": [{"name": "mark", "expression": "object.metadata.name.substring(0, 1)"}],
        "mutations": [{"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": wanted}}]})
    patch = "[JSONPatch{op: 'add', path: '/data/' + jsonpatch.escapeKey('second'), value: object.data.first + 'b'}]"
    policy(server, "mutating", "b-second", {
        "reinvocationPolicy": "IfNeeded", "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": patch}}]})
    policy(server, "validating", "judge", {
        "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"}, "validations": [
            {"expression": "object.metadata.name.size() <= int(params.data.longest)",
             "messageExpression": "'at most ' + params.data.longest + ' characters'"},
            {"expression": "object.metadata.name != 'secret' || authorizer.group('').resource('secrets').namespace(request.namespace)"
                           ".check('get').allowed() && !authorizer.serviceAccount('default', 'x').group('').resource('pods').check('get')"
                           ".allowed()"}]},
           validationActions=["Deny"], paramRef={"name": "limits", "namespace": "default", "parameterNotFoundAction": "Deny"})

    def made(name: str) -> tuple[int, Any]:
        return call(server, "POST", f"{maps}?dryRun=All", {"metadata": {"name": name}})

    wait_for(lambda: made("far-too-long")[0] == 422 and (made("one")[1].get("data") or {}).get("second"))
    assert made("one")[1]["data"] == {"first": "a", "mark": "o", "second": "ab"}
    assert made("far-too-long")[1]["details"]["causes"][0]["message"] == (
        "ValidatingAdmissionPolicy 'judge' with binding 'judge' denied request: at most 9 characters")
    assert made("secret")[0] == 201
    for kind, name in (("mutating", "a-first"), ("mutating", "b-second"), ("validating", "judge")):
        call(server, "DELETE", f"{ADMISSION}/{kind}admissionpolicybindings/{name}")
        call(server, "DELETE", f"{ADMISSION}/{kind}admissionpolicies/{name}")


async def type_checked(server: ApiServer, policy: Any) -> Any:
    """What the controller finds, with the server's discovery and OpenAPI."""
    client = HttpClient(load(server.kubeconfig))
    try:
        return await check(client, policy)
    finally:
        await client.close()


@needs_kubectl
def test_an_operator_written_with_kopf_keeps_a_custom_resource(server: ApiServer) -> None:
    """Children, a status, events, a finalizer; rules of the definition besides."""
    assert kubectl(server, "apply", "-f", str(EXAMPLES / "operator/crd.yaml")).returncode == 0
    kubectl(server, "wait", "--for=condition=Established", "crd/websites.web.kubepy.io")
    with running("-m", "kopf", "run", str(EXAMPLES / "operator/operator.py"), "--namespace", "default", "--standalone", "--quiet",
                 KUBECONFIG=server.kubeconfig) as process:
        site = "/apis/web.kubepy.io/v1/namespaces/default/websites/hello"
        assert kubectl(server, "apply", "-f", str(EXAMPLES / "operator/website.yaml")).returncode == 0
        wait_for(lambda: (call(server, "GET", site)[1].get("status") or {}).get("phase") == "Served")
        assert process.poll() is None
        found = call(server, "GET", site)[1]
        assert found["metadata"]["finalizers"] == ["web.kubepy.io/archive"]
        deployment = "/apis/apps/v1/namespaces/default/deployments/hello"
        child = call(server, "GET", deployment)[1]
        assert child["spec"]["replicas"] == 2
        owner = child["metadata"]["ownerReferences"][0]
        assert (owner["kind"], owner["uid"], owner["controller"]) == ("Website", found["metadata"]["uid"], True)
        assert "served" in kubectl(server, "get", "websites").stdout.lower()
        rules = [{"apiGroups": ["web.kubepy.io"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["websites"]}]
        judged = {"spec": {"matchConstraints": {"resourceRules": rules}, "validations": [
            {"expression": "object.spec.replicas > 0 && object.metadata.labels.size() >= 0"},
            {"expression": "object.spec.colour == 'red'"}]}}
        told = asyncio.run(type_checked(server, judged))["expressionWarnings"]
        assert [item["fieldRef"] for item in told] == ["spec.validations[1].expression"]
        assert told[0]["warning"].startswith("web.kubepy.io/v1, Kind=Website: ERROR: <input>:1:12: undefined field 'colour'")
        refused = kubectl(server, "scale", "website/hello", "--replicas=3")
        assert "the free tier has two replicas at most" in refused.stderr
        assert kubectl(server, "patch", "website/hello", "--type=merge", "-p", '{"spec": {"tier": "paid", "replicas": 3}}').returncode == 0
        wait_for(lambda: call(server, "GET", deployment)[1]["spec"]["replicas"] == 3)
        policy(server, "mutating", "sites", {"reinvocationPolicy": "Never", "mutations": [
            {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": "Object{spec: Object.spec{tier: 'paid'}}"}},
            {"patchType": "JSONPatch", "jsonPatch": {"expression": "[JSONPatch{op: 'add', path: '/spec/unknown', value: 1}]"}}]},
               group="web.kubepy.io", resource="websites")

        def tried() -> Any:
            return call(server, "POST", f"{site.removesuffix('/hello')}?dryRun=All", {
                "apiVersion": "web.kubepy.io/v1", "kind": "Website", "metadata": {"name": "tried"}, "spec": {"text": "x"}})[1]["spec"]

        wait_for(lambda: tried() == {"text": "x", "replicas": 1, "tier": "paid"})
        call(server, "DELETE", f"{ADMISSION}/mutatingadmissionpolicies/sites")
        back = kubectl(server, "patch", "website/hello", "--type=merge", "-p", '{"spec": {"tier": "free", "replicas": 1}}')
        assert "a paid tier cannot be given up" in back.stderr
        wait_for(lambda: "Served" in kubectl(server, "get", "events", "-o", "jsonpath={.items[*].reason}").stdout)
        kubectl(server, "delete", "website/hello", "--wait=false")
        wait_for(lambda: call(server, "GET", site)[0] == 404)
        assert "hello" in call(server, "GET", "/api/v1/namespaces/default/configmaps/archive")[1]["data"]


def test_an_aggregated_server_is_reached_with_the_callers_identity(server: ApiServer, folder: Path) -> None:
    cert, key = certificate(folder, "greetings.default.svc")
    port = free_port()
    expose(server, "greetings", port)
    bundle = base64.b64encode(cert.read_bytes()).decode()
    services = "/apis/apiregistration.k8s.io/v1/apiservices"
    assert call(server, "POST", services, {
        "metadata": {"name": "v1.example.kubepy.io"}, "spec": {
            "group": "example.kubepy.io", "version": "v1", "groupPriorityMinimum": 1000, "versionPriority": 15,
            "service": {"namespace": "default", "name": "greetings"}, "caBundle": bundle}})[0] == 201

    def condition() -> Any:
        conditions = (call(server, "GET", f"{services}/v1.example.kubepy.io")[1].get("status") or {}).get("conditions") or [{}]
        return conditions[0].get("reason")

    wait_for(lambda: condition() == "FailedDiscoveryCheck")
    with running(str(EXAMPLES / "aggregated-api/server.py"), "--cert", str(cert), "--key", str(key), "--client-ca",
                 str(folder / "front-proxy-client.crt"), "--port", str(port)):
        wait_for(lambda: condition() == "Passed")
        path = "/apis/example.kubepy.io/v1"
        wait_for(lambda: call(server, "GET", f"{path}/greetings")[0] == 200)
        _, greeting = call(server, "GET", f"{path}/greetings/hello")
        assert greeting["text"] == "hello, admin"
        assert greeting["groups"] == ["system:masters", "system:authenticated"]
        assert call(server, "GET", f"{path}/greetings", token="nobodytoken")[0] == 403
        assert "example.kubepy.io" in {group["name"] for group in call(server, "GET", "/apis")[1]["groups"]}
        if shutil.which("kubectl"):
            shown = subprocess.run(["kubectl", "--kubeconfig", server.kubeconfig, "get", "greetings", "-o", "name"], capture_output=True,
                                   text=True, timeout=120, check=False)
            assert shown.stdout.split() == ["greeting.example.kubepy.io/hello", "greeting.example.kubepy.io/goodbye"], shown.stderr
            explained = kubectl(server, "explain", "greetings.text")
            assert "What is said to the caller." in explained.stdout, explained.stderr
    wait_for(lambda: call_text(server, f"{path}/greetings") == 503)


def call_text(server: ApiServer, path: str) -> int:
    try:
        return call(server, "GET", path)[0]
    except json.JSONDecodeError:
        return 503


def listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_for(holds: Any, seconds: float = 90.0) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if holds():
                return
        except (OSError, json.JSONDecodeError):
            pass
        time.sleep(0.2)
    pytest.fail("it did not come to pass in time")
