"""NamespaceLifecycle: nothing is created in a namespace that is missing or going, and some namespaces cannot be deleted.

Source: `k8s.io/apiserver/pkg/admission/plugin/namespace/lifecycle`.
"""
from __future__ import annotations

from kubepy.api.errors import Forbidden
from kubepy.api.resource import NAMESPACES, Resource
from kubepy.apiserver.admission.interface import Plugin, refuse
from kubepy.apiserver.request import Attributes, Operation

IMMORTAL = frozenset({"default", "kube-system", "kube-public"})


class NamespaceLifecycle(Plugin):
    name = "NamespaceLifecycle"
    mutates = True

    def applies(self, resource: Resource, subresource: str, operation: Operation) -> bool:
        if resource.group == "" and resource.plural == "namespaces":
            return operation == "DELETE"
        if resource.group == "authorization.k8s.io" and resource.plural == "localsubjectaccessreviews":
            return False
        return resource.namespaced and operation in ("CREATE", "UPDATE")

    async def admit(self, attributes: Attributes) -> None:
        if attributes.operation == "DELETE":
            if attributes.name in IMMORTAL:
                raise refuse(attributes, "this namespace may not be deleted")
            return
        namespace = attributes.namespace
        store = self.services.store(NAMESPACES)
        entry = store.cached("", namespace) or await store.get("", namespace)  # a miss may only mean that the cache lags behind
        if attributes.operation != "CREATE" or b'"deletionTimestamp"' not in entry.raw:
            return
        found = entry.decode()
        if not found["metadata"].get("deletionTimestamp") and (found.get("status") or {}).get("phase") != "Terminating":
            return
        error = refuse(attributes, f"unable to create new content in namespace {namespace} because it is being terminated")
        raise Forbidden(error.message, {**(error.details or {}), "causes": [
            {"reason": "NamespaceTerminating", "message": f"namespace {namespace} is being terminated", "field": "metadata.namespace"}]})
