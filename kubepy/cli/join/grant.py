"""The objects by which nodes may join: what kubeadm sets up under the same names, and kubepy's own for serving and proxy certificates.

Known differences: the cluster's settings for nodes are in the ConfigMap `kubepy-config` rather than in kubeadm's two; proxies and DNS
are no pods here, so a joined node requests client certificates for `system:kube-proxy` and `system:kube-dns` with its bootstrap
token and renews them as itself (the first is upstream's, the second can only read Services, EndpointSlices and Namespaces);
serving certificates of kubelets are approved when they name only the node's own addresses (`controllers/certificate/joined`).
"""
from __future__ import annotations

import base64
from collections.abc import Sequence

import orjson
import yaml

from kubepy.api.resource import CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, CONFIGMAPS, ROLE_BINDINGS, ROLES, Resource
from kubepy.api.types import Object
from kubepy.cli.join.token import GROUP
from kubepy.cli.settings import Settings, host_port

RBAC = "rbac.authorization.k8s.io"
CONFIG_NAME, CONFIG_KEY = "kubepy-config", "cluster.json"
SHARED = ("service_cidr", "pod_cidr", "cluster_domain", "network_backend")
"""The settings that all nodes of a cluster have in common, all of them text."""
DNS = ("dns", "dns_port")
"""Likewise, of cluster DNS; an older cluster has none of them, and DNS on its control plane only."""

Applied = tuple[Resource, Object]


def plan_grants(settings: Settings) -> tuple[Applied, ...]:
    """In the order they are applied."""
    nodes, anonymous, bootstrap = "system:nodes", "system:anonymous", GROUP
    requests = "system:certificates.k8s.io:certificatesigningrequests"
    return (
        _cluster_info(settings), _config(settings),
        _role("kube-public", "kubeadm:bootstrap-signer-clusterinfo", ("",), ("configmaps",), ("get",), ("cluster-info",)),
        _bind("kube-public", "kubeadm:bootstrap-signer-clusterinfo", "User", anonymous),
        _role("kube-system", "kubepy:nodes-config", ("",), ("configmaps",), ("get",), (CONFIG_NAME,)),
        _bind("kube-system", "kubepy:nodes-config", "Group", bootstrap, nodes),
        _role("", "kubeadm:get-nodes", ("",), ("nodes",), ("get",)),
        _bind("", "kubeadm:get-nodes", "Group", bootstrap),
        _bind("", "kubeadm:kubelet-bootstrap", "Group", bootstrap, role="system:node-bootstrapper"),
        _bind("", "kubeadm:node-autoapprove-bootstrap", "Group", bootstrap, role=f"{requests}:nodeclient"),
        _bind("", "kubeadm:node-autoapprove-certificate-rotation", "Group", nodes, role=f"{requests}:selfnodeclient"),
        _role("", "kubepy:certificatesigningrequests:selfnodeserver", ("certificates.k8s.io",),
              ("certificatesigningrequests/selfnodeserver",), ("create",)),
        _bind("", "kubepy:certificatesigningrequests:selfnodeserver", "Group", nodes),
        _role("", "kubepy:certificatesigningrequests:nodeproxy", ("certificates.k8s.io",),
              ("certificatesigningrequests/nodeproxy",), ("create",)),
        _bind("", "kubepy:certificatesigningrequests:nodeproxy", "Group", bootstrap, nodes),
        _role("", "kubepy:certificatesigningrequests:nodedns", ("certificates.k8s.io",),
              ("certificatesigningrequests/nodedns",), ("create",)),
        _bind("", "kubepy:certificatesigningrequests:nodedns", "Group", bootstrap, nodes),
        _role("", "kubepy:network-policy", ("", "networking.k8s.io"), ("pods", "namespaces", "networkpolicies"), ("list", "watch")),
        _bind("", "kubepy:network-policy", "User", "system:kube-proxy"),
        _role("", "kubepy:certificate-approver", ("certificates.k8s.io",), ("signers",), ("approve",),
              ("kubernetes.io/kubelet-serving", "kubernetes.io/kube-apiserver-client")),
        _bind("", "kubepy:certificate-approver", "ServiceAccount", "certificate-controller"),
    )


def shared_settings(configmap: Object) -> dict[str, str | bool | int]:
    """What a joining node takes over. Raises ValueError for a ConfigMap that holds something else."""
    values = orjson.loads((configmap.get("data") or {}).get(CONFIG_KEY) or "")
    if not isinstance(values, dict) or not all(isinstance(values.get(name), str) for name in SHARED):
        raise ValueError(f"the ConfigMap kube-system/{CONFIG_NAME} does not hold {', '.join(SHARED)}")
    port = values.get("dns_port")
    dns: dict[str, str | bool | int] = {"dns": bool(values.get("dns")), **({"dns_port": port} if isinstance(port, int) else {})}
    return {**{name: values[name] for name in SHARED}, **dns}


def _cluster_info(settings: Settings) -> Applied:
    authority = base64.b64encode((settings.pki_dir / "ca.crt").read_bytes()).decode()
    server = f"https://{host_port(settings.address, settings.secure_port)}"
    kubeconfig = {"apiVersion": "v1", "kind": "Config", "preferences": {}, "users": [], "contexts": [], "current-context": "", "clusters": [
        {"name": "", "cluster": {"certificate-authority-data": authority, "server": server}}]}
    return CONFIGMAPS, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "cluster-info", "namespace": "kube-public"},
                        "data": {"kubeconfig": yaml.safe_dump(kubeconfig, width=1 << 20)}}


def _config(settings: Settings) -> Applied:
    values = {name: getattr(settings, name) for name in (*SHARED, *DNS)}
    return CONFIGMAPS, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": CONFIG_NAME, "namespace": "kube-system"},
                        "data": {CONFIG_KEY: orjson.dumps(values, option=orjson.OPT_INDENT_2).decode()}}


def _role(namespace: str, name: str, groups: Sequence[str], resources: Sequence[str], verbs: Sequence[str],
          names: Sequence[str] = ()) -> Applied:
    rule = {"apiGroups": list(groups), "resources": list(resources), "verbs": list(verbs)}
    if names:
        rule["resourceNames"] = list(names)
    kind = "Role" if namespace else "ClusterRole"
    return ROLES if namespace else CLUSTER_ROLES, {"apiVersion": f"{RBAC}/v1", "kind": kind, "metadata": _metadata(namespace, name),
                                                   "rules": [rule]}


def _bind(namespace: str, name: str, kind: str, *subjects: str, role: str = "") -> Applied:
    """Binds the role of the same name, or `role`; service accounts are those of kube-system."""
    whom = [{"kind": kind, "name": subject, **({"namespace": "kube-system"} if kind == "ServiceAccount" else {"apiGroup": RBAC})}
            for subject in subjects]
    reference = {"apiGroup": RBAC, "kind": "Role" if namespace else "ClusterRole", "name": role or name}
    return ROLE_BINDINGS if namespace else CLUSTER_ROLE_BINDINGS, {
        "apiVersion": f"{RBAC}/v1", "kind": "RoleBinding" if namespace else "ClusterRoleBinding", "metadata": _metadata(namespace, name),
        "roleRef": reference, "subjects": whom}


def _metadata(namespace: str, name: str) -> Object:
    return {"name": name, **({"namespace": namespace} if namespace else {})}
