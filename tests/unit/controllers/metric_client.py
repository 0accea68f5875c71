"""A memory API with the scale subresource and metrics, for tests of autoscaling."""
from __future__ import annotations

import orjson

from kubepy.api.errors import Forbidden, NotFound
from kubepy.api.resource import PODS, Resource
from kubepy.api.types import Object
from kubepy.base.clock import VirtualClock, format_time
from kubepy.client.memory import MemoryClient


class MetricsClient(MemoryClient):
    """Serves scales, discovery of apps/v1, and CPU use of every pod."""

    cpu = 0
    broken = False
    selector = "app=web"
    refuse_scale = False

    def __init__(self, clock: VirtualClock | None = None) -> None:
        super().__init__(clock or VirtualClock())
        self.values: dict[str, int] = {}
        """Values of custom and external metrics by the last part of their path."""

    async def get(self, resource: Resource, name: str, namespace: str | None = None, *, subresource: str | None = None) -> Object:
        found = await super().get(resource, name, namespace)
        if subresource != "scale":
            return found
        return {"apiVersion": "autoscaling/v1", "kind": "Scale",
                "metadata": {"name": name, "namespace": namespace, "resourceVersion": found["metadata"]["resourceVersion"]},
                "spec": {"replicas": found["spec"]["replicas"]},
                "status": {"replicas": len(self.all(PODS)), "selector": self.selector}}

    async def update(self, resource: Resource, obj: Object, *, subresource: str | None = None) -> Object:
        if subresource != "scale":
            return await super().update(resource, obj, subresource=subresource)
        metadata = obj["metadata"]
        if self.refuse_scale:
            raise Forbidden("not allowed")
        return await self.patch(resource, metadata["name"], {
            "metadata": {"resourceVersion": metadata["resourceVersion"]}, "spec": {"replicas": obj["spec"]["replicas"]}},
            metadata["namespace"])

    async def raw(self, method: str, path: str, body: bytes | None = None, *, headers: dict[str, str] | None = None) -> bytes:
        if path == "/apis/apps":
            return orjson.dumps({"versions": [{"version": "v1"}], "preferredVersion": {"version": "v1"}})
        if path == "/apis/apps/v1":
            return orjson.dumps({"resources": [{"name": f"{kind.lower()}s", "kind": kind, "namespaced": True}
                                               for kind in ("Deployment", "ReplicaSet")]})
        if self.broken:
            raise NotFound("the server could not find the requested resource")
        if path == "/apis":
            raise NotFound("the server could not find the requested resource")
        if path == "/api/v1":
            return orjson.dumps({"resources": [{"name": "services", "kind": "Service", "namespaced": True}]})
        if path == "/apis/custom.metrics.k8s.io":
            return orjson.dumps({"versions": [{"version": "v1beta2"}]})
        if path.startswith(("/apis/custom", "/apis/external", "/apis/example.com")):
            name = path.partition("?")[0].rpartition("/")[2]
            if name not in self.values:
                raise NotFound("the server could not find the requested resource")
            about = [item["metadata"]["name"] for item in self.all(PODS)] if "/pods/" in path else ["about"]
            return orjson.dumps({"items": [{"describedObject": {"name": item}, "value": f"{self.values[name]}m",
                                            "timestamp": format_time(self._clock.now())} for item in about]})
        return orjson.dumps({"items": [
            {"metadata": {"name": item["metadata"]["name"]}, "timestamp": format_time(self._clock.now()), "window": "15s",
             "containers": [{"name": "c", "usage": {"cpu": f"{self.cpu}m"}}]}
            for item in self.all(PODS) if item["status"]["phase"] == "Running"]})
