"""A replica's identity: name, host name, labels, claims."""
from __future__ import annotations

import re

from kubepy.api.resource import PODS, STATEFUL_SETS
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

    whenDeleted=Delete ties claims to the set; whenScaled=Delete ties those of pods that scaling takes away to the pod.
    A claim that another controls is tied to neither."""
    policy = owner["spec"].get("persistentVolumeClaimRetentionPolicy") or {}
    current = claim["metadata"].get("ownerReferences") or []
    if has_other_controller(owner, pod, claim):
        ours = _uids(owner, pod)
        kept = [ref for ref in current if ref["uid"] not in ours]
    else:
        kept = [ref for ref in current if not (_is_to(ref, "StatefulSet", owner) or _is_to(ref, "Pod", pod))]
        if condemned and pod is not None and policy.get("whenScaled") == "Delete":
            kept.append(owner_reference(pod, PODS))
        elif policy.get("whenDeleted") == "Delete":
            kept.append(owner_reference(owner, STATEFUL_SETS))
    return kept if sorted(map(_key, kept)) != sorted(map(_key, current)) else None


def has_other_controller(owner: Object, pod: Object | None, claim: Object) -> bool:
    """Whether a retention policy that ties claims would meet another's tie: one to a former set or pod of this name is such, too."""
    policy = owner["spec"].get("persistentVolumeClaimRetentionPolicy") or {}
    if "Delete" not in (policy.get("whenScaled"), policy.get("whenDeleted")):
        return False
    for ref in claim["metadata"].get("ownerReferences") or ():
        if ref["uid"] in _uids(owner, pod):
            continue
        if ref.get("controller") or _is_to(ref, "StatefulSet", owner) or _is_to(ref, "Pod", pod):
            return True
    return False


def _uids(owner: Object, pod: Object | None) -> tuple[str, ...]:
    return tuple(item["metadata"].get("uid", "") for item in (owner, pod) if item is not None)


def _is_to(ref: Object, kind: str, obj: Object | None) -> bool:
    return bool(obj is not None and ref["kind"] == kind and ref["name"] == obj["metadata"]["name"])


def _key(ref: Object) -> tuple[str, str, str, bool]:
    return ref["kind"], ref["name"], ref["uid"], bool(ref.get("controller"))
