"""The cluster's CA bundle as ConfigMap `kube-root-ca.crt` in every namespace (`pkg/controller/certificates/rootcacertpublisher`)."""
from __future__ import annotations

from kubepy.api.errors import AlreadyExists, ApiError, NotFound
from kubepy.api.resource import CONFIGMAPS, NAMESPACES
from kubepy.api.types import Object
from kubepy.base.metrics import counter
from kubepy.client.controller import Controller, Watch
from kubepy.controllers.kit.environment import Environment
from kubepy.controllers.kit.pod_control import is_namespace_terminating

NAME = "kube-root-ca.crt"
SELECTOR = f"metadata.name={NAME}"
DESCRIPTION = "kubernetes.io/description"
TEXT = ("Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal service "
        "IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters.")
SYNCS = counter("root_ca_cert_publisher_sync_total", "Number of namespace syncs happened in root ca cert publisher.", ("code",))


def plan(root_ca: str, namespace: str, current: Object | None) -> Object | None:
    """The ConfigMap to write, or None when it is as it should be."""
    data = {"ca.crt": root_ca}
    annotations = {DESCRIPTION: TEXT}
    if current is None:
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": NAME, "namespace": namespace, "annotations": annotations},
                "data": data}
    present = current["metadata"].get("annotations") or {}
    if current.get("data") == data and present.get(DESCRIPTION):
        return None
    return {**current, "metadata": {**current["metadata"], "annotations": {**present, **annotations}}, "data": data}


class Reconciler:
    def __init__(self, env: Environment) -> None:
        self._root_ca = env.options.root_ca
        self._client = env.client_for("root-ca-cert-publisher")
        self._namespaces = env.informers.informer(NAMESPACES).lister
        self._configmaps = env.informers.informer(CONFIGMAPS, field_selector=SELECTOR).lister

    async def reconcile(self, key: str) -> float | None:
        namespace = self._namespaces.get(key)
        if namespace is None or (namespace.get("status") or {}).get("phase") == "Terminating":
            return None
        current = self._configmaps.get(NAME, key)
        wanted = plan(self._root_ca, key, current)
        if wanted is None:
            return None
        code = "200"
        try:
            await (self._client.create(CONFIGMAPS, wanted) if current is None else self._client.update(CONFIGMAPS, wanted))
        except (AlreadyExists, NotFound) as error:
            code = str(error.code)
            return 1.0
        except ApiError as error:
            code = str(error.code)
            if not is_namespace_terminating(error):
                raise
        finally:
            SYNCS.labels(code).inc()
        return None


def controller(env: Environment) -> Controller | None:
    if not env.options.root_ca:
        return None
    reconciler = Reconciler(env)
    ours = Watch(CONFIGMAPS, keys=lambda obj: (obj["metadata"]["namespace"],), field_selector=SELECTOR)
    return Controller("root-ca-cert-publisher", reconciler.reconcile, (Watch(NAMESPACES), ours))
