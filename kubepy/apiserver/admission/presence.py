"""NamespaceAutoProvision and NamespaceExists: what becomes of a request for a namespace that is not there. Both off by default.

Source: `plugin/pkg/admission/namespace`."""
from __future__ import annotations

import contextlib
import uuid

from kubepy.api.errors import AlreadyExists, NotFound
from kubepy.api.resource import NAMESPACES, Resource
from kubepy.apiserver.admission.interface import Plugin
from kubepy.apiserver.request import Attributes, Operation
from kubepy.base.clock import format_time


class NamespaceAutoProvision(Plugin):
    """Makes the namespace that something is created in."""

    name = "NamespaceAutoProvision"
    mutates = True

    def applies(self, resource: Resource, subresource: str, operation: Operation) -> bool:
        return resource.namespaced and operation == "CREATE" and subresource == "" and not resource.group.startswith("authorization.")

    async def admit(self, attributes: Attributes) -> None:
        if attributes.context.dry_run:
            return
        store, name = self.services.store(NAMESPACES), attributes.namespace
        if store.cached("", name) is not None:
            return
        made = {"apiVersion": "v1", "kind": "Namespace", "metadata": {
            "name": name, "uid": str(uuid.uuid4()), "creationTimestamp": format_time(self.services.clock.now()),
            "labels": {"kubernetes.io/metadata.name": name}}, "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}}
        with contextlib.suppress(AlreadyExists):
            await store.create("", name, made)


class NamespaceExists(Plugin):
    """Refuses every change in a namespace that is not there."""

    name = "NamespaceExists"
    validates = True

    def applies(self, resource: Resource, subresource: str, operation: Operation) -> bool:
        return resource.namespaced and operation in ("CREATE", "UPDATE", "DELETE")

    async def admit_valid(self, attributes: Attributes) -> None:
        store, name = self.services.store(NAMESPACES), attributes.namespace
        if store.cached("", name) is None:
            try:
                await store.get("", name)
            except NotFound:
                raise NotFound.of(NAMESPACES, name) from None
