"""Sections 1 to 3 of the benchmark: files, API server, controller manager, scheduler, etcd, logging."""
from __future__ import annotations

from typing import Any

import yaml

from kubepy.cli.cis.checks import absent, answers, at_least, equals, every, given, lists, mode, strong
from kubepy.cli.cis.control import Control
from kubepy.cli.cis.facts import Facts

_NO_POD = "the parts are processes of a supervisor, not static pods: their command lines are made from cluster.json (control K.1)"
_A, _C, _S, _E = "apiserver", "controller-manager", "scheduler", "etcd"


def _documents(facts: Facts, name: str) -> Any:
    return yaml.safe_load(facts.documents[name]) if facts.documents.get(name) else None


def _encrypts(facts: Facts) -> str:
    document = _documents(facts, "encryption") or {}
    for entry in document.get("resources") or ():
        first = next(iter((entry.get("providers") or [{}])[0]), "")
        if "secrets" in (entry.get("resources") or ()):
            return "" if first in ("aescbc", "aesgcm", "kms", "secretbox") else f"secrets are written with the provider {first or 'none'}"
    return "no provider for secrets"


def _audits(facts: Facts) -> str:
    """Changes of rights, what happens to secrets, and entering pods are recorded; bodies of secrets are not."""
    rules = (_documents(facts, "audit") or {}).get("rules") or []
    seen: dict[str, str] = {}
    for rule in rules:
        for entry in rule.get("resources") or ():
            for resource in entry.get("resources") or (f"{entry.get('group', '')}/*",):
                seen.setdefault(resource, rule.get("level", ""))
    wanted = {"secrets": "Metadata", "pods/exec": "", "rbac.authorization.k8s.io/*": ""}
    for resource, level in wanted.items():
        if seen.get(resource, "None") == "None":
            return f"the audit policy has no rule for {resource}"
        if level and seen[resource] != level:
            return f"the audit policy records the bodies of {resource}"
    return ""


def _own_authority(facts: Facts) -> str:
    own = facts.flag(_E, "trusted-ca-file")
    return "etcd trusts the cluster's authority" if own and own == facts.flag(_A, "client-ca-file") else ""


CONTROLS: tuple[Control, ...] = (
    Control("1.1.1", "API server pod specification file permissions", why=_NO_POD),
    Control("1.1.7", "etcd pod specification file permissions", why=_NO_POD),
    Control("1.1.9", "CNI file permissions are 600 or more restrictive", mode(0o644, ".conflist", needed=False)),
    Control("1.1.11", "etcd data directory permissions are 700", mode(0o700, "etcd")),
    Control("1.1.12", "etcd data directory ownership", why="etcd runs as root, which owns its directory; it has no user of its own here"),
    Control("1.1.13", "admin credential file permissions are 600", mode(0o600, "admin.kubeconfig")),
    Control("1.1.15", "scheduler kubeconfig permissions are 600", mode(0o600, "scheduler.kubeconfig")),
    Control("1.1.17", "controller manager kubeconfig permissions are 600", mode(0o600, "controller-manager.kubeconfig")),
    Control("1.1.19", "Kubernetes PKI directory and files belong to root", mode(0o755, "pki", ".crt", ".key", "pki/sa.pub")),
    Control("1.1.20", "PKI certificate file permissions are 644 or more restrictive", mode(0o644, ".crt", "pki/sa.pub")),
    Control("1.1.21", "PKI key file permissions are 600", mode(0o600, ".key")),
    Control("K.1", "what command lines, encryption and audit are made from is root's alone",
            mode(0o600, "cluster.json", "encryption.yaml", "audit-policy.yaml")),
    Control("1.2.1", "anonymous requests reach nothing but what RBAC gives them", answers("anonymous secrets", 401, 403)),
    Control("1.2.2", "--token-auth-file is not set", absent(_A, "token-auth-file", "basic-auth-file")),
    Control("1.2.3", "DenyServiceExternalIPs is set", why="manual: it would break clusters whose services have external addresses; "
            "the plugin is there for --enable-admission-plugins"),
    Control("1.2.4", "--kubelet-client-certificate and --kubelet-client-key are set", given(_A, "kubelet-client-certificate",
            "kubelet-client-key")),
    Control("1.2.5", "--kubelet-certificate-authority is set", given(_A, "kubelet-certificate-authority")),
    Control("1.2.6", "--authorization-mode is not AlwaysAllow", every(given(_A, "authorization-mode"),
                                                                     lists(_A, "authorization-mode", lacks="AlwaysAllow"))),
    Control("1.2.7", "--authorization-mode includes Node", lists(_A, "authorization-mode", has="Node")),
    Control("1.2.8", "--authorization-mode includes RBAC", lists(_A, "authorization-mode", has="RBAC")),
    Control("1.2.9", "EventRateLimit is set",
            why="manual: priority and fairness bounds each user already; the plugin is there and takes its "
            "limits from --admission-control-config-file"),
    Control("1.2.10", "AlwaysAdmit is not set", lists(_A, "enable-admission-plugins", lacks="AlwaysAdmit")),
    Control("1.2.11", "AlwaysPullImages is set",
            why="manual: nodes without a registry run imported images; for clusters of several tenants "
            "add it to --enable-admission-plugins"),
    Control("1.2.12", "ServiceAccount is not disabled", lists(_A, "disable-admission-plugins", lacks="ServiceAccount")),
    Control("1.2.13", "NamespaceLifecycle is not disabled", lists(_A, "disable-admission-plugins", lacks="NamespaceLifecycle")),
    Control("1.2.14", "NodeRestriction is set", lists(_A, "enable-admission-plugins", has="NodeRestriction")),
    Control("1.2.15", "--profiling is false", every(equals(_A, "profiling", "false"), answers("apiserver pprof", 401, 403, 404))),
    Control("1.2.16", "--audit-log-path is set", given(_A, "audit-log-path")),
    Control("1.2.17", "--audit-log-maxage is 30 or more", at_least(_A, "audit-log-maxage", 30)),
    Control("1.2.18", "--audit-log-maxbackup is 10 or more", at_least(_A, "audit-log-maxbackup", 10)),
    Control("1.2.19", "--audit-log-maxsize is 100 or more", at_least(_A, "audit-log-maxsize", 100)),
    Control("1.2.20", "--request-timeout is appropriate", equals(_A, "request-timeout", "60s", default="60s")),
    Control("1.2.21", "--service-account-lookup is true", equals(_A, "service-account-lookup", "true", default="true")),
    Control("1.2.22", "--service-account-key-file is set", given(_A, "service-account-key-file")),
    Control("1.2.23", "--etcd-certfile and --etcd-keyfile are set", given(_A, "etcd-certfile", "etcd-keyfile")),
    Control("1.2.24", "--tls-cert-file and --tls-private-key-file are set", given(_A, "tls-cert-file", "tls-private-key-file")),
    Control("1.2.25", "--client-ca-file is set", given(_A, "client-ca-file")),
    Control("1.2.26", "--etcd-cafile is set", given(_A, "etcd-cafile")),
    Control("1.2.27", "--encryption-provider-config is set", given(_A, "encryption-provider-config")),
    Control("1.2.28", "encryption providers are appropriately configured", _encrypts),
    Control("1.2.29", "only strong cryptographic ciphers", every(given(_A, "tls-cipher-suites"), strong(_A))),
    Control("1.2.30", "--service-account-extend-token-expiration is false",
            why="as upstream's default it is true: tokens of pods that never "
            "read theirs again live a year, and every use of an old one is counted and warned of"),
    Control("1.3.1", "--terminated-pod-gc-threshold is set", at_least(_C, "terminated-pod-gc-threshold", 1)),
    Control("1.3.2", "controller manager --profiling is false", every(equals(_C, "profiling", "false"),
                                                                   answers("controller-manager pprof", 401, 403, 404))),
    Control("1.3.3", "--use-service-account-credentials is true", equals(_C, "use-service-account-credentials", "true")),
    Control("1.3.4", "--service-account-private-key-file is set", given(_C, "service-account-private-key-file")),
    Control("1.3.5", "--root-ca-file is set", given(_C, "root-ca-file")),
    Control("1.3.6", "RotateKubeletServerCertificate is on",
            why="always on (as in v1.36): the approver and signer of serving certificates run"),
    Control("1.3.7", "controller manager listens on the loopback", every(equals(_C, "bind-address", "127.0.0.1"),
                                                                       answers("controller-manager from outside", 0), strong(_C))),
    Control("1.4.1", "scheduler --profiling is false", answers("scheduler pprof", 401, 403, 404)),
    Control("1.4.2", "scheduler listens on the loopback", every(equals(_S, "bind-address", "127.0.0.1"),
                                                              answers("scheduler from outside", 0), strong(_S))),
    Control("2.1", "etcd --cert-file and --key-file are set", given(_E, "cert-file", "key-file")),
    Control("2.2", "etcd --client-cert-auth is true", every(equals(_E, "client-cert-auth", "true"), answers("etcd without a certificate",
            0))),
    Control("2.3", "etcd --auto-tls is not true", equals(_E, "auto-tls", "false", default="false")),
    Control("2.4", "etcd --peer-cert-file and --peer-key-file are set", given(_E, "peer-cert-file", "peer-key-file")),
    Control("2.5", "etcd --peer-client-cert-auth is true", equals(_E, "peer-client-cert-auth", "true")),
    Control("2.6", "etcd --peer-auto-tls is not true", equals(_E, "peer-auto-tls", "false", default="false")),
    Control("2.7", "etcd has a certificate authority of its own", _own_authority),
    Control("3.1.1", "client certificates are not used for users", why="manual: give people identities by --authentication-config (OpenID "
            "Connect); `admin.kubeconfig` is for emergencies"),
    Control("3.2.1", "a minimal audit policy exists", given(_A, "audit-policy-file")),
    Control("3.2.2", "the audit policy covers key security concerns", _audits),
)
