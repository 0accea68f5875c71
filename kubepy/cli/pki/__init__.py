"""The cluster's public key infrastructure as files: what is missing is made, what is about to expire is made again.

    pki = ensure_pki(Path("/var/lib/kubepy/pki"), node_name="node-1", addresses=["192.0.2.7"], service_ip="10.96.0.1")
    write_kubeconfig(path, "https://127.0.0.1:6443", pki.ca.cert, pki.admin.cert, pki.admin.key, "kubernetes-admin")

File names and identities are kubeadm's where kubeadm has them, so its documentation and tools apply.
"""
from kubepy.cli.pki.issue import Pair, expiry
from kubepy.cli.pki.kubeconfig import write_kubeconfig
from kubepy.cli.pki.layout import Pki, PkiError, ensure_pki

__all__ = ["Pair", "Pki", "PkiError", "ensure_pki", "expiry", "write_kubeconfig"]
