"""Which certificates a cluster has: kubeadm's names, plus client certificates for the components that kubepy runs on the node.

Every component has an identity of its own and only the rights that Kubernetes' bootstrap roles give it. Known difference from
kubeadm: `admin` is in `system:masters` itself (kubeadm keeps that for super-admin.conf).
"""
from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509

from kubepy.base.log import get_logger
from kubepy.cli.pki import issue
from kubepy.cli.pki.issue import Pair, PrivateKey, Subject, unique

log = get_logger("pki")

RENEW_BEFORE = timedelta(days=30)


class PkiError(Exception):
    """The directory cannot be completed; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Pki:
    """The files of one cluster's PKI as seen from one node."""

    directory: Path
    node_name: str

    def pair(self, name: str) -> Pair:
        return Pair(self.directory / f"{name}.crt", self.directory / f"{name}.key")

    @property
    def ca(self) -> Pair:
        return self.pair("ca")

    @property
    def front_proxy_ca(self) -> Pair:
        return self.pair("front-proxy-ca")

    @property
    def apiserver(self) -> Pair:
        return self.pair("apiserver")

    @property
    def apiserver_kubelet_client(self) -> Pair:
        return self.pair("apiserver-kubelet-client")

    @property
    def front_proxy_client(self) -> Pair:
        return self.pair("front-proxy-client")

    @property
    def admin(self) -> Pair:
        return self.pair("admin")

    @property
    def scheduler(self) -> Pair:
        return self.pair("scheduler")

    @property
    def controller_manager(self) -> Pair:
        return self.pair("controller-manager")

    @property
    def kubelet_client(self) -> Pair:
        return self.pair("kubelet-client")

    @property
    def kubelet(self) -> Pair:
        """The kubelet's serving certificate."""
        return self.pair("kubelet")

    @property
    def proxy(self) -> Pair:
        return self.pair("proxy")

    @property
    def dns(self) -> Pair:
        return self.pair("dns")

    @property
    def metrics_server(self) -> Pair:
        """Serving and client certificate in one."""
        return self.pair("metrics-server")

    @property
    def service_account_key(self) -> Path:
        return self.directory / "sa.key"

    @property
    def service_account_public_key(self) -> Path:
        return self.directory / "sa.pub"


def ensure_pki(directory: Path, *, node_name: str, addresses: Sequence[str], service_ip: str, extra_names: Sequence[str] = (),
               cluster_domain: str = "cluster.local", now: datetime | None = None) -> Pki:
    """Completes the PKI in `directory`; what is there and still good stays as it is.

    `addresses` are all the node's, `service_ip` the first of the service range. Raises PkiError when a certificate must be
    issued and its authority's key is not there."""
    directory.mkdir(parents=True, exist_ok=True)
    os.chmod(directory, 0o700)
    moment = now or datetime.now(UTC)
    pki = Pki(directory, node_name)
    names = _server_names(node_name, addresses, service_ip, extra_names, cluster_domain)
    for ca_name, common_name in (("ca", "kubernetes"), ("front-proxy-ca", "front-proxy-ca"), ("etcd/ca", "etcd-ca")):
        ca, ca_key = _ensure_ca(pki.pair(ca_name), common_name, moment)
        for name, subject in _leaves(ca_name, node_name, addresses, names):
            _ensure_leaf(pki.pair(name), subject, ca, ca_key, moment)
    _ensure_service_account_key(pki)
    return pki


def _server_names(node_name: str, addresses: Sequence[str], service_ip: str, extra: Sequence[str], domain: str) -> tuple[str, ...]:
    return unique(["kubernetes", "kubernetes.default", "kubernetes.default.svc", f"kubernetes.default.svc.{domain}", "localhost",
                   socket.gethostname(), node_name, service_ip, "127.0.0.1", "::1", *addresses, *extra])


def _leaves(ca: str, node_name: str, addresses: Sequence[str], names: tuple[str, ...]) -> list[tuple[str, Subject]]:
    if ca == "front-proxy-ca":
        return [("front-proxy-client", Subject("front-proxy-client", client=True))]
    if ca == "etcd/ca":
        # An authority of its own: no client certificate of the cluster opens etcd, only the API server's.
        return [("etcd/server", Subject("kube-etcd", server=True, client=True, names=("localhost", "127.0.0.1", "::1"))),
                ("apiserver-etcd-client", Subject("kube-apiserver-etcd-client", client=True))]
    node = f"system:node:{node_name}"
    return [
        ("apiserver", Subject("kube-apiserver", server=True, names=names)),
        # Not in system:masters: RBAC binds this user to system:kubelet-api-admin, which is all it needs.
        ("apiserver-kubelet-client", Subject("kube-apiserver-kubelet-client", client=True)),
        ("admin", Subject("kubernetes-admin", ("system:masters",), client=True)),
        ("scheduler", Subject("system:kube-scheduler", client=True)),
        ("controller-manager", Subject("system:kube-controller-manager", client=True)),
        ("kubelet-client", Subject(node, ("system:nodes",), client=True)),
        ("kubelet", Subject(node, ("system:nodes",), server=True,
                            names=unique([node_name, socket.gethostname(), "localhost", "127.0.0.1", "::1", *addresses]))),
        ("proxy", Subject("system:kube-proxy", client=True)),
        ("dns", Subject("system:kube-dns", client=True)),
        ("ingress", Subject("system:kubepy-ingress", client=True)),
        ("metrics-server", Subject("system:metrics-server", server=True, client=True, names=unique(
            ["metrics-server.kube-system.svc", "metrics-server.kube-system", "metrics-server", "localhost", "127.0.0.1", *addresses]))),
    ]


def _ensure_ca(pair: Pair, common_name: str, now: datetime) -> tuple[x509.Certificate, PrivateKey | None]:
    """The authority; its key is None for an external one, of which only the certificate is there."""
    if not pair.cert.exists():
        key: PrivateKey = issue.load_key(pair.key) if pair.key.exists() else issue.new_key()
        issue.write_pair(pair, issue.make_ca(common_name, key, now), key)
        log.info("Made certificate authority", name=common_name)
    try:
        cert = x509.load_pem_x509_certificate(pair.cert.read_bytes())
        loaded = issue.load_key(pair.key) if pair.key.exists() else None
    except ValueError as error:
        raise PkiError(f"{pair.cert} or {pair.key} cannot be read ({error}); restore them from a backup") from error
    if loaded is not None and loaded.public_key() != cert.public_key():
        raise PkiError(f"{pair.key} does not belong to {pair.cert}; restore the right key from a backup")
    if loaded is not None:
        os.chmod(pair.key, 0o600)
    return cert, loaded


def _ensure_leaf(pair: Pair, subject: Subject, ca: x509.Certificate, ca_key: PrivateKey | None, now: datetime) -> None:
    why = issue.why_reissue(pair, subject, ca, now, RENEW_BEFORE)
    if not why:
        return
    if ca_key is None:
        raise PkiError(f"{pair.cert} must be issued ({why}), but its authority's key is not here; put the certificate and its key there")
    key = issue.new_key()
    issue.write_pair(pair, issue.make_leaf(subject, key, ca, ca_key, now), key)
    log.info("Issued certificate", file=pair.cert.name, subject=subject.common_name, why=why)


def _ensure_service_account_key(pki: Pki) -> None:
    path, public = pki.service_account_key, pki.service_account_public_key
    if not path.exists():
        if public.exists():
            raise PkiError(f"{public} is there without {path}; restore the key, or remove {public} to start with a new one")
        issue.write_key(path, issue.new_rsa_key())
        log.info("Made service-account key", file=path.name)
    pem = issue.public_pem(issue.load_key(path))
    if not public.exists() or pem not in public.read_bytes():  # a public file with older keys too is kept: that is a rotation
        issue.write_file(public, pem, 0o644)
