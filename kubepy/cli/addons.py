"""What a cluster made by `kubepy up` holds beyond what the API server bootstraps: DNS, metrics, what lets machines join, and rights."""
from __future__ import annotations

import asyncio

from kubepy.api.resource import CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, ENDPOINT_SLICES, SERVICES, Resource
from kubepy.api.service import SERVICE_LABEL
from kubepy.api.types import Object
from kubepy.cli.ingress import plan_ingress
from kubepy.cli.join.grant import plan_grants
from kubepy.cli.metrics import plan_metrics
from kubepy.cli.settings import Settings
from kubepy.cli.storage import plan_storage
from kubepy.client.interface import Client

MANAGER = "kubepy-addons"


def plan_addons(settings: Settings) -> tuple[tuple[Resource, Object], ...]:
    """The objects, in the order they are applied.

    The DNS daemon runs on the host, so the `kube-dns` Service has no selector and an EndpointSlice of its own."""
    labels = {"k8s-app": "kube-dns", "kubernetes.io/name": "CoreDNS", "kubernetes.io/cluster-service": "true"}
    service: Object = {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "kube-dns", "namespace": "kube-system", "labels": labels},
        "spec": {"clusterIP": settings.dns_ip, "ports": [
            {"name": "dns", "port": 53, "protocol": "UDP", "targetPort": settings.dns_port},
            {"name": "dns-tcp", "port": 53, "protocol": "TCP", "targetPort": settings.dns_port}]},
    }
    endpoints: Object = {
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv6" if ":" in settings.address else "IPv4",
        "metadata": {"name": "kube-dns", "namespace": "kube-system", "labels": {
            SERVICE_LABEL: "kube-dns", "endpointslice.kubernetes.io/managed-by": MANAGER}},
        "endpoints": [{"addresses": [settings.address], "conditions": {"ready": True}, "nodeName": settings.node_name}],
        "ports": [{"name": "dns", "port": settings.dns_port, "protocol": "UDP"},
                  {"name": "dns-tcp", "port": settings.dns_port, "protocol": "TCP"}],
    }
    role: Object = {
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "kubepy:dns"},
        "rules": [{"apiGroups": [""], "resources": ["services", "pods", "namespaces"], "verbs": ["list", "watch"]},
                  {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]}],
    }
    binding: Object = {
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "kubepy:dns"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "kubepy:dns"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "system:kube-dns"}],
    }
    kubelet_api: Object = {
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "kubepy:kubelet-api"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:kubelet-api-admin"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "kube-apiserver-kubelet-client"}],
    }
    return ((CLUSTER_ROLES, role), (CLUSTER_ROLE_BINDINGS, binding), (CLUSTER_ROLE_BINDINGS, kubelet_api),
            *(((SERVICES, service), (ENDPOINT_SLICES, endpoints)) if settings.dns else ()), *plan_grants(settings))


async def apply_addons(client: Client, settings: Settings) -> None:
    """Applies them (server-side, by force: they are ours), so that a later version of kubepy can change them."""
    authority = await asyncio.to_thread((settings.pki_dir / "ca.crt").read_bytes)
    ingress = plan_ingress() if settings.ingress else ()
    for resource, obj in (*plan_addons(settings), *plan_metrics(settings, authority, MANAGER), *plan_storage(), *ingress):
        metadata = obj["metadata"]
        await client.patch(resource, metadata["name"], obj, metadata.get("namespace"), type="apply", field_manager=MANAGER, force=True)
