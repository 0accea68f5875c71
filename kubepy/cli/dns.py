"""Cluster DNS as objects: the Service that pods ask, who may read what it answers with, and who says which nodes answer.

The daemons run on the nodes themselves, so the Service has no selector: the controller manager finds its endpoints
(`controllers.endpoint.nameserver`), and pods prefer their own node's.
"""
from __future__ import annotations

import asyncio
import contextlib

from kubepy.api.errors import ApiError, NotFound
from kubepy.api.resource import CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, ENDPOINT_SLICES, ROLE_BINDINGS, ROLES, SERVICES, Resource
from kubepy.api.service import SERVICE_LABEL
from kubepy.api.types import Object
from kubepy.cli.settings import Settings
from kubepy.client.interface import Client
from kubepy.controllers.endpoint import nameserver
from kubepy.controllers.endpoint.slice import MANAGED_BY

NAMESPACE, NAME = "kube-system", "kube-dns"
RBAC = "rbac.authorization.k8s.io"
PUBLISH_TIMEOUT = 30.0


def plan_dns(settings: Settings) -> tuple[tuple[Resource, Object], ...]:
    """In the order they are applied. Rights are given without our DNS too: they are what another daemon of ours would need."""
    reads: Object = {
        "apiVersion": f"{RBAC}/v1", "kind": "ClusterRole", "metadata": {"name": "kubepy:dns"},
        "rules": [{"apiGroups": [""], "resources": ["services", "namespaces"], "verbs": ["list", "watch"]},
                  {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]}]}
    reader: Object = {
        "apiVersion": f"{RBAC}/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "kubepy:dns"},
        "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": "kubepy:dns"},
        "subjects": [{"apiGroup": RBAC, "kind": "User", "name": "system:kube-dns"}]}
    rights = ((CLUSTER_ROLES, reads), (CLUSTER_ROLE_BINDINGS, reader))
    if not settings.dns:
        return rights
    named: Object = {"name": "kubepy:node-dns", "namespace": NAMESPACE}
    publishes: Object = {"apiVersion": f"{RBAC}/v1", "kind": "Role", "metadata": named, "rules": [
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["create", "update", "delete"]}]}
    publisher: Object = {
        "apiVersion": f"{RBAC}/v1", "kind": "RoleBinding", "metadata": named,
        "roleRef": {"apiGroup": RBAC, "kind": "Role", "name": named["name"]},
        "subjects": [{"kind": "ServiceAccount", "namespace": NAMESPACE, "name": nameserver.ACCOUNT}]}
    labels = {"k8s-app": NAME, "kubernetes.io/name": "CoreDNS", "kubernetes.io/cluster-service": "true"}
    service: Object = {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": NAME, "namespace": NAMESPACE, "labels": labels},
        "spec": {"clusterIP": settings.dns_ip, "trafficDistribution": "PreferSameNode", "ports": [
            {"name": "dns", "port": 53, "protocol": "UDP", "targetPort": settings.dns_port},
            {"name": "dns-tcp", "port": 53, "protocol": "TCP", "targetPort": settings.dns_port}]}}
    return (*rights, (ROLES, publishes), (ROLE_BINDINGS, publisher), (SERVICES, service))


async def withdraw(client: Client, settings: Settings, manager: str) -> None:
    """Takes away endpoints that earlier runs of `kubepy up` have left: an older version's own, and all of them without our DNS."""
    for piece in await _slices(client):
        owner = (piece["metadata"].get("labels") or {}).get(MANAGED_BY)
        if owner == manager or (owner == nameserver.NAME and not settings.dns):
            with contextlib.suppress(NotFound):
                await client.delete(ENDPOINT_SLICES, piece["metadata"]["name"], NAMESPACE)


async def is_published(client: Client, node: str) -> bool:
    """Waits until the node's DNS is an endpoint; whether it became one in time."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(PUBLISH_TIMEOUT):
            while True:
                with contextlib.suppress(ApiError, ConnectionError):
                    if any(endpoint.get("nodeName") == node and endpoint["conditions"].get("ready")
                           for piece in await _slices(client) for endpoint in piece.get("endpoints") or ()):
                        return True
                await asyncio.sleep(0.1)
    return False


async def _slices(client: Client) -> list[Object]:
    found = await client.list(ENDPOINT_SLICES, NAMESPACE, label_selector=f"{SERVICE_LABEL}={NAME}")
    return list(found["items"])
