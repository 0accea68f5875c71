"""The `default` service account of every namespace (`pkg/controller/serviceaccount`)."""
from __future__ import annotations

from kubepy.api.errors import AlreadyExists, ApiError
from kubepy.api.resource import NAMESPACES, SERVICE_ACCOUNTS
from kubepy.api.types import Object
from kubepy.client.controller import Controller, Watch
from kubepy.controllers.kit.environment import Environment
from kubepy.controllers.kit.pod_control import is_namespace_terminating

NAMES = ("default",)


def plan(namespace: Object | None, present: set[str]) -> list[str]:
    """The accounts to create in an active namespace."""
    if namespace is None or namespace["metadata"].get("deletionTimestamp") is not None:
        return []
    if (namespace.get("status") or {}).get("phase") == "Terminating":
        return []
    return [name for name in NAMES if name not in present]


class Reconciler:
    def __init__(self, env: Environment) -> None:
        self._client = env.client_for("service-account-controller")
        self._namespaces = env.informers.informer(NAMESPACES).lister
        self._accounts = env.informers.informer(SERVICE_ACCOUNTS).lister

    async def reconcile(self, key: str) -> float | None:
        present = {name for name in NAMES if self._accounts.get(name, key) is not None}
        for name in plan(self._namespaces.get(key), present):
            account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": key}}
            try:
                await self._client.create(SERVICE_ACCOUNTS, account)
            except AlreadyExists:
                continue
            except ApiError as error:
                if not is_namespace_terminating(error):
                    raise
        return None


def controller(env: Environment) -> Controller:
    reconciler = Reconciler(env)
    gone = Watch(SERVICE_ACCOUNTS, keys=lambda obj: (obj["metadata"]["namespace"],),
                 when=lambda old, new: new is None and old is not None and old["metadata"]["name"] in NAMES)
    return Controller("serviceaccount", reconciler.reconcile, (Watch(NAMESPACES), gone))
