"""A kubelet process that has only a bootstrap token, against the real API server and the real approver and signer."""
from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from kubepy.api.errors import AlreadyExists, ApiError, NotFound
from kubepy.api.resource import CERTIFICATE_SIGNING_REQUESTS, LEASES, NODES, SECRETS
from kubepy.cli.join.grant import plan_grants
from kubepy.cli.pki import ensure_pki
from kubepy.cli.pki.issue import Subject, make_ca, make_leaf, new_key
from kubepy.cli.settings import Settings
from kubepy.client.http import HttpClient
from kubepy.client.kubeconfig import load
from kubepy.kubelet.certificate.store import Store
from tests.apiserver import ROOT, ApiServer, free_port

TOKEN = {"token-id": "abcdef", "token-secret": "0123456789abcdef", "usage-bootstrap-authentication": "true",
         "auth-extra-groups": "system:bootstrappers:kubeadm:default-node-token"}


class Cluster:
    def __init__(self, server: ApiServer, client: HttpClient, home: Path) -> None:
        self.server, self.client, self.home = server, client, home
        self.port = free_port()
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, module: str, *flags: str) -> None:
        with open(self.home / f"{module}.log", "ab") as log:
            self.processes.append(subprocess.Popen([sys.executable, "-m", "kubepy.cli.main", module, *flags], stdout=log, stderr=log,
                                                   cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}))

    def store(self, name: str) -> Store:
        return Store(self.home / "certificates", name)

    async def until(self, what: Callable[[], Awaitable[Any]], seconds: float = 120.0) -> Any:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with contextlib.suppress(NotFound, ConnectionError, ssl.SSLError):
                if found := await what():
                    return found
            await asyncio.sleep(0.1)
        raise AssertionError("it did not come about in time:\n" + (self.home / "kubelet.log").read_text()[-3000:])


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    settings = Settings(data_dir=tmp_path, node_name="cp", node_ip="192.0.2.1")
    pki = ensure_pki(settings.pki_dir, node_name="cp", addresses=["127.0.0.1"], service_ip="10.96.0.1")
    with ApiServer("--client-ca-file", str(pki.ca.cert), "--enable-bootstrap-token-auth") as server:
        client = HttpClient(load(server.kubeconfig))
        made = Cluster(server, client, tmp_path)
        for resource, obj in plan_grants(settings):
            with contextlib.suppress(AlreadyExists):
                await client.create(resource, obj)
        await client.create(SECRETS, {"apiVersion": "v1", "kind": "Secret", "type": "bootstrap.kubernetes.io/token", "stringData": TOKEN,
                                      "metadata": {"name": "bootstrap-token-abcdef", "namespace": "kube-system"}})
        # So short that what is signed is due for renewal within the minute: signers put the beginning five minutes back.
        made.start("controller-manager", "--kubeconfig", server.kubeconfig, "--secure-port", "0", "--leader-elect=false",
                   "--cluster-signing-cert-file", str(pki.ca.cert), "--cluster-signing-key-file", str(pki.ca.key),
                   "--cluster-signing-duration", "60s", "--service-cluster-ip-range", "10.96.0.0/16", "--use-service-account-credentials")
        config = {"apiVersion": "v1", "kind": "Config", "current-context": "c", "clusters": [{"name": "c", "cluster": {
            "server": server.url, "certificate-authority": server.ca}}], "contexts": [{"name": "c", "context": {
                "cluster": "c", "user": "u"}}], "users": [{"name": "u", "user": {"token": "abcdef.0123456789abcdef"}}]}
        (tmp_path / "bootstrap.conf").write_text(yaml.safe_dump(config))
        made.start("kubelet", "--bootstrap-kubeconfig", str(tmp_path / "bootstrap.conf"), "--kubeconfig", str(tmp_path / "kubelet.conf"),
                   "--cert-dir", str(tmp_path / "certificates"), "--hostname-override", "n1", "--node-ip", "192.0.2.7",
                   "--address", "127.0.0.1", "--port", str(made.port), "--healthz-port", "0", "--root-dir", str(tmp_path / "root"),
                   "--pod-logs-dir", str(tmp_path / "logs"), "--container-runtime-endpoint", f"unix://{tmp_path}/none.sock",
                   "--cgroups-per-qos=false", "--rotate-certificates", "--rotate-server-certificates", "--serving-names", "ip",
                   "--client-ca-file", str(pki.ca.cert), "--fail-swap-on=false")
        try:
            yield made
        finally:
            for process in made.processes:
                process.terminate()
            for process in made.processes:
                process.wait(20)
            await client.close()


@pytest.mark.etcd
@pytest.mark.root
async def test_a_kubelet_with_a_bootstrap_token_gets_certificates_and_rotates_them(cluster: Cluster) -> None:
    node = await cluster.until(lambda: cluster.client.get(NODES, "n1"))
    assert {"type": "InternalIP", "address": "192.0.2.7"} in node["status"]["addresses"]
    first = cluster.store("kubelet-client").current()
    assert first is not None
    assert first.subject == "CN=system:node:n1,O=system:nodes"
    written = (cluster.home / "kubelet.conf").read_text()
    assert "token" not in written
    assert "kubelet-client-current.pem" in written

    async def serves() -> bool:
        context = ssl.create_default_context(cafile=cluster.home / "pki" / "ca.crt")
        _, writer = await asyncio.open_connection("127.0.0.1", cluster.port, ssl=context, server_hostname="192.0.2.7")
        writer.close()
        return True

    await cluster.until(serves)

    stranger, key = cluster.home / "stranger.pem", new_key()
    stranger.write_bytes(make_leaf(Subject("kubernetes-admin", ("system:masters",), client=True), key, make_ca("stranger", key), key)
                         .public_bytes(Encoding.PEM) + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    context = ssl.create_default_context(cafile=cluster.home / "pki" / "ca.crt")
    context.load_cert_chain(stranger)
    reader, writer = await asyncio.open_connection("127.0.0.1", cluster.port, ssl=context, server_hostname="192.0.2.7")
    writer.write(b"GET /pods HTTP/1.1\r\nhost: n1\r\nconnection: close\r\n\r\n")
    assert (await reader.read()).startswith(b"HTTP/1.1 401 "), "not a broken handshake"
    writer.close()

    async def rotated() -> bool:
        current = cluster.store("kubelet-client").current()
        return current is not None and current.pem != first.pem

    await cluster.until(rotated, 90)

    # The bootstrap identity's request, and the node's own for a successor and for serving.
    requests = await cluster.client.list(CERTIFICATE_SIGNING_REQUESTS)
    asked = {(entry["spec"]["username"], entry["spec"]["signerName"]) for entry in requests["items"]}
    assert {("system:bootstrap:abcdef", "kubernetes.io/kube-apiserver-client-kubelet"),
            ("system:node:n1", "kubernetes.io/kube-apiserver-client-kubelet"),
            ("system:node:n1", "kubernetes.io/kubelet-serving")} <= asked
    before = (await cluster.client.get(LEASES, "n1", "kube-node-lease"))["spec"]["renewTime"]

    async def renewed() -> bool:
        try:
            lease = await cluster.client.get(LEASES, "n1", "kube-node-lease")
        except ApiError:
            return False
        return bool(lease["spec"]["renewTime"] > before)

    await cluster.until(renewed)
