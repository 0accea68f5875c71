"""Extending the API server: a TLS webhook that denies, warns and patches, a policy, and an aggregated API server behind a service."""
from __future__ import annotations

import base64
import datetime
import json
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from kubepy.apiserver.options import _own_address
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


class Hook(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        request = review["request"]
        response: dict[str, Any] = {"uid": request["uid"], "allowed": "denied" not in request["name"], "warnings": ["watched"]}
        if self.path.startswith("/patch"):
            patch = [{"op": "add", "path": "/data", "value": {"patched": "yes"}}]
            response |= {"patchType": "JSONPatch", "patch": base64.b64encode(json.dumps(patch).encode()).decode()}
        data = json.dumps({"kind": review["kind"], "apiVersion": review["apiVersion"], "response": response}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: Any) -> None: ...


def expose(server: ApiServer, name: str, port: int) -> None:
    """A service with one endpoint on this machine."""
    call(server, "POST", "/api/v1/namespaces/default/services", {
        "metadata": {"name": name}, "spec": {"ports": [{"name": "x", "port": 443}]}})
    call(server, "POST", "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices", {
        "metadata": {"name": name, "labels": {"kubernetes.io/service-name": name}}, "addressType": "IPv4",
        "endpoints": [{"addresses": [_own_address()]}], "ports": [{"name": "x", "port": port}]})


def test_webhooks_behind_a_service_patch_and_deny(server: ApiServer, folder: Path) -> None:
    cert, key = certificate(folder, "hook.default.svc")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    httpd = ThreadingHTTPServer(("0.0.0.0", 0), Hook)
    httpd.socket = context.wrap_socket(httpd.socket, server_side=True)
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    try:
        expose(server, "hook", httpd.server_address[1])
        bundle = base64.b64encode(cert.read_bytes()).decode()

        def hook(path: str) -> dict[str, Any]:
            return {"name": "hook.example.com", "admissionReviewVersions": ["v1"], "sideEffects": "None",
                    "clientConfig": {"service": {"namespace": "default", "name": "hook", "path": path}, "caBundle": bundle},
                    "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}],
                    "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "default"}},
                    "matchConditions": [{"name": "mine", "expression": "!object.metadata.name.startsWith('free')"}]}

        path = "/apis/admissionregistration.k8s.io/v1"
        for resource, name, route in (("mutatingwebhookconfigurations", "m", "/patch"), ("validatingwebhookconfigurations", "v", "/check")):
            assert call(server, "POST", f"{path}/{resource}", {"metadata": {"name": name}, "webhooks": [hook(route)]})[0] == 201
        time.sleep(0.5)
        maps = "/api/v1/namespaces/default/configmaps"
        status, made = call(server, "POST", maps, {"metadata": {"name": "one"}})
        assert (status, made.get("data")) == (201, {"patched": "yes"})
        status, refused = call(server, "POST", maps, {"metadata": {"name": "denied"}})
        assert (status, refused["message"]) == (400, 'admission webhook "hook.example.com" denied the request without explanation')
        status, free = call(server, "POST", maps, {"metadata": {"name": "free-denied"}})
        assert (status, free.get("data")) == (201, None)
        for resource, name in (("mutatingwebhookconfigurations", "m"), ("validatingwebhookconfigurations", "v")):
            call(server, "DELETE", f"{path}/{resource}/{name}")
    finally:
        httpd.shutdown()
        httpd.server_close()


def test_an_aggregated_server_is_reached_with_the_callers_identity(server: ApiServer, folder: Path) -> None:
    cert, key = certificate(folder, "greetings.default.svc")
    port = free_port()
    process = subprocess.Popen([sys.executable, str(ROOT / "deploy/examples/aggregated-api/server.py"), "--cert", str(cert),
                                "--key", str(key), "--client-ca", str(folder / "front-proxy-client.crt"), "--port", str(port)])
    try:
        wait_for(lambda: listening(port))
        expose(server, "greetings", port)
        bundle = base64.b64encode(cert.read_bytes()).decode()
        assert call(server, "POST", "/apis/apiregistration.k8s.io/v1/apiservices", {
            "metadata": {"name": "v1.example.kubepy.io"}, "spec": {
                "group": "example.kubepy.io", "version": "v1", "groupPriorityMinimum": 1000, "versionPriority": 15,
                "service": {"namespace": "default", "name": "greetings"}, "caBundle": bundle}})[0] == 201
        path = "/apis/example.kubepy.io/v1"
        wait_for(lambda: call(server, "GET", f"{path}/greetings")[0] == 200)
        _, greeting = call(server, "GET", f"{path}/greetings/hello")
        assert greeting["text"] == "hello, admin"
        assert greeting["groups"] == ["system:masters", "system:authenticated"]
        assert call(server, "GET", f"{path}/greetings", token="nobodytoken")[0] == 403
        assert "example.kubepy.io" in {group["name"] for group in call(server, "GET", "/apis")[1]["groups"]}
        if shutil.which("kubectl"):
            shown = subprocess.run(["kubectl", "--kubeconfig", server.kubeconfig, "get", "greetings", "-o", "name"], capture_output=True,
                                   text=True, timeout=30, check=False)
            assert shown.stdout.split() == ["greeting.example.kubepy.io/hello", "greeting.example.kubepy.io/goodbye"], shown.stderr
    finally:
        process.terminate()
        process.wait(10)
    wait_for(lambda: call_text(server, f"{path}/greetings") == 503, seconds=45)


def call_text(server: ApiServer, path: str) -> int:
    try:
        return call(server, "GET", path)[0]
    except json.JSONDecodeError:
        return 503


def listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_for(holds: Any, seconds: float = 15.0) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if holds():
                return
        except (OSError, json.JSONDecodeError):
            pass
        time.sleep(0.2)
    pytest.fail("it did not come to pass in time")
