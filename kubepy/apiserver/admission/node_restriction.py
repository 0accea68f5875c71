"""NodeRestriction: a kubelet writes its own objects only, and cannot give its node labels that workloads are placed by.

Source: `plugin/pkg/admission/noderestriction`.
"""
from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from kubepy.api.errors import NotFound
from kubepy.api.resource import CSI_DRIVERS, NODES, PODS, SERVICE_ACCOUNTS, Resource
from kubepy.api.types import Object
from kubepy.apiserver.admission.interface import Plugin, refuse
from kubepy.apiserver.authz.graph import pod_refs
from kubepy.apiserver.authz.interface import Access
from kubepy.apiserver.authz.node import LEASE_NAMESPACE, node_name
from kubepy.apiserver.request import Attributes, Operation

_MIRROR = "kubernetes.io/config.mirror"
_LABELS = frozenset({
    "kubernetes.io/hostname", "topology.kubernetes.io/zone", "topology.kubernetes.io/region", "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region", "node.kubernetes.io/instance-type", "beta.kubernetes.io/instance-type",
    "kubernetes.io/os", "kubernetes.io/arch", "beta.kubernetes.io/os", "beta.kubernetes.io/arch"})
_LABEL_DOMAINS = ("kubelet.kubernetes.io", "node.kubernetes.io")
_REFERENCES = ("secrets", "configmaps", "persistentvolumeclaims", "resourceclaims")


class NodeRestriction(Plugin):
    name = "NodeRestriction"
    mutates = True

    def applies(self, resource: Resource, subresource: str, operation: Operation) -> bool:
        return (resource.group, resource.plural) in _RULES and operation != "CONNECT"

    async def admit(self, attributes: Attributes) -> None:
        node = node_name(attributes.context.user)
        if node is None:
            return
        if not node:
            raise refuse(attributes, f'could not determine node from user "{attributes.context.user.name}"')
        resource = attributes.context.kind.resource
        await _RULES[(resource.group, resource.plural)](self, node, attributes)

    async def _pod(self, node: str, attributes: Attributes) -> None:
        operation, subresource = attributes.operation, attributes.subresource
        if subresource == "" and operation == "CREATE":
            await self._create_pod(node, attributes)
        elif subresource == "" and operation == "DELETE":
            if await self._pod_node(attributes) != node:
                raise refuse(attributes, f'node "{node}" can only delete pods with spec.nodeName set to itself')
        elif subresource == "status" and operation == "UPDATE":
            old, new = attributes.old or {}, attributes.obj or {}
            if (old.get("spec") or {}).get("nodeName") != node:
                raise refuse(attributes, f'node "{node}" can only update pod status for pods with spec.nodeName set to itself')
            if _labels(old) != _labels(new):
                raise refuse(attributes, f'node "{node}" cannot update labels through pod status')
        elif subresource == "eviction" and operation == "CREATE":
            if await self._pod_node(attributes) != node:
                raise refuse(attributes, f"node {node} can only evict pods with spec.nodeName set to itself")
        elif subresource == "":
            raise refuse(attributes, f'unexpected operation "{operation}", node "{node}" can only create and delete mirror pods')
        else:
            raise refuse(attributes, f'unexpected pod subresource "{subresource}", only "status" and "eviction" are allowed')

    async def _pod_node(self, attributes: Attributes) -> str:
        store = self.services.store(PODS)
        entry = store.cached(attributes.namespace, attributes.name) or await store.get(attributes.namespace, attributes.name)
        return str((entry.decode().get("spec") or {}).get("nodeName") or "")

    async def _create_pod(self, node: str, attributes: Attributes) -> None:
        pod = attributes.obj or {}
        metadata, spec = pod.get("metadata") or {}, pod.get("spec") or {}
        if _MIRROR not in (metadata.get("annotations") or {}):
            raise refuse(attributes, f'pod does not have "{_MIRROR}" annotation, node "{node}" can only create mirror pods')
        if spec.get("nodeName") != node:
            raise refuse(attributes, f'node "{node}" can only create pods with spec.nodeName set to itself')
        owners = metadata.get("ownerReferences") or []
        if len(owners) > 1:
            raise refuse(attributes, f'node "{node}" can only create pods with a single owner reference set to itself')
        if not owners or (owners[0].get("apiVersion"), owners[0].get("kind"), owners[0].get("name")) != ("v1", "Node", node):
            raise refuse(attributes, f'node "{node}" can only create pods with an owner reference set to itself')
        owner = owners[0]
        if not owner.get("controller"):
            raise refuse(attributes, f'node "{node}" can only create pods with a controller owner reference set to itself')
        if owner.get("blockOwnerDeletion"):
            raise refuse(attributes, f'node "{node}" must not set blockOwnerDeletion on an owner reference')
        store = self.services.store(NODES)
        entry = store.cached("", node) or await store.get("", node)
        if entry.uid != owner.get("uid"):
            raise refuse(attributes, f"node {node} UID mismatch: expected {owner.get('uid', '')} got {entry.uid}")
        if spec.get("serviceAccountName"):
            raise refuse(attributes, f'node "{node}" can not create pods that reference serviceaccounts')
        referred = {resource for resource, _, _ in pod_refs(pod, attributes.namespace)}
        for resource in _REFERENCES:
            if resource in referred:
                raise refuse(attributes, f'node "{node}" can not create pods that reference {resource}')

    async def _node(self, node: str, attributes: Attributes) -> None:
        obj, old = attributes.obj or {}, attributes.old or {}
        requested = attributes.name
        if attributes.operation == "CREATE" and attributes.subresource == "":
            requested = (obj.get("metadata") or {}).get("name") or ""
            if (obj.get("spec") or {}).get("configSource") is not None:
                raise refuse(attributes, f'node "{node}" is not allowed to create pods with a non-nil configSource')
            if forbidden := [label for label in sorted(_labels(obj)) if not may_set(label)]:
                raise refuse(attributes, f'node "{node}" is not allowed to set the following labels: {", ".join(forbidden)}')
        if requested != node:
            raise refuse(attributes, f'node "{node}" is not allowed to modify node "{requested}"')
        if attributes.operation != "UPDATE":
            return
        spec, before = obj.get("spec") or {}, old.get("spec") or {}
        if spec.get("configSource") is not None and spec.get("configSource") != before.get("configSource"):
            raise refuse(attributes, f'node "{node}" is not allowed to update configSource to a new non-nil configSource')
        if (spec.get("taints") or []) != (before.get("taints") or []):
            raise refuse(attributes, f'node "{node}" is not allowed to modify taints')
        if forbidden := [label for label in sorted(_changed(_labels(old), _labels(obj))) if not may_set(label)]:
            raise refuse(attributes, f"is not allowed to modify labels: {', '.join(forbidden)}")
        if (obj["metadata"].get("ownerReferences") or []) != (old["metadata"].get("ownerReferences") or []):
            raise refuse(attributes, f'node "{node}" is not allowed to modify ownerReferences')

    async def _claim(self, node: str, attributes: Attributes) -> None:
        if attributes.subresource != "status" or attributes.operation != "UPDATE":
            raise refuse(attributes, f'unexpected operation "{attributes.operation}" on claims, node "{node}" can only update their status')
        if _without_sizes(attributes.obj or {}) != _without_sizes(attributes.old or {}):
            raise refuse(attributes, f'node "{node}" is not allowed to update fields other than status.quantity and status.conditions')

    async def _service_account(self, node: str, attributes: Attributes) -> None:
        if attributes.subresource != "token" or attributes.operation != "CREATE":
            return
        spec = (attributes.obj or {}).get("spec") or {}
        reference = spec.get("boundObjectRef") or {}
        if (reference.get("apiVersion"), reference.get("kind")) != ("v1", "Pod") or not reference.get("name"):
            raise refuse(attributes, "node requested token not bound to a pod")
        if not reference.get("uid"):
            raise refuse(attributes, "node requested token with a pod binding without a uid")
        store = self.services.store(PODS)
        entry = store.cached(attributes.namespace, reference["name"]) or await store.get(attributes.namespace, reference["name"])
        if entry.uid != reference["uid"]:
            raise refuse(attributes, f"the UID in the bound object reference ({reference['uid']}) does not match the UID in record. "
                                     "The object might have been deleted and then recreated")
        pod = entry.decode()
        if pod["spec"].get("nodeName") != node:
            raise refuse(attributes, "node requested token bound to a pod scheduled on a different node")
        audiences = spec.get("audiences") or []
        if len(audiences) > 1:
            raise refuse(attributes, "node may only request 0 or 1 audiences")
        wanted = audiences[0] if audiences else ""
        if wanted not in await self._pod_audiences(pod) and not await self._may_request(attributes, wanted):
            raise refuse(attributes, f'audience "{wanted}" not found in pod spec volume')

    async def _may_request(self, attributes: Attributes, audience: str) -> bool:
        """Somebody has allowed nodes to ask for it, for their plugins: the audience is the resource, the service account its name."""
        if not audience or self.services.authorizer is None:
            return False
        access = Access(attributes.context.user, "request-serviceaccounts-token-audience", "", "v1", audience, "", attributes.namespace,
                        name=attributes.name)
        return (await self.services.authorizer.authorize(access)).allowed

    async def _pod_audiences(self, pod: Object) -> set[str]:
        """The audiences that the pod's own volumes ask tokens for."""
        found: set[str] = set()
        for volume in pod["spec"].get("volumes") or ():
            for source in (volume.get("projected") or {}).get("sources") or ():
                if "serviceAccountToken" in source:
                    found.add((source["serviceAccountToken"] or {}).get("audience") or "")
            if driver := (volume.get("csi") or {}).get("driver"):
                try:
                    entry = await self.services.store(CSI_DRIVERS).get("", driver, resource_version="0")
                except NotFound:
                    continue
                found |= {request.get("audience") or "" for request in entry.decode()["spec"].get("tokenRequests") or ()}
        return found

    async def _lease(self, node: str, attributes: Attributes) -> None:
        if attributes.namespace != LEASE_NAMESPACE:
            raise refuse(attributes, f'can only access leases in the "{LEASE_NAMESPACE}" system namespace')
        if _name(attributes) != node:
            raise refuse(attributes, "can only access node lease with the same name as the requesting node")

    async def _csi_node(self, node: str, attributes: Attributes) -> None:
        if _name(attributes) != node:
            raise refuse(attributes, "can only access CSINode with the same name as the requesting node")

    async def _certificate_request(self, node: str, attributes: Attributes) -> None:
        """Kubelets ask for certificates of the pods that run on their node, as these are."""
        if attributes.operation != "CREATE" or attributes.subresource:
            return
        spec = (attributes.obj or {}).get("spec") or {}
        if spec.get("nodeName") != node:
            raise refuse(attributes, f'PodCertificateRequest.Spec.NodeName="{spec.get("nodeName", "")}", which is not the requesting node '
                                     f'"{node}"')
        pod = await self._live(PODS, attributes.namespace, spec.get("podName", ""))
        if pod is None:
            raise refuse(attributes, f'pod named "{spec.get("podName", "")}" not found')
        metadata, wanted = pod["metadata"], pod.get("spec") or {}
        if metadata["uid"] != spec.get("podUID"):
            raise refuse(attributes, f'PodCertificateRequest.Spec.PodUID="{spec.get("podUID", "")}" does not match the UID of the pod, '
                                     f'"{metadata["uid"]}"')
        if wanted.get("nodeName") != node:
            raise refuse(attributes, f'pod is scheduled on node "{wanted.get("nodeName", "")}", not on the requesting node "{node}"')
        if _MIRROR in (metadata.get("annotations") or {}):
            raise refuse(attributes, "pod is a mirror pod")
        for resource, namespace, name, expected, kind in (
                (NODES, "", node, spec.get("nodeUID"), "NodeUID"),
                (SERVICE_ACCOUNTS, attributes.namespace, wanted.get("serviceAccountName", ""), spec.get("serviceAccountUID"),
                 "ServiceAccountUID")):
            found = await self._live(resource, namespace, name)
            if found is None or found["metadata"]["uid"] != expected:
                raise refuse(attributes, f'PodCertificateRequest.Spec.{kind}="{expected or ""}" does not match the UID of {name}')
        if wanted.get("serviceAccountName") != spec.get("serviceAccountName"):
            raise refuse(attributes, f'PodCertificateRequest.Spec.ServiceAccountName="{spec.get("serviceAccountName", "")}" is not the '
                                     "service account of the pod")

    async def _live(self, resource: Resource, namespace: str, name: str) -> Object | None:
        """As it is now, for decisions that a cache behind its time must not make."""
        try:
            return (await self.services.store(resource).get(namespace, name)).decode()
        except NotFound:
            return None

    async def _resource_slice(self, node: str, attributes: Attributes) -> None:
        obj = attributes.obj if attributes.operation == "CREATE" else attributes.old
        if obj is not None and (obj.get("spec") or {}).get("nodeName") != node:
            verb = "create" if attributes.operation == "CREATE" else "access"
            raise refuse(attributes, f"can only {verb} ResourceSlice with the same NodeName as the requesting node")


_RULES: dict[tuple[str, str], Callable[[NodeRestriction, str, Attributes], Awaitable[None]]] = {
    ("", "pods"): NodeRestriction._pod,
    ("", "nodes"): NodeRestriction._node,
    ("", "persistentvolumeclaims"): NodeRestriction._claim,
    ("", "serviceaccounts"): NodeRestriction._service_account,
    ("coordination.k8s.io", "leases"): NodeRestriction._lease,
    ("storage.k8s.io", "csinodes"): NodeRestriction._csi_node,
    ("resource.k8s.io", "resourceslices"): NodeRestriction._resource_slice,
    ("certificates.k8s.io", "podcertificaterequests"): NodeRestriction._certificate_request,
}


def may_set(label: str) -> bool:
    """Whether a kubelet may set a label of its node: all but those of Kubernetes' domains that are not meant for it."""
    domain, slash, _ = label.partition("/")
    if not slash or not (domain in ("kubernetes.io", "k8s.io") or domain.endswith((".kubernetes.io", ".k8s.io"))):
        return True
    return label in _LABELS or any(domain == known or domain.endswith(f".{known}") for known in _LABEL_DOMAINS)


def _labels(obj: Object) -> Mapping[str, Any]:
    return (obj.get("metadata") or {}).get("labels") or {}


def _changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> set[str]:
    return {key for key in {*before, *after} if before.get(key) != after.get(key)}


def _name(attributes: Attributes) -> str:
    if attributes.operation == "CREATE":
        return str(((attributes.obj or {}).get("metadata") or {}).get("name") or "")
    return attributes.name


def _without_sizes(claim: Object) -> Object:
    status = {key: value for key, value in (claim.get("status") or {}).items()
              if key not in ("capacity", "conditions", "allocatedResources", "allocatedResourceStatuses")}
    metadata = {key: value for key, value in (claim.get("metadata") or {}).items() if key not in ("managedFields", "resourceVersion")}
    return {**claim, "metadata": metadata, "status": status}
