"""Which objects a node has to do with: node → its pods → what they refer to → what that refers to.

Built from pods, persistent volumes and volume attachments alone (`plugin/pkg/auth/authorizer/node/graph.go`).
"""
from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

from kubepy.api.types import Object

Ref = tuple[str, str, str]
"""(resource, namespace, name)"""


class Graph:
    """Changes through `set_*`; `reaches` answers in constant time for what pods name themselves."""

    def __init__(self) -> None:
        self._pods: dict[tuple[str, str], tuple[str, frozenset[Ref]]] = {}
        self._nodes: defaultdict[Ref, Counter[str]] = defaultdict(Counter)
        self._volumes: dict[str, tuple[str, str]] = {}
        """PersistentVolume to its claim (namespace, name)."""
        self._volume_secrets: dict[str, frozenset[Ref]] = {}
        self._secret_volumes: defaultdict[Ref, set[str]] = defaultdict(set)
        self._attachments: dict[str, str] = {}

    def set_pod(self, namespace: str, name: str, obj: Object | None) -> None:
        key = (namespace, name)
        node, refs = self._pods.pop(key, ("", frozenset()))
        for ref in refs:
            count = self._nodes[ref]
            count[node] -= 1
            if count[node] <= 0:
                del count[node]
            if not count:
                del self._nodes[ref]
        if obj is None or not (node := obj.get("spec", {}).get("nodeName") or ""):
            return
        refs = frozenset((("pods", namespace, name), *pod_refs(obj, namespace)))
        self._pods[key] = (node, refs)
        for ref in refs:
            self._nodes[ref][node] += 1

    def pod_node(self, namespace: str, name: str) -> str:
        return self._pods.get((namespace, name), ("",))[0]

    def set_volume(self, name: str, obj: Object | None) -> None:
        self._volumes.pop(name, None)
        for ref in self._volume_secrets.pop(name, frozenset()):
            self._secret_volumes[ref].discard(name)
        if obj is None:
            return
        spec = obj.get("spec") or {}
        claim = spec.get("claimRef")
        if not claim:
            return
        self._volumes[name] = (claim.get("namespace", ""), claim.get("name", ""))
        refs = frozenset(volume_secret_refs(spec, claim.get("namespace", "")))
        self._volume_secrets[name] = refs
        for ref in refs:
            self._secret_volumes[ref].add(name)

    def set_attachment(self, name: str, obj: Object | None) -> None:
        if obj is None:
            self._attachments.pop(name, None)
        else:
            self._attachments[name] = (obj.get("spec") or {}).get("nodeName", "")

    def reaches(self, node: str, ref: Ref) -> bool:
        resource, _, name = ref
        if node in self._nodes.get(ref, ()):
            return True
        if resource == "persistentvolumes":
            claim = self._volumes.get(name)
            return claim is not None and node in self._nodes.get(("persistentvolumeclaims", *claim), ())
        if resource == "secrets":
            return any(self.reaches(node, ("persistentvolumes", "", volume)) for volume in self._secret_volumes.get(ref, ()))
        return resource == "volumeattachments" and self._attachments.get(name) == node


def pod_refs(pod: Object, namespace: str) -> Iterator[Ref]:
    """Everything in its namespace that a pod refers to."""
    spec = pod.get("spec") or {}
    if account := spec.get("serviceAccountName"):
        yield "serviceaccounts", namespace, account
    for resource, name in _spec_refs(spec):
        if name:
            yield resource, namespace, name
    statuses = {item.get("name"): item.get("resourceClaimName") for item in (pod.get("status") or {}).get("resourceClaimStatuses") or ()}
    for claim in spec.get("resourceClaims") or ():
        if name := claim.get("resourceClaimName") or statuses.get(claim.get("name")):
            yield "resourceclaims", namespace, name
    if name := ((pod.get("status") or {}).get("extendedResourceClaimStatus") or {}).get("resourceClaimName"):
        yield "resourceclaims", namespace, name
    for volume in spec.get("volumes") or ():
        if "ephemeral" in volume:
            yield "persistentvolumeclaims", namespace, f"{pod['metadata'].get('name')}-{volume.get('name')}"


def _spec_refs(spec: Object) -> Iterator[tuple[str, str | None]]:
    for secret in spec.get("imagePullSecrets") or ():
        yield "secrets", secret.get("name")
    for field in ("containers", "initContainers", "ephemeralContainers"):
        for container in spec.get(field) or ():
            for source in container.get("envFrom") or ():
                yield "secrets", (source.get("secretRef") or {}).get("name")
                yield "configmaps", (source.get("configMapRef") or {}).get("name")
            for variable in container.get("env") or ():
                value = variable.get("valueFrom") or {}
                yield "secrets", (value.get("secretKeyRef") or {}).get("name")
                yield "configmaps", (value.get("configMapKeyRef") or {}).get("name")
    for volume in spec.get("volumes") or ():
        yield from _volume_refs(volume)


def _volume_refs(volume: Object) -> Iterator[tuple[str, str | None]]:
    yield "secrets", (volume.get("secret") or {}).get("secretName")
    yield "configmaps", (volume.get("configMap") or {}).get("name")
    yield "persistentvolumeclaims", (volume.get("persistentVolumeClaim") or {}).get("claimName")
    for source in (volume.get("projected") or {}).get("sources") or ():
        yield "secrets", (source.get("secret") or {}).get("name")
        yield "configmaps", (source.get("configMap") or {}).get("name")
    yield "secrets", (volume.get("azureFile") or {}).get("secretName")
    yield "secrets", ((volume.get("csi") or {}).get("nodePublishSecretRef") or {}).get("name")
    for kind in ("cephfs", "cinder", "flexVolume", "iscsi", "rbd", "scaleIO", "storageos"):
        yield "secrets", ((volume.get(kind) or {}).get("secretRef") or {}).get("name")


_CSI_SECRETS = ("controllerPublishSecretRef", "nodePublishSecretRef", "nodeStageSecretRef", "controllerExpandSecretRef",
                "nodeExpandSecretRef")


def volume_secret_refs(spec: Object, claim_namespace: str) -> Iterable[Ref]:
    """The secrets a PersistentVolume refers to; without a namespace they are in its claim's."""
    found: list[dict[str, Any]] = [(spec.get("csi") or {}).get(field) or {} for field in _CSI_SECRETS]
    found += [(spec.get(kind) or {}).get("secretRef") or {} for kind in (
        "cephfs", "cinder", "flexVolume", "iscsi", "rbd", "scaleIO", "storageos")]
    azure = spec.get("azureFile") or {}
    found.append({"name": azure.get("secretName"), "namespace": azure.get("secretNamespace")})
    return [("secrets", item.get("namespace") or claim_namespace, item["name"]) for item in found if item.get("name")]
