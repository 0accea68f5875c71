"""Claims for pods' generic ephemeral volumes (`pkg/controller/volume/ephemeral`): made from the template, owned by the pod."""
from __future__ import annotations

from kubepy.api.errors import AlreadyExists
from kubepy.api.resource import PERSISTENT_VOLUME_CLAIMS, PODS
from kubepy.api.types import Object
from kubepy.base.log import get_logger
from kubepy.base.metrics import counter
from kubepy.client.controller import Controller, Watch
from kubepy.client.store import split_key
from kubepy.controllers.kit.adoption import owner_reference
from kubepy.controllers.kit.environment import Environment

ATTEMPTS = counter("ephemeral_volume_controller_create_total", "Number of PersistenVolumeClaims creation requests")
FAILURES = counter("ephemeral_volume_controller_create_failures_total", "Number of PersistenVolumeClaims creation requests")
log = get_logger("ephemeral_volume")


def claim_for(pod: Object, volume: Object) -> Object:
    metadata, template = pod["metadata"], volume["ephemeral"]["volumeClaimTemplate"]
    source = template.get("metadata") or {}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "spec": template["spec"], "metadata": {
        "name": f"{metadata['name']}-{volume['name']}", "namespace": metadata["namespace"], "ownerReferences": [owner_reference(pod, PODS)],
        **{key: source[key] for key in ("labels", "annotations") if source.get(key)}}}


def is_for_pod(claim: Object, pod: Object) -> bool:
    return any(item.get("controller") and item["uid"] == pod["metadata"]["uid"] for item in claim["metadata"].get("ownerReferences") or ())


def controller(env: Environment) -> Controller:
    client = env.client_for("ephemeral-volume-controller")
    recorder = env.recorder("ephemeral_volume", "ephemeral-volume-controller")
    pods = env.informers.informer(PODS).lister
    claims = env.informers.informer(PERSISTENT_VOLUME_CLAIMS).lister

    async def reconcile(key: str) -> float | None:
        namespace, name = split_key(key)
        pod = pods.get(name, namespace)
        if pod is None or pod["metadata"].get("deletionTimestamp") is not None:
            return None
        for volume in pod["spec"].get("volumes") or ():
            if not volume.get("ephemeral"):
                continue
            wanted = claim_for(pod, volume)
            claim_name = wanted["metadata"]["name"]
            found = claims.get(claim_name, namespace)
            if found is None:
                try:
                    ATTEMPTS.inc()
                    await client.create(PERSISTENT_VOLUME_CLAIMS, wanted)
                    continue
                except AlreadyExists:
                    FAILURES.inc()
                    found = await client.get(PERSISTENT_VOLUME_CLAIMS, claim_name, namespace)
            if not is_for_pod(found, pod):
                message = f"PVC {namespace}/{claim_name} was not created for pod {namespace}/{name} (pod is not owner)"
                recorder.event(pod, "Warning", "FailedBinding", message)
                log.warning("A claim of that name is someone else's", pod=key, claim=claim_name)
                return 60.0
        return None

    def has_ephemeral(old: Object | None, new: Object | None) -> bool:
        return new is not None and old is None and any(volume.get("ephemeral") for volume in new["spec"].get("volumes") or ())

    def owner(claim: Object) -> tuple[str, ...]:
        return tuple(f"{claim['metadata']['namespace']}/{item['name']}" for item in claim["metadata"].get("ownerReferences") or ()
                     if item.get("controller") and item["kind"] == "Pod")

    def gone(old: Object | None, new: Object | None) -> bool:
        return new is None

    return Controller("ephemeral_volume", reconcile, (
        Watch(PODS, when=has_ephemeral), Watch(PERSISTENT_VOLUME_CLAIMS, keys=owner, when=gone),
    ), workers=env.options.concurrency("ephemeralvolume", 5))
