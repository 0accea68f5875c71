"""A replica's identity: name, host name, labels, claims."""
from __future__ import annotations

import re

from kubepy.api.resource import STATEFUL_SETS
from kubepy.api.types import Object
from kubepy.controllers.kit.adoption import owner_reference
from kubepy.controllers.kit.pod_control import pod_from_template
from kubepy.controllers.kit.revision import HASH_LABEL

NAME_LABEL, INDEX_LABEL = "statefulset.kubernetes.io/pod-name", "apps.kubernetes.io/pod-index"
_NAME = re.compile(r"^(.*)-([0-9]+)$")


def replicas(owner: Object) -> int:
    value = owner["spec"].get("replicas")
    return 1 if value is None else int(value)


def first_ordinal(owner: Object) -> int:
    return int((owner["spec"].get("ordinals") or {}).get("start") or 0)


def ordinal(owner: Object, pod: Object) -> int | None:
    """The pod's number; None for a pod whose name is not of this set."""
    match = _NAME.match(pod["metadata"]["name"])
    return int(match[2]) if match and match[1] == owner["metadata"]["name"] else None


def claims(owner: Object, number: int) -> list[Object]:
    """The volume claims of a replica, named after the template and the pod."""
    metadata = owner["metadata"]
    labels = (owner["spec"].get("selector") or {}).get("matchLabels") or {}
    found = []
    for template in owner["spec"].get("volumeClaimTemplates") or ():
        source = template.get("metadata") or {}
        found.append({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": {**{key: source[key] for key in ("annotations",) if source.get(key)},
                         "name": f"{source['name']}-{metadata['name']}-{number}", "namespace": metadata["namespace"],
                         "labels": {**(source.get("labels") or {}), **labels}},
            "spec": template["spec"]})
    return found


def build_pod(owner: Object, template: Object, number: int, revision: str) -> Object:
    name = f"{owner['metadata']['name']}-{number}"
    pod = pod_from_template(owner, STATEFUL_SETS, template, name=name)
    metadata = pod["metadata"]
    metadata["labels"] = {**(metadata.get("labels") or {}), NAME_LABEL: name, INDEX_LABEL: str(number), HASH_LABEL: revision}
    spec = pod["spec"] = {**pod["spec"], "hostname": name, "subdomain": owner["spec"].get("serviceName") or ""}
    if not spec["subdomain"]:
        del spec["subdomain"]
    templates = [item["metadata"]["name"] for item in owner["spec"].get("volumeClaimTemplates") or ()]
    if templates:
        spec["volumes"] = [{"name": item, "persistentVolumeClaim": {"claimName": f"{item}-{name}"}} for item in templates] + [
            volume for volume in spec.get("volumes") or () if volume["name"] not in templates]
    return pod


def claim_owners(owner: Object, pod: Object | None, claim: Object, *, condemned: bool) -> list[Object] | None:
    """The claim's owner references under the retention policy; None when they are as they should be.

    whenDeleted=Delete ties claims to the set; whenScaled=Delete ties those of pods that scaling takes away to the pod."""
    policy = owner["spec"].get("persistentVolumeClaimRetentionPolicy") or {}
    metadata = owner["metadata"]
    wanted_set = policy.get("whenDeleted") == "Delete" and not (condemned and policy.get("whenScaled") == "Delete")
    wanted_pod = condemned and policy.get("whenScaled") == "Delete" and pod is not None
    current = claim["metadata"].get("ownerReferences") or []
    name = metadata["name"]
    kept = [ref for ref in current if not (ref["kind"] == "StatefulSet" and ref["name"] == name)
            and not (ref["kind"] == "Pod" and ref["name"].startswith(f"{name}-"))]
    if wanted_set:
        kept.append(_reference(owner_reference(owner, STATEFUL_SETS)))
    if wanted_pod and pod is not None:
        kept.append({"apiVersion": "v1", "kind": "Pod", "name": pod["metadata"]["name"], "uid": pod["metadata"]["uid"]})
    return kept if [_key(ref) for ref in kept] != [_key(ref) for ref in current] else None


def _reference(ref: Object) -> Object:
    return {key: ref[key] for key in ("apiVersion", "kind", "name", "uid")} | {"controller": True}


def _key(ref: Object) -> tuple[str, str, str]:
    return ref["kind"], ref["name"], ref["uid"]
