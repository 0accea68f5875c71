"""ResourceClaims (`pkg/controller/resourceclaim`): made for pods from templates, and given back when no pod needs them.

For a pod that was bound to a node without the scheduler, allocated claims are reserved here.
"""
from __future__ import annotations

from collections.abc import Sequence

from kubepy.api.errors import AlreadyExists, NotFound
from kubepy.api.hash import compute
from kubepy.api.pod import is_terminal
from kubepy.api.resource import PODS, Resource
from kubepy.api.types import Object
from kubepy.client.controller import Controller, Watch
from kubepy.client.store import split_key
from kubepy.controllers.kit.adoption import owner_reference
from kubepy.controllers.kit.environment import Environment

CLAIMS = Resource("resource.k8s.io", "v1", "resourceclaims", "ResourceClaim", True)
TEMPLATES = Resource("resource.k8s.io", "v1", "resourceclaimtemplates", "ResourceClaimTemplate", True)
POD_CLAIM = "resource.kubernetes.io/pod-claim-name"
FINALIZER = "resource.kubernetes.io/delete-protection"
PREFIX_MOST = 240
RESERVED_MOST = 256
"""Consumers of one claim, a bound of the API."""


def is_done(pod: Object | None) -> bool:
    """Its containers will not run (again)."""
    return pod is None or is_terminal(pod) or (
        pod["metadata"].get("deletionTimestamp") is not None and not pod["spec"].get("nodeName"))


def owned_by(claim: Object, pod: Object) -> bool:
    return any(item.get("controller") and item["uid"] == pod["metadata"]["uid"] for item in claim["metadata"].get("ownerReferences") or ())


def claim_names(pod: Object) -> set[str]:
    """The claims that the pod names, and those that were made for it."""
    return {entry["resourceClaimName"] for entry in (*(pod["spec"].get("resourceClaims") or ()),
                                                     *((pod.get("status") or {}).get("resourceClaimStatuses") or ()))
            if entry.get("resourceClaimName")}


def _claims_of(pod: Object) -> Sequence[str]:
    """Their keys; nearly every pod has none."""
    return [f"{pod['metadata']['namespace']}/{name}" for name in claim_names(pod)] if pod["spec"].get("resourceClaims") else ()


def reserved(claim: Object, pod: Object) -> Object | None:
    """The status of an allocated claim with the (bound) pod among its consumers; None: nothing to do, or no room."""
    status = claim.get("status") or {}
    consumers = status.get("reservedFor") or []
    uid = pod["metadata"]["uid"]
    if not status.get("allocation") or len(consumers) >= RESERVED_MOST or any(item["uid"] == uid for item in consumers):
        return None
    owners = [item for item in claim["metadata"].get("ownerReferences") or () if item.get("controller") and item["kind"] == "Pod"]
    if owners and owners[0]["uid"] != uid:
        return None  # made for another pod
    return {**status, "reservedFor": [*consumers, {"resource": "pods", "name": pod["metadata"]["name"], "uid": uid}]}


def from_template(pod: Object, entry: str, template: Object) -> Object:
    """Its name looks as if the server had made it, but is the same each time: making it again after a lost answer makes no second one."""
    metadata = template["spec"].get("metadata") or {}
    prefix = f"{pod['metadata']['name']}-{entry}-"
    return {"apiVersion": CLAIMS.api_version, "kind": "ResourceClaim", "spec": template["spec"]["spec"], "metadata": {
        "name": prefix[:PREFIX_MOST] + compute([pod["metadata"]["uid"], entry]), "generateName": prefix,
        "namespace": pod["metadata"]["namespace"],
        "annotations": {**(metadata.get("annotations") or {}), POD_CLAIM: entry}, "ownerReferences": [owner_reference(pod, PODS)],
        **({"labels": metadata["labels"]} if metadata.get("labels") else {})}}


def freed(claim: Object, gone: set[str]) -> Object | None:
    """The claim's status without pods (by UID) that do not need it; without any left, its devices are free. None: nothing to do."""
    status = claim.get("status") or {}
    reserved = status.get("reservedFor") or []
    kept = [item for item in reserved if item.get("resource") != "pods" or item.get("apiGroup") or item["uid"] not in gone]
    if kept:
        return {**status, "reservedFor": kept} if len(kept) != len(reserved) else None
    unused = {key: value for key, value in status.items() if key not in ("reservedFor", "allocation", "devices")}
    return unused if unused != status and (reserved or claim["metadata"].get("deletionTimestamp") is not None) else None


class Reconciler:
    def __init__(self, env: Environment) -> None:
        self._client = env.client_for("resource-claim-controller")
        self._recorder = env.recorder("resource_claim", "resource-claim-controller")
        self._pods, self._claims = env.informers.informer(PODS).lister, env.informers.informer(CLAIMS).lister
        self._pods.add_index("resource-claim", _claims_of)
        self._templates = env.informers.informer(TEMPLATES).lister
        self._made: dict[tuple[str, str], str] = {}  # (pod's UID, entry) -> claim that the cache may not show yet

    async def reconcile(self, key: str) -> float | None:
        kind, _, rest = key.partition(":")
        namespace, name = split_key(rest)
        if kind == "pod":
            pod = self._pods.get(name, namespace)
            if pod is None or is_done(pod) or pod["metadata"].get("deletionTimestamp") is not None:
                if pod is not None:
                    self._made = {known: made for known, made in self._made.items() if known[0] != pod["metadata"]["uid"]}
                    for own in [item for item in self._claims.list(namespace) if owned_by(item, pod)]:
                        await self._sync_claim(own)  # its status may never have told of them
                return None
            return await self._sync_pod(pod)
        claim = self._claims.get(name, namespace)
        return await self._sync_claim(claim) if claim is not None else None

    async def _sync_pod(self, pod: Object) -> float | None:
        namespace, uid = pod["metadata"]["namespace"], pod["metadata"]["uid"]
        statuses = {item["name"]: item for item in (pod.get("status") or {}).get("resourceClaimStatuses") or ()}
        wanted = dict(statuses)
        for entry in pod["spec"].get("resourceClaims") or ():
            name = entry["name"]
            if not entry.get("resourceClaimTemplateName") or name in statuses:
                continue
            found = next((item["metadata"]["name"] for item in self._claims.list(namespace) if owned_by(item, pod)
                          and (item["metadata"].get("annotations") or {}).get(POD_CLAIM) == name), self._made.get((uid, name)))
            if found is None:
                template = self._templates.get(entry["resourceClaimTemplateName"], namespace)
                if template is None:
                    missing = entry["resourceClaimTemplateName"]
                    message = f'PodResourceClaim {name}: resourceclaimtemplate.resource.k8s.io "{missing}" not found'
                    self._recorder.event(pod, "Warning", "FailedResourceClaimCreation", message)
                    return 30.0
                made = await self._make(pod, name, template)
                found = self._made[uid, name] = made["metadata"]["name"]
            wanted[name] = {"name": name, "resourceClaimName": found}
        if wanted != statuses:
            await self._client.patch(PODS, pod["metadata"]["name"], {"metadata": {"uid": uid}, "status": {
                "resourceClaimStatuses": list(wanted.values())}}, namespace, type="strategic", subresource="status")
        if pod["spec"].get("nodeName"):
            await self._reserve(pod)
        return None

    async def _make(self, pod: Object, entry: str, template: Object) -> Object:
        claim = from_template(pod, entry, template)
        try:
            return await self._client.create(CLAIMS, claim)
        except AlreadyExists:
            present = await self._client.get(CLAIMS, claim["metadata"]["name"], claim["metadata"]["namespace"])
            if owned_by(present, pod):
                return present
            raise

    async def _reserve(self, pod: Object) -> None:
        for name in sorted(claim_names(pod)):
            claim = self._claims.get(name, pod["metadata"]["namespace"])
            if claim is None or claim["metadata"].get("deletionTimestamp") is not None:
                continue
            status = reserved(claim, pod)
            if status is not None:
                await self._client.update(CLAIMS, {**claim, "status": status}, subresource="status")

    async def _sync_claim(self, claim: Object) -> float | None:
        metadata = claim["metadata"]
        reserved = (claim.get("status") or {}).get("reservedFor") or []
        gone = {item["uid"] for item in reserved if item.get("resource") == "pods" and await self._is_gone(item, metadata["namespace"])}
        status = freed(claim, gone)
        if status is not None:
            claim = await self._client.update(CLAIMS, {**claim, "status": status}, subresource="status")
        if (claim.get("status") or {}).get("reservedFor"):
            return None
        owners = [item for item in metadata.get("ownerReferences") or () if item.get("controller") and item["kind"] == "Pod"]
        if owners and metadata.get("deletionTimestamp") is None:
            pod = self._pods.get(owners[0]["name"], metadata["namespace"])
            if pod is not None and pod["metadata"]["uid"] == owners[0]["uid"] and is_done(pod):
                try:
                    await self._client.delete(CLAIMS, metadata["name"], metadata["namespace"], uid=metadata["uid"])
                except NotFound:
                    return None
        finalizers = claim["metadata"].get("finalizers") or []
        if metadata.get("deletionTimestamp") is not None and FINALIZER in finalizers:
            await self._client.update(CLAIMS, {**claim, "metadata": {
                **claim["metadata"], "finalizers": [item for item in finalizers if item != FINALIZER]}})
        return None

    async def _is_gone(self, consumer: Object, namespace: str) -> bool:
        """A pod that the cache does not have may be new: devices are not taken away on its word alone."""
        pod = self._pods.get(consumer["name"], namespace)
        if pod is None or pod["metadata"]["uid"] != consumer["uid"]:
            try:
                pod = await self._client.get(PODS, consumer["name"], namespace)
            except NotFound:
                return True
        return pod["metadata"]["uid"] != consumer["uid"] or is_done(pod)

    def keys_of_pod(self, pod: Object) -> list[str]:
        metadata = pod["metadata"]
        if not pod["spec"].get("resourceClaims"):
            return []
        return [f"pod:{metadata['namespace']}/{metadata['name']}",
                *(f"claim:{metadata['namespace']}/{name}" for name in sorted(claim_names(pod)))]

    def keys_of_claim(self, claim: Object) -> list[str]:
        """The claim, and once it is allocated the pods that may have been bound before."""
        key = f"{claim['metadata']['namespace']}/{claim['metadata']['name']}"
        if not (claim.get("status") or {}).get("allocation"):
            return [f"claim:{key}"]
        return [f"claim:{key}", *(f"pod:{pod['metadata']['namespace']}/{pod['metadata']['name']}"
                                  for pod in self._pods.by_index("resource-claim", key) if pod["spec"].get("nodeName"))]

    def keys_of_template(self, template: Object) -> list[str]:
        metadata = template["metadata"]
        return [f"pod:{metadata['namespace']}/{pod['metadata']['name']}" for pod in self._pods.list(metadata["namespace"])
                if any(entry.get("resourceClaimTemplateName") == metadata["name"] for entry in pod["spec"].get("resourceClaims") or ())]


def controller(env: Environment) -> Controller:
    reconciler = Reconciler(env)
    return Controller("resource_claim", reconciler.reconcile, (
        Watch(PODS, keys=reconciler.keys_of_pod),
        Watch(CLAIMS, keys=reconciler.keys_of_claim),
        Watch(TEMPLATES, keys=reconciler.keys_of_template, when=lambda old, new: old is None)),
        workers=env.options.concurrency("resource-claim", 5))
