"""Node: a machine that runs pods.

Follows `pkg/registry/core/node`: a new node may bring its status; addresses of the pod range and the provider are set once.
"""
from __future__ import annotations

import ipaddress

import orjson

from kubepy.api import field, name
from kubepy.api.field import Errors, FieldError, Path
from kubepy.api.resource import NODES
from kubepy.api.types import Object
from kubepy.apiserver.registry import check
from kubepy.apiserver.registry.columns import AGE, NAME, NONE, UNKNOWN, at, column
from kubepy.apiserver.registry.core.podspec_resources import resource_value
from kubepy.apiserver.registry.core.podspec_scheduling import TAINT_EFFECTS
from kubepy.apiserver.registry.kind import STATUS, Kind, Strategy, Subresource
from kubepy.apiserver.request import Context

_SPEC, _STATUS = Path("spec"), Path("status")
_AVOID = "scheduler.alpha.kubernetes.io/preferAvoidPods"
_ROLE = "node-role.kubernetes.io/"


class NodeStrategy(Strategy):
    has_status = True
    keeps_status_on_create = True

    def fill(self, obj: Object) -> None:
        spec = obj.setdefault("spec", {})
        if spec.get("podCIDR") and spec["podCIDR"] != (spec.get("podCIDRs") or [None])[0]:
            spec["podCIDRs"] = [spec["podCIDR"]]
        elif spec.get("podCIDRs"):
            spec["podCIDR"] = spec["podCIDRs"][0]
        status = obj.setdefault("status", {})
        if status.get("capacity") and status.get("allocatable") is None:
            status["allocatable"] = dict(status["capacity"])

    def prepare_create(self, context: Context, obj: Object) -> None:
        obj["spec"].pop("configSource", None)  # dynamic kubelet configuration is gone

    def prepare_update(self, context: Context, obj: Object, old: Object) -> None:
        obj["spec"].pop("configSource", None)

    def validate(self, context: Context, obj: Object) -> Errors:
        spec = obj.get("spec") or {}
        errors = _avoided(obj) + _taints(spec.get("taints") or [], Path("metadata.taints")) + _amounts(obj.get("status") or {})
        return errors + _cidrs(spec)

    def validate_update(self, context: Context, obj: Object, old: Object) -> Errors:
        new, before = obj.get("spec") or {}, old.get("spec") or {}
        errors = _avoided(obj)
        errors += _amounts(obj.get("status") or {})
        errors += _addresses(obj.get("status") or {})
        ranges, had = new.get("podCIDRs") or [], before.get("podCIDRs") or []
        changed = 1 if len(ranges) != len(had) else sum(one != other for one, other in zip(ranges, had, strict=True))
        if had:
            errors += [field.forbidden(_SPEC.child("podCIDRs"), 'node updates may not change podCIDR except from "" to valid')] * changed
        if before.get("providerID") and new.get("providerID") != before["providerID"]:
            errors.append(field.forbidden(_SPEC.child("providerID"), 'node updates may not change providerID except from "" to valid'))
        errors += _config_status(at(obj, "status.config", {}))
        errors += _taints(new.get("taints") or [], Path("metadata.taints"))
        if new.get("externalID", "") != before.get("externalID", ""):
            errors.append(field.forbidden(_SPEC.child("externalID"), "may not be updated"))
        return errors

    def validate_status(self, context: Context, obj: Object, old: Object) -> Errors:
        return self.validate_update(context, obj, old)

    def warnings(self, context: Context, obj: Object, old: Object | None) -> list[str]:
        found = []
        if at(obj, "spec.externalID"):
            found.append("spec.externalID: this field is deprecated, and is unused by Kubernetes")
        if at(obj, "spec.configSource") is not None:
            found.append("spec.configSource: the feature is no longer available")
        return found


def _avoided(obj: Object) -> Errors:
    text = at(obj, "metadata.annotations", {}).get(_AVOID)
    if not text:
        return []
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return [field.invalid(Path("metadata.annotations.AvoidPods"), _AVOID,
                              f"invalid character '{text[0]}' looking for beginning of value")]
    return []


def _taints(taints: list[Object], path: Path) -> Errors:
    errors: Errors = []
    seen: set[tuple[str, str]] = set()
    for position, taint in enumerate(taints):
        here = path.index(position)
        key, value, effect = (taint.get(part, "") for part in ("key", "value", "effect"))
        errors += check.named(name.qualified, key, here.child("key"))
        if complaints := name.label_value(value):
            errors.append(field.invalid(here.child("value"), value, ";".join(complaints)))
        errors += check.need_one_of(effect, here.child("effect"), TAINT_EFFECTS)
        if (key, effect) in seen:
            shown = field.Struct(Key=key, Value=value, Effect=effect, TimeAdded=taint.get("timeAdded"))
            found = field.duplicate(here, shown)
            errors.append(FieldError(found.field, found.reason, f"{found.body}: taints must be unique by key and effect pair"))
        seen.add((key, effect))
    return errors


def _cidrs(spec: Object) -> Errors:
    cidrs = spec.get("podCIDRs") or []
    path = _SPEC.child("podCIDRs")
    errors: Errors = []
    for position, cidr in enumerate(cidrs):
        errors += check.named(name.cidr, cidr, path.index(position))
    if errors:
        return errors
    families = [ipaddress.ip_interface(cidr).version for cidr in cidrs]
    if len(cidrs) > 2 or len(families) != len(set(families)):
        errors.append(field.invalid(path, cidrs, "may specify no more than one CIDR for each IP family"))
    return errors + check.unique(cidrs, path)


def _config_status(config: Object) -> Errors:
    """Where the configuration of a kubelet came from, when it came from a ConfigMap (long gone, still checked)."""
    errors: Errors = []
    for key in ("assigned", "active", "lastKnownGood"):
        source, path = config.get(key), _STATUS.child("config", key)
        if source is None:
            continue
        reference, at_map = source.get("configMap"), path.child("configMap")
        if reference is None:
            errors.append(field.invalid(path, {"ConfigMap": None}, "exactly one reference subfield must be non-nil"))
            continue
        errors += [field.required(at_map.child(part), f"{part} must be set in status") for part in ("uid", "resourceVersion")
                   if not reference.get(part)]
        for part, validator in (("namespace", name.label), ("name", name.subdomain), ("kubeletConfigKey", name.config_key)):
            text = reference.get(part, "")
            errors += check.named(validator, text, at_map.child(part)) if text else \
                [field.required(at_map.child(part), f"{part} must be set")]
    return errors


def _amounts(status: Object) -> Errors:
    return [error for key in ("capacity", "allocatable") for resource, amount in sorted((status.get(key) or {}).items())
            for error in resource_value(resource, amount, _STATUS.child(key, resource))]


def _addresses(status: Object) -> Errors:
    errors: Errors = []
    seen: set[tuple[str, str]] = set()
    for position, address in enumerate(status.get("addresses") or ()):
        key = (address.get("type", ""), address.get("address", ""))
        if key in seen:
            errors.append(field.duplicate(_STATUS.child("addresses").index(position), field.Struct(Type=key[0], Address=key[1])))
        seen.add(key)
    return errors


def _status(obj: Object) -> str:
    ready = next((condition for condition in at(obj, "status.conditions", []) if condition.get("type") == "Ready"), None)
    shown = ["Unknown"] if ready is None else ["Ready" if ready.get("status") == "True" else "NotReady"]
    if at(obj, "spec.unschedulable"):
        shown.append("SchedulingDisabled")
    return ",".join(shown)


def _roles(obj: Object) -> str:
    roles = set()
    for key, text in at(obj, "metadata.labels", {}).items():
        if key.startswith(_ROLE) and len(key) > len(_ROLE):
            roles.add(key.removeprefix(_ROLE))
        elif key == "kubernetes.io/role" and text:
            roles.add(text)
    return ",".join(sorted(roles)) or NONE


def _first_address(obj: Object, kind: str) -> str:
    return next((address.get("address", "") for address in at(obj, "status.addresses", []) if address.get("type") == kind), NONE)


KIND = Kind(
    NODES,
    "node",
    NodeStrategy(),
    columns=(
        NAME,
        column("Status", "string", "The status of the node", _status),
        column("Roles", "string", "The roles of the node", _roles),
        AGE,
        column("Version", "string", "=core.v1.NodeSystemInfo.kubeletVersion", lambda obj: at(obj, "status.nodeInfo.kubeletVersion", "")),
        column("Internal-IP", "string", "=core.v1.NodeStatus.addresses", lambda obj: _first_address(obj, "InternalIP"), 1),
        column("External-IP", "string", "=core.v1.NodeStatus.addresses", lambda obj: _first_address(obj, "ExternalIP"), 1),
        column("OS-Image", "string", "=core.v1.NodeSystemInfo.osImage", lambda obj: at(obj, "status.nodeInfo.osImage") or UNKNOWN, 1),
        column("Kernel-Version", "string", "=core.v1.NodeSystemInfo.kernelVersion",
               lambda obj: at(obj, "status.nodeInfo.kernelVersion") or UNKNOWN, 1),
        column("Container-Runtime", "string", "=core.v1.NodeSystemInfo.containerRuntimeVersion",
               lambda obj: at(obj, "status.nodeInfo.containerRuntimeVersion") or UNKNOWN, 1),
    ),
    short_names=("no",),
    selectable={"spec.unschedulable": lambda obj: "true" if at(obj, "spec.unschedulable") else "false"},
    unknown_field="field label not supported: {field}",
    subresources=(Subresource("proxy", ("create", "delete", "get", "patch", "update"), "NodeProxyOptions"), STATUS),
)
