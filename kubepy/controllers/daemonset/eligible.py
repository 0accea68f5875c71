"""Which nodes a DaemonSet's pod belongs on, and the pod for a node."""
from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from kubepy.api.resource import DAEMON_SETS
from kubepy.api.scheduling import selects_node, untolerated_taint
from kubepy.api.types import Object
from kubepy.controllers.kit.pod_control import pod_from_template
from kubepy.controllers.kit.revision import HASH_LABEL

GENERATION_LABEL = "pod-template-generation"
_TOLERATED = (
    ("node.kubernetes.io/not-ready", "NoExecute"), ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"), ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"), ("node.kubernetes.io/unschedulable", "NoSchedule"),
)


class Fit(NamedTuple):
    """Whether a pod should be started on the node, and whether one that runs there may stay."""

    start: bool
    stay: bool


def tolerations(spec: Object) -> list[Object]:
    """The template's, and those that let daemons run on nodes in trouble."""
    wanted = [*_TOLERATED, *((("node.kubernetes.io/network-unavailable", "NoSchedule"),) if spec.get("hostNetwork") else ())]
    found = list(spec.get("tolerations") or ())
    for key, effect in wanted:
        added = {"key": key, "operator": "Exists", "effect": effect}
        if added not in found:
            found.append(added)
    return found


def fit(daemonset: Object, node: Object) -> Fit:
    template = daemonset["spec"]["template"]
    spec = template.get("spec") or {}
    if spec.get("nodeName") not in (None, "", node["metadata"]["name"]):
        return Fit(False, False)
    if not selects_node({"metadata": template.get("metadata") or {}, "spec": spec}, node):
        return Fit(False, False)
    taints: Sequence[Object] = (node.get("spec") or {}).get("taints") or ()
    tolerated = tolerations(spec)
    stay = untolerated_taint(taints, tolerated, ("NoExecute",)) is None
    return Fit(stay and untolerated_taint(taints, tolerated, ("NoExecute", "NoSchedule")) is None, stay)


def build_pod(daemonset: Object, node: str, hashed: str) -> Object:
    """The template's pod, tied to a node by its name: the scheduler places it there when it can."""
    pod = pod_from_template(daemonset, DAEMON_SETS, daemonset["spec"]["template"])
    spec = pod["spec"] = {**pod["spec"], "tolerations": tolerations(pod["spec"])}
    metadata = pod["metadata"]
    labels = metadata["labels"] = {**(metadata.get("labels") or {}), HASH_LABEL: hashed}
    generation = (daemonset["metadata"].get("annotations") or {}).get("deprecated.daemonset.template.generation")
    if generation:
        labels[GENERATION_LABEL] = generation
    field = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}
    affinity = spec.get("affinity") or {}
    node_affinity = affinity.get("nodeAffinity") or {}
    required = (node_affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}).get("nodeSelectorTerms")
    terms = [{**term, **field} for term in required] if required else [field]
    spec["affinity"] = {**affinity, "nodeAffinity": {
        **node_affinity, "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}
    return pod


def node_of(pod: Object) -> str:
    """The node a pod is on, or is meant for."""
    spec = pod["spec"]
    if spec.get("nodeName"):
        return str(spec["nodeName"])
    required = ((spec.get("affinity") or {}).get("nodeAffinity") or {}).get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    for term in required.get("nodeSelectorTerms") or ():
        for field in term.get("matchFields") or ():
            if field["key"] == "metadata.name" and field["operator"] == "In" and len(field["values"]) == 1:
                return str(field["values"][0])
    return ""
