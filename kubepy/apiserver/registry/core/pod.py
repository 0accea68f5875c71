"""Pod: the smallest thing that is scheduled and run.

Follows `pkg/registry/core/pod`: a new pod is Pending with its QoS class, a gated one says so in a condition, matchLabelKeys become part of
selectors; updates may touch little of the spec (`pod_update`), deletion is graceful once the pod is bound.
"""
from __future__ import annotations

from collections.abc import Callable

from kubepy.api import field
from kubepy.api.field import Errors, Path
from kubepy.api.quota import pod_totals
from kubepy.api.resource import PODS
from kubepy.api.scheduling import pod_level_resource
from kubepy.api.types import Object
from kubepy.apiserver.registry.columns import AGE, NAME, at, column
from kubepy.apiserver.registry.core import pod_update
from kubepy.apiserver.registry.core.pod_columns import READINESS_GATES, ready, restarts, status
from kubepy.apiserver.registry.core.pod_memory import Accepted, Filled, encoded
from kubepy.apiserver.registry.core.pod_qos import qos_class
from kubepy.apiserver.registry.core.pod_resize import pod_resize
from kubepy.apiserver.registry.core.pod_status import status_update
from kubepy.apiserver.registry.core.podspec_annotations import MIRROR, app_armor_fields, pod_annotations, profiles_match
from kubepy.apiserver.registry.core.podspec_containers import padded_image
from kubepy.apiserver.registry.core.podspec_defaults import (
    containers_of,
    default_host_ports,
    default_pod_spec,
    default_requests,
    round_to_milli,
)
from kubepy.apiserver.registry.core.podspec_resources import overcommit_allowed
from kubepy.apiserver.registry.core.podspec_validation import pod_spec
from kubepy.apiserver.registry.core.podspec_warnings import metadata_warnings, pod_warnings
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
        obj["spec"] = _filled.of(obj.get("spec") or {})
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
        metadata = obj.get("metadata") or {}
        _merge_label_keys(spec, metadata.get("labels") or {})
        for key in app_armor_fields(metadata.get("annotations") or {}, spec):
            context.warn(f'metadata.annotations[{key}]: deprecated since v1.30; use the "appArmorProfile" field instead')

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
        return errors + profiles_match(at(obj, "metadata.annotations", {}), spec, pod_update.SPEC)

    def validate_update(self, context: Context, obj: Object, old: Object) -> Errors:
        return self._valid(obj) + pod_update.annotations_update(obj, old) + pod_update.spec_update(obj, old)

    def validate_status(self, context: Context, obj: Object, old: Object) -> Errors:
        return status_update(obj, old)

    def warnings(self, context: Context, obj: Object, old: Object | None) -> list[str]:
        if old is not None:
            return []
        spec, beside = obj.get("spec") or {}, metadata_warnings(obj)
        raw = encoded(spec)
        if beside or raw not in _quiet:
            found = pod_warnings(obj)
            if not found:
                _quiet.add(raw)
            return found
        return []

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
        key = encoded(spec)
        if key and named:
            key += (metadata.get("name") or "").encode()
        annotated = pod_annotations(metadata["annotations"], spec, _ANNOTATIONS) if metadata.get("annotations") else []
        if key in _valid:
            return annotated
        errors = pod_spec(spec, pod_update.SPEC, metadata.get("name") or "") + _padded_images(spec)
        if not errors:
            _valid.add(key)
        return annotated + errors


_ANNOTATIONS = Path("metadata.annotations")


def _fill_spec(spec: Object) -> None:
    spec.setdefault("enableServiceLinks", True)
    default_pod_spec(spec)
    default_host_ports(spec)
    for container in containers_of(spec, "containers", "initContainers"):
        default_requests(container.get("resources") or {})
    _default_pod_level(spec)
    if spec.get("overhead"):
        round_to_milli(spec["overhead"])


_filled = Filled(_fill_spec)
_valid = Accepted()
_quiet = Accepted()
"""Specs that nobody is warned about."""


def _keep(status: Object, before: Object, *keys: str) -> None:
    """What a writer does not know of is not lost."""
    for key in keys:
        if not status.get(key) and before.get(key):
            status[key] = before[key]


def _padded_images(spec: Object) -> Errors:
    return [error for key in ("containers", "initContainers") for position, container in enumerate(spec.get(key) or ())
            for error in padded_image(container, pod_update.SPEC.child(key).index(position))]


class EphemeralContainersStrategy(PodStrategy):
    """`pods/ephemeralcontainers`: containers may be added, nothing else changes (see `verbs/partial.py`)."""

    def validate_update(self, context: Context, obj: Object, old: Object) -> Errors:
        errors = self._valid(obj) + pod_update.annotations_update(obj, old)
        if MIRROR in at(old, "metadata.annotations", {}):
            return [field.forbidden(pod_update.WHOLE, "static pods do not support ephemeral containers")]
        return errors + pod_update.ephemeral_update(obj, old)

    def warnings(self, context: Context, obj: Object, old: Object | None) -> list[str]:
        return []


class ResizeStrategy(PodStrategy):
    """`pods/resize`: resources and resize policies of containers change, nothing else (see `verbs/partial.py`)."""

    def validate_update(self, context: Context, obj: Object, old: Object) -> Errors:
        return pod_resize(obj, old, self._valid(obj))

    def warnings(self, context: Context, obj: Object, old: Object | None) -> list[str]:
        return []


def _default_pod_level(spec: Object) -> None:
    """Requests of the pod itself, where it has limits: what its containers ask for together, else its limit."""
    resources = spec.get("resources")
    if not resources:
        return
    for key in ("limits", "requests"):
        if resources.get(key):
            round_to_milli(resources[key])
    limits = resources.get("limits")
    if not limits:
        return
    requests = resources.setdefault("requests", {})
    asked = pod_totals({"spec": {key: spec.get(key) for key in ("containers", "initContainers")}}, "requests")
    for resource, value in asked.items():
        if pod_level_resource(resource) and overcommit_allowed(resource):
            requests.setdefault(resource, str(value))
    for resource, limit in limits.items():
        if pod_level_resource(resource):
            requests.setdefault(resource, limit)


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


def _text(section: str, name: str) -> Callable[[Object], str]:
    """What a field selector sees; computed for each write of a pod, so that it goes straight there."""
    return lambda pod: (pod.get(section) or _NOTHING).get(name) or ""


_NOTHING: Object = {}


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
        "spec.nodeName": _text("spec", "nodeName"),
        "spec.restartPolicy": _text("spec", "restartPolicy"),
        "spec.schedulerName": _text("spec", "schedulerName"),
        "spec.serviceAccountName": _text("spec", "serviceAccountName"),
        "spec.hostNetwork": _host_network,
        "status.phase": _text("status", "phase"),
        "status.podIP": _text("status", "podIP"),
        "status.nominatedNodeName": _text("status", "nominatedNodeName"),
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
