"""A cluster as it comes: it passes the CIS benchmark, its secrets are encrypted in etcd, and what matters is in the audit log."""
from __future__ import annotations

import base64
import json
import sys

from cryptography import x509

from tests.e2e.cluster import Cluster, eventually


def test_a_new_cluster_passes_the_benchmark(one_node: Cluster) -> None:
    rows = json.loads(one_node.kubepy("cis", f"--data-dir={one_node.data}", "-o", "json", check=False))
    assert len(rows) > 90
    assert [(row["id"], row["why"]) for row in rows if row["status"] == "fail"] == []
    assert sum(row["status"] == "pass" for row in rows) > 70


def test_secrets_are_encrypted_and_audited_without_their_values(cluster: Cluster) -> None:
    cluster.kubectl("create", "secret", "generic", "treasure", "--from-literal=key=sesame-open")
    pki = cluster.data / "pki"
    stored = cluster.run(
        "curl", "-s", "--cacert", pki / "etcd/ca.crt", "--cert", pki / "apiserver-etcd-client.crt", "--key",
        pki / "apiserver-etcd-client.key", "https://127.0.0.1:2379/v3/kv/range", "-d",
        json.dumps({"key": base64.b64encode(f"/registry/secrets/{cluster.namespace}/treasure".encode()).decode()}))
    assert json.loads(stored)["kvs"][0]["value"].startswith("azhzOmVuYzpzZWNyZXRib3g6djE6")  # k8s:enc:secretbox:v1:
    log = cluster.data / "log/audit/audit.log"
    lines = eventually("the audit log has it", lambda: [
        line for line in log.read_text().splitlines() if f"{cluster.namespace}/secrets" in line and "treasure" in line])
    assert all(json.loads(line)["level"] == "Metadata" for line in lines)
    assert "sesame-open" not in log.read_text()
    assert "c2VzYW1lLW9wZW4" not in log.read_text()


def test_certificates_are_renewed_without_a_restart(cluster: Cluster) -> None:
    before = {part["name"]: part["pid"] for part in cluster.status()["parts"]}
    admin = (cluster.data / "admin.kubeconfig").read_text()
    old = _served(cluster, 6443), _served(cluster, 10250)
    assert "renewed apiserver" in cluster.kubepy("certs", "renew", "--all", f"--data-dir={cluster.data}")
    eventually("the API server and the kubelet serve new certificates", lambda: all(
        now != then for now, then in zip((_served(cluster, 6443), _served(cluster, 10250)), old, strict=True)))
    assert (cluster.data / "admin.kubeconfig").read_text() != admin
    assert cluster.kubectl("--kubeconfig", str(cluster.data / "admin.kubeconfig"), "get", "--raw", "/readyz") == "ok"
    cluster.kubectl("create", "deployment", "renewed", "--image=none", "--replicas=1")
    eventually("controllers and scheduler still work", lambda: "renewed-" in cluster.kubectl(
        "get", "pods", "-o", "jsonpath={.items[?(@.spec.nodeName)].metadata.name}"))
    assert {part["name"]: part["pid"] for part in cluster.status()["parts"]} == before


def _served(cluster: Cluster, port: int) -> int:
    """The serial number of the certificate on a port of the node."""
    script = f"import ssl; print(ssl.get_server_certificate(('198.51.100.2', {port}), timeout=20))"
    return x509.load_pem_x509_certificate(cluster.run(sys.executable, "-c", script).encode()).serial_number
