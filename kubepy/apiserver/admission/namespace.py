"""The namespace a request is in, for namespace selectors and for `namespaceObject` in expressions."""
from __future__ import annotations

from kubepy.api.resource import NAMESPACES
from kubepy.api.types import Object
from kubepy.apiserver.admission.match import is_namespace, namespace_of
from kubepy.apiserver.request import Attributes
from kubepy.apiserver.services import Services


async def namespace_object(services: Services, attributes: Attributes) -> Object | None:
    """The namespace; of a request that writes one, the object itself. None for cluster-scoped requests. Raises NotFound."""
    if is_namespace(attributes) and not attributes.subresource and attributes.operation in ("CREATE", "UPDATE"):
        return attributes.obj
    name = namespace_of(attributes)
    if not name:
        return None
    store = services.store(NAMESPACES)
    entry = store.cached("", name) or await store.get("", name)
    return entry.decode()
