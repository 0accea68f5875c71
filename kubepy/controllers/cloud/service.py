"""Services of type LoadBalancer (`cloud-provider/controllers/service`): the provider is asked, its answer goes into the status.

Services with a loadBalancerClass are left to whoever implements that class.
"""
from __future__ import annotations

from kubepy.api.resource import NODES, SERVICES
from kubepy.api.types import Object
from kubepy.client.controller import Controller, Watch
from kubepy.client.store import split_key
from kubepy.controllers.cloud import builtin
from kubepy.controllers.cloud.provider import LoadBalancers, ProviderError
from kubepy.controllers.kit.environment import Environment

FINALIZER = "service.kubernetes.io/load-balancer-cleanup"
EXCLUDED = "node.kubernetes.io/exclude-from-external-load-balancers"
RETRY = 30.0


def wants(service: Object) -> bool:
    spec = service["spec"]
    return spec.get("type") == "LoadBalancer" and not spec.get("loadBalancerClass") and service["metadata"].get("deletionTimestamp") is None


def ingress_of(service: Object) -> list[Object]:
    return ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []


class Reconciler:
    def __init__(self, env: Environment, balancers: LoadBalancers) -> None:
        self._balancers = balancers
        self._client = env.client_for("service-controller")
        self._recorder = env.recorder("service-controller", "service-controller")
        self._services = env.informers.informer(SERVICES).lister
        self._nodes = env.informers.informer(NODES).lister

    async def reconcile(self, key: str) -> float | None:
        namespace, name = split_key(key)
        service = self._services.get(name, namespace)
        if service is None:
            return None
        finalizers = service["metadata"].get("finalizers") or []
        if not wants(service):
            if FINALIZER in finalizers and not service["spec"].get("loadBalancerClass"):
                self._recorder.event(service, "Normal", "DeletingLoadBalancer", "Deleting load balancer")
                await self._balancers.delete(service)
                await self._write(service, [item for item in finalizers if item != FINALIZER], [])
                self._recorder.event(service, "Normal", "DeletedLoadBalancer", "Deleted load balancer")
            return None
        nodes = [node for node in self._nodes.list() if EXCLUDED not in (node["metadata"].get("labels") or {})]
        try:
            ingress = await self._balancers.ensure(service, nodes, self._services.list())
        except ProviderError as error:
            self._recorder.event(service, "Warning", "SyncLoadBalancerFailed", f"Error syncing load balancer: {error}")
            return RETRY
        if ingress == ingress_of(service) and FINALIZER in finalizers:
            return None
        self._recorder.event(service, "Normal", "EnsuringLoadBalancer", "Ensuring load balancer")
        await self._write(service, finalizers if FINALIZER in finalizers else [*finalizers, FINALIZER], ingress)
        self._recorder.event(service, "Normal", "EnsuredLoadBalancer", "Ensured load balancer")
        return None

    async def _write(self, service: Object, finalizers: list[str], ingress: list[Object]) -> None:
        """Both through the status, which is all that this identity may write."""
        metadata = service["metadata"]
        await self._client.patch(SERVICES, metadata["name"], {
            "metadata": {"resourceVersion": metadata["resourceVersion"], "finalizers": finalizers or None},
            "status": {"loadBalancer": {"ingress": ingress or None}}}, metadata["namespace"], subresource="status")


def controller(env: Environment) -> Controller | None:
    balancers = builtin.provider(env.options).load_balancers
    if balancers is None:
        return None

    def matters(old: Object | None, new: Object | None) -> bool:
        return any(item["spec"].get("type") == "LoadBalancer" or FINALIZER in (item["metadata"].get("finalizers") or ())
                   for item in (old, new) if item is not None)

    return Controller("service", Reconciler(env, balancers).reconcile, (Watch(SERVICES, when=matters), Watch(NODES, keys=None)),
                      workers=env.options.concurrency("service", 1))
