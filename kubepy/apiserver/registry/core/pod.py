"""Pod: the smallest thing that is scheduled and run.

Follows `pkg/registry/core/pod`: a new pod is Pending with its QoS class, a gated one says so in a condition, matchLabelKeys become part of
selectors; updates may touch little of the spec (`pod_update`), deletion is graceful once the pod is bound.
"""
from __future__ import annotations

from hashlib import blake2b

import orjson

from kubepy.api import field
from kubepy.api.field import Errors
from kubepy.api.resource import PODS
from kubepy.api.types import Object
from kubepy.apiserver.registry.columns import AGE, NAME, at, column
from kubepy.apiserver.registry.core import pod_update
from kubepy.apiserver.registry.core.pod_columns import READINESS_GATES, ready, restarts, status
from kubepy.apiserver.registry.core.pod_qos import qos_class
from kubepy.apiserver.registry.core.podspec_defaults import (
    containers_of,
    default_host_ports,
    default_pod_spec,
    default_requests,
    round_to_milli,
)
from kubepy.apiserver.registry.core.podspec_validation import pod_spec
from kubepy.apiserver.registry.core.podspec_warnings import pod_warnings
from kubepy.apiserver.registry.kind import STATUS, Column, Kind, Strategy, Subresource
from kubepy.apiserver.registry.moment import now_text
from kubepy.apiserver.request import Context

_GATED = {"type": "PodScheduled", "status": "False", "reason": "SchedulingGated", "lastProbeTime": None,
          "message": "Scheduling is blocked due to non-empty scheduling gates"}


class PodStrategy(Strategy):
    pod_spec = ("spec",)
    updates_whole = True
    has_status = True
    tracks_generation = True
    returns_deleted = True

    def fill(self, obj: Object) -> None:
        spec = obj.setdefault("spec", {})
        spec.setdefault("enableServiceLinks", True)
        default_pod_spec(spec)
        default_host_ports(spec)
        for container in containers_of(spec, "containers", "initContainers"):
            default_requests(container.get("resources") or {})
        _default_pod_level(spec)
        if spec.get("overhead"):
            round_to_milli(spec["overhead"])
        current = obj.get("status") or {}
        addresses = current.get("podIPs") or []
        if current.get("podIP") and (not addresses or addresses[0].get("ip") != current["podIP"]):  # who writes the one means it
            current["podIPs"] = [{"ip": current["podIP"]}]
        elif addresses and not current.get("podIP"):
            current["podIP"] = addresses[0].get("ip", "")
        if current.get("hostIP") and not current.get("hostIPs"):
            current["hostIPs"] = [{"ip": current["hostIP"]}]

    def prepare_create(self, context: Context, obj: Object) -> None:
        spec = obj["spec"]
        obj["status"] = {"phase": "Pending", "qosClass": qos_class(spec)}
        if spec.get("schedulingGates"):
            obj["status"]["conditions"] = [{**_GATED, "lastTransitionTime": now_text()}]
        _merge_label_keys(spec, (obj.get("metadata") or {}).get("labels") or {})

    def prepare_update(self, context: Context, obj: Object, old: Object) -> None:
        obj["status"] = old.get("status") or {}

    def prepare_status(self, context: Context, obj: Object, old: Object) -> None:
        obj["spec"] = old.get("spec") or {}
        metadata, old_metadata = obj["metadata"], old["metadata"]
        metadata.pop("deletionTimestamp", None)
        if "deletionTimestamp" in old_metadata:
            metadata["deletionTimestamp"] = old_metadata["deletionTimestamp"]
        metadata.pop("ownerReferences", None)
        if old_metadata.get("ownerReferences"):
            metadata["ownerReferences"] = old_metadata["ownerReferences"]
        status, before = obj.setdefault("status", {}), old.get("status") or {}
        _keep(status, before, "qosClass", "observedGeneration")
        known = {condition.get("type"): condition for condition in before.get("conditions") or ()}
        for condition in status.get("conditions") or ():
            _keep(condition, known.get(condition.get("type"), {}), "observedGeneration")

    def validate(self, context: Context, obj: Object) -> Errors:
        spec = obj.get("spec") or {}
        errors = self._valid(obj)
        if spec.get("ephemeralContainers"):
            errors.append(field.forbidden(pod_update.SPEC.child("ephemeralContainers"), "cannot be set on create"))
        if spec.get("schedulingGates") and spec.get("nodeName"):
            errors.append(field.forbidden(pod_update.SPEC.child("nodeName"), "cannot be set until all schedulingGates have been cleared"))
        return errors

    def validate_update(self, context: Context, obj: Object, old: Object) -> Errors:
        return self._valid(obj) + pod_update.spec_update(obj, old)

    def validate_status(self, context: Context, obj: Object, old: Object) -> Errors:
        return pod_update.status_update(obj, old)

    def warnings(self, context: Context, obj: Object, old: Object | None) -> list[str]:
        return pod_warnings(obj) if old is None else []

    def grace_period(self, context: Context, obj: Object, options: Object) -> int:
        """Unbound and finished pods go at once."""
        spec = obj.get("spec") or {}
        if not spec.get("nodeName") or at(obj, "status.phase") in ("Failed", "Succeeded"):
            return 0
        seconds = options.get("gracePeriodSeconds")
        if seconds is None:
            seconds = spec.get("terminationGracePeriodSeconds", 30)
        return 1 if seconds < 0 else int(seconds)

    def _valid(self, obj: Object) -> Errors:
        """Specs found valid are remembered by their bytes: most updates of a pod leave its spec alone."""
        metadata = obj.get("metadata") or {}
        spec = obj.get("spec") or {}
        # Generic ephemeral volumes make claims named after the pod, so that its name counts.
        named = any("ephemeral" in volume for volume in spec.get("volumes") or ())
        key = _digest(spec, metadata.get("name") or "" if named else "")
        if key in _valid_specs:
            return []
        errors = pod_spec(spec, pod_update.SPEC, metadata.get("name") or "") + _padded_images(spec)
        if not errors and key:
            if len(_valid_specs) >= _MAX_VALID:
                _valid_specs.clear()
            _valid_specs.add(key)
        return errors


_valid_specs: set[bytes] = set()
_MAX_VALID = 4096


def _digest(spec: Object, name: str) -> bytes:
    """What identifies a spec; empty for one that has no JSON."""
    try:
        return blake2b(orjson.dumps(spec) + name.encode(), digest_size=16).digest()
    except TypeError:
        return b""


def _keep(status: Object, before: Object, *keys: str) -> None:
    """What a writer does not know of is not lost."""
    for key in keys:
        if not status.get(key) and before.get(key):
            status[key] = before[key]


def _padded_images(spec: Object) -> Errors:
    """Only pods are refused such images, templates are not."""
    return [field.invalid(pod_update.SPEC.child(key).index(position).child("image"), container["image"],
                          "must not have leading or trailing whitespace")
            for key in ("initContainers", "containers") for position, container in enumerate(spec.get(key) or ())
            if container.get("image", "") != container.get("image", "").strip()]


class EphemeralContainersStrategy(PodStrategy):
    """`pods/ephemeralcontainers`: containers may be added, nothing else changes."""

    def prepare_update(self, context: Context, obj: Object, old: Object) -> None:
        added = (obj.get("spec") or {}).get("ephemeralContainers")
        obj["spec"] = {**(old.get("spec") or {})}
        if added:
            obj["spec"]["ephemeralContainers"] = added
        else:
            obj["spec"].pop("ephemeralContainers", None)
        obj["status"] = old.get("status") or {}

    def validate_update(self, context: Context, obj: Object, old: Object) -> Errors:
        return self._valid(obj) + pod_update.ephemeral_update(obj, old)

    def warnings(self, context: Context, obj: Object, old: Object | None) -> list[str]:
        return []


class ResizeStrategy(PodStrategy):
    """`pods/resize`: resources and resize policies of containers change, nothing else."""

    def prepare_update(self, context: Context, obj: Object, old: Object) -> None:
        old_spec, wanted = old.get("spec") or {}, obj.get("spec") or {}
        spec = {**old_spec}
        for key in ("containers", "initContainers"):
            new = {container.get("name"): container for container in wanted.get(key) or ()}
            if old_spec.get(key) and [c.get("name") for c in wanted.get(key) or ()] == [c.get("name") for c in old_spec[key]]:
                spec[key] = [_with(container, new[container.get("name")], "resources", "resizePolicy") for container in old_spec[key]]
            elif wanted.get(key):
                spec[key] = wanted[key]
        obj["spec"] = spec
        obj["status"] = old.get("status") or {}

    def validate_update(self, context: Context, obj: Object, old: Object) -> Errors:
        errors = self._valid(obj)
        if qos_class(obj["spec"]) != at(old, "status.qosClass", qos_class(old.get("spec") or {})):
            errors.append(field.invalid(pod_update.SPEC, qos_class(obj["spec"]), "Pod QOS Class may not change as a result of resizing"))
        if len(obj["spec"].get("containers") or ()) != len((old.get("spec") or {}).get("containers") or ()):
            errors.append(field.forbidden(pod_update.SPEC.child("containers"), "pod resize may not add or remove containers"))
        return errors


def _with(container: Object, other: Object, *keys: str) -> Object:
    changed = {**container}
    for key in keys:
        changed.pop(key, None)
        if key in other:
            changed[key] = other[key]
    return changed


def _default_pod_level(spec: Object) -> None:
    """Requests of the pod itself: what its containers ask for, else its limit."""
    resources = spec.get("resources")
    if not resources:
        return
    for key in ("limits", "requests"):
        if resources.get(key):
            round_to_milli(resources[key])
    for resource, limit in (resources.get("limits") or {}).items():
        requests = resources.setdefault("requests", {})
        if resource in requests or not (resource in ("cpu", "memory") or resource.startswith("hugepages-")):
            continue
        asked = any(resource in ((container.get("resources") or {}).get("requests") or {})
                    for container in containers_of(spec, "containers", "initContainers"))
        if not asked:
            requests[resource] = limit


def _merge_label_keys(spec: Object, labels: Object) -> None:
    """matchLabelKeys and mismatchLabelKeys become expressions of the selectors beside them."""
    affinity = spec.get("affinity") or {}
    for key in ("podAffinity", "podAntiAffinity"):
        terms = affinity.get(key) or {}
        for term in terms.get("requiredDuringSchedulingIgnoredDuringExecution") or ():
            _add_expressions(term, labels)
        for term in terms.get("preferredDuringSchedulingIgnoredDuringExecution") or ():
            _add_expressions(term.get("podAffinityTerm") or {}, labels)
    for constraint in spec.get("topologySpreadConstraints") or ():
        _add_expressions(constraint, labels)


def _add_expressions(term: Object, labels: Object) -> None:
    selector = term.get("labelSelector")
    if selector is None:
        return
    for keys, operator in (("matchLabelKeys", "In"), ("mismatchLabelKeys", "NotIn")):
        for label in term.get(keys) or ():
            if label in labels:
                selector.setdefault("matchExpressions", []).append({"key": label, "operator": operator, "values": [labels[label]]})


def _host_network(obj: Object) -> str:
    return "true" if at(obj, "spec.hostNetwork") else "false"


def _or_none(path: str) -> Column:
    titles = {"spec.nodeName": "Node", "status.nominatedNodeName": "Nominated Node"}
    document = {"spec.nodeName": "=core.v1.PodSpec.nodeName", "status.nominatedNodeName": "=core.v1.PodStatus.nominatedNodeName"}
    return column(titles[path], "string", document[path], lambda obj: at(obj, path) or "<none>", 1)


def _address(obj: Object) -> str:
    addresses = at(obj, "status.podIPs", [])
    return (addresses[0].get("ip") if addresses else "") or "<none>"


KIND = Kind(
    PODS,
    "pod",
    PodStrategy(),
    columns=(
        NAME,
        column("Ready", "string", "The aggregate readiness state of this pod for accepting traffic.", ready),
        column("Status", "string", "The aggregate status of the containers in this pod.", status),
        Column("Restarts", "string", "The number of times the containers in this pod have been restarted and when the last container in "
                                     "this pod has restarted.", restarts),
        AGE,
        column("IP", "string", "=core.v1.PodStatus.podIP", _address, 1),
        _or_none("spec.nodeName"),
        _or_none("status.nominatedNodeName"),
        READINESS_GATES,
    ),
    short_names=("po",),
    categories=("all",),
    selectable={
        "spec.nodeName": lambda obj: at(obj, "spec.nodeName", ""),
        "spec.restartPolicy": lambda obj: at(obj, "spec.restartPolicy", ""),
        "spec.schedulerName": lambda obj: at(obj, "spec.schedulerName", ""),
        "spec.serviceAccountName": lambda obj: at(obj, "spec.serviceAccountName", ""),
        "spec.hostNetwork": _host_network,
        "status.phase": lambda obj: at(obj, "status.phase", ""),
        "status.podIP": lambda obj: at(obj, "status.podIP", ""),
        "status.nominatedNodeName": lambda obj: at(obj, "status.nominatedNodeName", ""),
    },
    unknown_field="field label not supported: {field}",
    subresources=(
        Subresource("attach", ("create", "get"), "PodAttachOptions"),
        Subresource("binding", ("create",), "Binding"),
        Subresource("ephemeralcontainers", ("get", "patch", "update"), strategy=EphemeralContainersStrategy()),
        Subresource("eviction", ("create",), "Eviction", "policy", "v1"),
        Subresource("exec", ("create", "get"), "PodExecOptions"),
        Subresource("log", ("get",)),
        Subresource("portforward", ("create", "get"), "PodPortForwardOptions"),
        Subresource("proxy", ("create", "delete", "get", "patch", "update"), "PodProxyOptions"),
        Subresource("resize", ("get", "patch", "update"), strategy=ResizeStrategy()),
        STATUS,
    ),
)
