"""What a cluster made by `kubepy up` holds beyond what the API server bootstraps: DNS, metrics, what lets machines join, and rights."""
from __future__ import annotations

import asyncio

from kubepy.api.resource import CLUSTER_ROLE_BINDINGS, Resource
from kubepy.api.types import Object
from kubepy.cli.dns import plan_dns, withdraw
from kubepy.cli.ingress import plan_ingress
from kubepy.cli.join.grant import plan_grants
from kubepy.cli.metrics import plan_metrics
from kubepy.cli.settings import Settings
from kubepy.cli.storage import plan_storage
from kubepy.client.interface import Client

MANAGER = "kubepy-addons"


def plan_addons(settings: Settings) -> tuple[tuple[Resource, Object], ...]:
    """The objects, in the order they are applied."""
    kubelet_api: Object = {
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "kubepy:kubelet-api"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:kubelet-api-admin"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "kube-apiserver-kubelet-client"}],
    }
    return ((CLUSTER_ROLE_BINDINGS, kubelet_api), *plan_dns(settings), *plan_grants(settings))


async def apply_addons(client: Client, settings: Settings) -> None:
    """Applies them (server-side, by force: they are ours), so that a later version of kubepy can change them."""
    authority = await asyncio.to_thread((settings.pki_dir / "ca.crt").read_bytes)
    ingress = plan_ingress() if settings.ingress else ()
    for resource, obj in (*plan_addons(settings), *plan_metrics(settings, authority, MANAGER), *plan_storage(), *ingress):
        metadata = obj["metadata"]
        await client.patch(resource, metadata["name"], obj, metadata.get("namespace"), type="apply", field_manager=MANAGER, force=True)
    await withdraw(client, settings, MANAGER)
