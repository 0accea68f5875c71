"""What `kubepy up` writes so that a cluster is audited and its secrets are encrypted in etcd, unless the operator brings files of his own.

Both files are made once and left alone afterwards: they may be edited, and the API server follows the encryption file while it runs.
The encryption key is as precious as etcd's data: a backup of one without the other is no backup.
"""
from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Any

import yaml

from kubepy.cli.pki.issue import write_file
from kubepy.cli.settings import Settings

CIPHERS = ("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
           "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
           "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384")
_RBAC = "rbac.authorization.k8s.io"


def audit_policy() -> dict[str, Any]:
    """Who touched secrets, changed rights or entered pods, and every change by people; no bodies of what is secret, and not the
    components' constant traffic."""
    core, everything = [{"group": "", "resources": ["secrets", "configmaps", "serviceaccounts/token"]}], ["RequestReceived"]
    return {
        "apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": everything, "rules": [
            {"level": "None", "nonResourceURLs": ["/healthz*", "/livez*", "/readyz*", "/version", "/metrics", "/openapi*", "/api*"]},
            {"level": "None", "resources": [{"group": "", "resources": ["events"]}, {"group": "events.k8s.io", "resources": ["events"]},
                                            {"group": "coordination.k8s.io", "resources": ["leases"]}]},
            {"level": "None", "users": ["system:kube-scheduler", "system:kube-proxy", "system:kube-dns", "system:metrics-server"],
             "verbs": ["get", "list", "watch"]},
            {"level": "None", "users": ["system:apiserver", "system:kube-controller-manager"], "verbs": ["get", "list", "watch"]},
            {"level": "None", "userGroups": ["system:serviceaccounts:kube-system"], "verbs": ["get", "list", "watch"]},
            {"level": "None", "users": ["system:kube-scheduler", "system:kube-controller-manager", "system:metrics-server"],
             "resources": [{"group": "authorization.k8s.io"}, {"group": "authentication.k8s.io"}]},
            {"level": "None", "userGroups": ["system:nodes"], "resources": [
                {"group": "authorization.k8s.io"}, {"group": "authentication.k8s.io"}]},
            {"level": "None", "userGroups": ["system:nodes"], "verbs": ["get", "list", "watch"]},
            {"level": "None", "userGroups": ["system:nodes"], "resources": [
                {"group": "", "resources": ["nodes/status", "pods/status", "serviceaccounts/token"]}]},
            {"level": "Metadata", "resources": [*core, {"group": "authentication.k8s.io", "resources": ["tokenreviews"]}]},
            {"level": "RequestResponse", "verbs": ["create", "update", "patch", "delete", "deletecollection"],
             "resources": [{"group": _RBAC}, {"group": "certificates.k8s.io"}, {"group": "admissionregistration.k8s.io"}]},
            {"level": "Metadata", "resources": [{"group": "", "resources": [
                "pods/exec", "pods/attach", "pods/portforward", "pods/proxy", "services/proxy", "nodes/proxy",
                "pods/ephemeralcontainers"]}]},
            {"level": "Metadata", "verbs": ["create", "update", "patch", "delete", "deletecollection"]},
            {"level": "Metadata", "userGroups": ["system:unauthenticated"]},
            {"level": "None", "verbs": ["get", "list", "watch"]},
            {"level": "Metadata"},
        ]}


def encryption_configuration(key: bytes) -> dict[str, Any]:
    """Secrets with a key of 32 bytes; what was written before there was one is still read."""
    return {"apiVersion": "apiserver.config.k8s.io/v1", "kind": "EncryptionConfiguration", "resources": [{
        "resources": ["secrets"], "providers": [
            {"secretbox": {"keys": [{"name": "key1", "secret": base64.b64encode(key).decode()}]}}, {"identity": {}}]}]}


def prepare_hardening(settings: Settings) -> None:
    """Writes the files that are missing."""
    for path, document in ((settings.audit_policy, audit_policy()), (settings.encryption_config, encryption_configuration(os.urandom(32)))):
        if not path.exists():
            write_file(path, yaml.safe_dump(document, sort_keys=False).encode(), 0o600)


def flags(settings: Settings) -> tuple[str, ...]:
    """Of the API server."""
    return (
        "--profiling=false", f"--tls-cipher-suites={','.join(CIPHERS)}",
        f"--audit-policy-file={settings.audit_policy}", f"--audit-log-path={audit_log(settings)}",
        "--audit-log-maxage=30", "--audit-log-maxbackup=10", "--audit-log-maxsize=100",
        f"--encryption-provider-config={settings.encryption_config}", "--encryption-provider-config-automatic-reload=true",
    )


def audit_log(settings: Settings) -> Path:
    return settings.log_dir / "audit" / "audit.log"
