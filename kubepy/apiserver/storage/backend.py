"""Where objects live: opens the stores of all resources on one key-value store, laid out as upstream lays out etcd.

    backend = Backend.etcd(["http://127.0.0.1:2379"], compaction_interval=300)
    pods = backend.store(PODS, {"spec.nodeName": lambda pod: pod.get("spec", {}).get("nodeName", "")})
    await pods.ready()
    ...
    await backend.close()
"""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from kubepy.api.resource import Resource
from kubepy.api.types import Object
from kubepy.apiserver.storage.cache import Cache
from kubepy.apiserver.storage.compaction import Compactor
from kubepy.apiserver.storage.entry import Codec
from kubepy.apiserver.storage.etcd import TLS, EtcdKV
from kubepy.apiserver.storage.kv import KV
from kubepy.apiserver.storage.lease import Leases
from kubepy.apiserver.storage.store import Store
from kubepy.apiserver.storage.transform import IDENTITY, Transformer
from kubepy.base.clock import Clock, SystemClock
from kubepy.base.task import Tasks

_PATHS = {
    ("", "nodes"): "minions",
    ("", "services"): "services/specs",
    ("", "endpoints"): "services/endpoints",
    ("", "replicationcontrollers"): "controllers",
    ("networking.k8s.io", "ingresses"): "ingress",
    ("events.k8s.io", "events"): "events",
}
_BY_GROUP = ("apiextensions.k8s.io", "apiregistration.k8s.io")
"""Groups that upstream stores under their name though they are built in."""


def path(resource: Resource, *, custom: bool = False) -> str:
    """The path beneath the prefix: the plural, with upstream's exceptions; custom resources are under their group."""
    special = _PATHS.get((resource.group, resource.plural))
    if special and not custom:
        return special
    if custom or resource.group in _BY_GROUP:
        return f"{resource.group}/{resource.plural}"
    return resource.plural


class Backend:
    """All stores of an API server."""

    def __init__(self, kv: KV, *, prefix: str = "/registry", clock: Clock | None = None,
                 transformer: Callable[[Resource], Transformer] | None = None, compaction_interval: float = 0) -> None:
        """`transformer` gives what encrypts a resource (`encryption.load`); `compaction_interval` is in seconds, 0 compacts nothing."""
        self.kv = kv
        self._prefix = "/" + prefix.strip("/")
        self._clock = clock or SystemClock()
        self._transformer = transformer or (lambda resource: IDENTITY)
        self._leases = Leases(kv, self._clock)
        self._stores: dict[str, Store] = {}
        self._tasks = Tasks("storage", self._clock)
        if compaction_interval:
            self._tasks.keep(Compactor(kv, self._clock, compaction_interval).run, "compaction")

    @classmethod
    def etcd(cls, endpoints: Sequence[str], *, tls: TLS | None = None, prefix: str = "/registry",
             transformer: Callable[[Resource], Transformer] | None = None, compaction_interval: float = 300) -> Backend:
        """On etcd, `endpoints` being URLs. Call it on the event loop."""
        return cls(EtcdKV(endpoints, tls), prefix=prefix, transformer=transformer, compaction_interval=compaction_interval)

    def store(self, resource: Resource, selectable: Mapping[str, Callable[[Object], str]] | None = None, *, custom: bool = False) -> Store:
        """The store of a resource, the same one each time; its cache begins to fill. Call it on the event loop."""
        where = path(resource, custom=custom)
        found = self._stores.get(where)
        if found is None:
            codec, transformer = Codec(selectable, namespaced=resource.namespaced), self._transformer(resource)
            cache = Cache(self.kv, f"{self._prefix}/{where}/", codec, transformer, self._clock)
            found = self._stores[where] = Store(self.kv, cache, codec, resource, self._leases, transformer)
            cache.start()
        return found

    async def drop(self, resource: Resource, *, custom: bool = True) -> None:
        """Stops serving a resource (its definition was removed); its watchers end, its objects stay."""
        store = self._stores.pop(path(resource, custom=custom), None)
        if store is not None:
            await store.stop()

    def unfilled(self) -> list[str]:
        """The resources whose caches are still being filled, for readiness checks."""
        return sorted(where for where, store in self._stores.items() if not store.cache.filled)

    async def check(self) -> None:
        """Raises `kv.Unavailable` when the store cannot serve a linearizable read (the `etcd` health check)."""
        await self.kv.check()

    async def close(self) -> None:
        await self._tasks.stop()
        for store in list(self._stores.values()):
            await store.stop()
        self._stores.clear()
        await self.kv.close()
