"""Real stores on memory for tests of what sits above them."""
from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from typing import Any

from kubepy.api.resource import Resource
from kubepy.apiserver.registry.table import KINDS
from kubepy.apiserver.request import Attributes, Context, RequestInfo, User
from kubepy.apiserver.services import Services
from kubepy.apiserver.storage.backend import Backend
from kubepy.apiserver.storage.memory import MemoryKV
from kubepy.base.clock import Clock, SystemClock, settle

KIND_OF = {kind.resource: kind for kind in KINDS}


class MemoryStores(Mapping[Resource, Any]):
    def __init__(self) -> None:
        self.backend = Backend(MemoryKV())

    def __getitem__(self, resource: Resource) -> Any:
        return self.backend.store(resource, KIND_OF[resource].selectable)

    def __iter__(self) -> Iterator[Resource]:
        return iter(KIND_OF)

    def __len__(self) -> int:
        return len(KIND_OF)

    async def close(self) -> None:
        await self.backend.close()


async def put(stores: MemoryStores, resource: Resource, name: str, namespace: str = "", **body: Any) -> str:
    """Creates an object and waits until the cache has it; returns its uid."""
    uid = str(uuid.uuid4())
    metadata = {"name": name, "uid": uid, **body.pop("metadata", {})}
    if namespace:
        metadata["namespace"] = namespace
    store = stores[resource]
    await store.ready()
    entry = await store.create(namespace, name, {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata, **body})
    while (cached := store.cached(namespace, name)) is None or cached.revision < entry.revision:
        await settle(1)
    return uid


def services(stores: MemoryStores, clock: Clock | None = None) -> Services:
    return Services(stores, clock or SystemClock())


def attributes(resource: Resource, operation: Any, obj: Any, old: Any = None, *, user: User | None = None, namespace: str = "ns",
               name: str = "", subresource: str = "", dry_run: bool = False) -> Attributes:
    info = RequestInfo("/", operation.lower(), True, resource.group, resource.version, resource.plural, subresource, namespace, name)
    context = Context(user or User("bob", "", ("system:authenticated",)), info, KIND_OF[resource], dry_run=dry_run)
    found = name or ((obj or {}).get("metadata") or {}).get("name", "")
    return Attributes(context, operation, obj, old, {}, subresource, namespace, found)
