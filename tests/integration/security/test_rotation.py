"""What is in files is believed as it is now: authorities, serving certificate and encryption keys change while a server runs."""
from __future__ import annotations

import base64
import os
import shutil
import ssl
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
import yaml
from cryptography import x509

from kubepy.cli.pki import Pki, ensure_pki
from tests.apiserver import ApiServer

pytestmark = pytest.mark.etcd
SECONDS = 40.0


def encryption(*keys: str) -> str:
    providers = [{"secretbox": {"keys": [{"name": name, "secret": base64.b64encode(name.encode() * 32).decode()} for name in keys]}}]
    return yaml.safe_dump({"kind": "EncryptionConfiguration", "apiVersion": "apiserver.config.k8s.io/v1", "resources": [
        {"resources": ["secrets"], "providers": [*(providers if keys else []), {"identity": {}}]}]})


def client(url: str, pki: Pki | None = None, token: str = "") -> httpx.Client:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if pki is not None:
        context.load_cert_chain(pki.admin.cert, pki.admin.key)
    return httpx.Client(base_url=url, verify=context, headers={"Authorization": f"Bearer {token}"} if token else {}, timeout=30)


def until(check: Callable[[], bool]) -> None:
    end = time.monotonic() + SECONDS
    while not check():
        assert time.monotonic() < end
        time.sleep(0.2)


def serial(server: ApiServer) -> int:
    pem = ssl.get_server_certificate(("127.0.0.1", server.port))
    return x509.load_pem_x509_certificate(pem.encode()).serial_number


def stored(server: ApiServer, prefix: bytes) -> list[bytes]:
    """The beginnings of what is in etcd."""
    asked = {"key": base64.b64encode(prefix).decode(), "range_end": base64.b64encode(prefix[:-1] + b"0").decode()}
    found = httpx.post(f"{server.etcd.url}/v3/kv/range", json=asked).json()["kvs"]
    return [base64.b64decode(kv["value"])[:23] for kv in found]


def test_files_change_while_the_server_runs(tmp_path: Path) -> None:
    own, other = (ensure_pki(tmp_path / name, node_name="n1", addresses=["127.0.0.1"], service_ip="10.96.0.1") for name in ("own", "other"))
    bundle, config = tmp_path / "clients.crt", tmp_path / "encryption.yaml"
    serving, key = tmp_path / "serving.crt", tmp_path / "serving.key"
    shutil.copy(own.ca.cert, bundle)
    shutil.copy(own.apiserver.cert, serving)
    shutil.copy(own.apiserver.key, key)
    config.write_text(encryption("a"))
    flags = (f"--client-ca-file={bundle}", f"--tls-cert-file={serving}", f"--tls-private-key-file={key}", f"--requestheader-client-ca-file="
             f"{own.front_proxy_ca.cert}", f"--encryption-provider-config={config}", "--encryption-provider-config-automatic-reload=true")
    server = ApiServer(*flags)
    server.ca = str(own.ca.cert)
    with server, client(server.url, own) as ours, client(server.url, other) as theirs, client(server.url, other, server.token) as both:
        # a certificate of another authority is answered, and does not stand in the way of other credentials
        answer = theirs.get("/api/v1/namespaces")
        assert (answer.status_code, answer.json()["reason"]) == (401, "Unauthorized")
        assert theirs.get("/version").status_code == 401
        assert both.get("/api/v1/namespaces").status_code == ours.get("/api/v1/namespaces").status_code == 200
        secret = "/api/v1/namespaces/default/secrets"
        ours.post(secret, json={"metadata": {"name": "one"}}).raise_for_status()
        before = serial(server)

        config.write_text(encryption("b", "a"))
        shutil.copy(other.apiserver.cert, serving)
        shutil.copy(other.apiserver.key, key)
        staged = tmp_path / "staged"
        shutil.copy(other.ca.cert, staged)
        os.replace(staged, bundle)
        until(lambda: theirs.get("/api/v1/namespaces").status_code == 200)
        assert ours.get("/api/v1/namespaces").status_code == 401  # on the connection that was good before
        until(lambda: serial(server) != before)
        until(lambda: 'encryption_config_controller_automatic_reloads_total{status="success"}' in theirs.get("/metrics").text)
        theirs.post(secret, json={"metadata": {"name": "two"}}).raise_for_status()
        assert [written.rpartition(b":")[0] for written in stored(server, b"/registry/secrets/default/")] == [
            b"k8s:enc:secretbox:v1:a", b"k8s:enc:secretbox:v1:b"]
        assert theirs.get(f"{secret}/one").status_code == 200
        told = theirs.get("/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication").json()["data"]
        assert Path(other.ca.cert).read_text().strip() in told["client-ca-file"]
        metrics = theirs.get("/metrics").text
        assert "apiserver_client_certificate_expiration_seconds_count" in metrics
        assert f'kubepy_certificate_expiration_timestamp_seconds{{file="{serving}"}}' in metrics

        bundle.write_text("nonsense")  # what cannot be read changes nothing
        config.write_text("kind: Nonsense")
        until(lambda: 'encryption_config_controller_automatic_reloads_total{status="failure"}' in theirs.get("/metrics").text)
        assert theirs.get(f"{secret}/two").status_code == 200
