"""StatefulSet: pods with identities and storage of their own (`pkg/registry/apps/statefulset`)."""
from __future__ import annotations

from kubepy.api import field, name
from kubepy.api.field import Errors, Path
from kubepy.api.resource import STATEFUL_SETS
from kubepy.api.types import Object
from kubepy.apiserver.registry import check
from kubepy.apiserver.registry.apps.template import matching_template, workload_selector
from kubepy.apiserver.registry.columns import AGE, NAME, at, column, containers
from kubepy.apiserver.registry.core.claim_validation import claim_spec
from kubepy.apiserver.registry.core.podspec_defaults import default_claim_spec, default_template
from kubepy.apiserver.registry.core.podspec_warnings import template_warnings
from kubepy.apiserver.registry.kind import SCALE, STATUS, Kind, Strategy
from kubepy.apiserver.request import Context

_SPEC, _STATUS = Path("spec"), Path("status")
_MUTABLE = ("replicas", "ordinals", "template", "updateStrategy", "revisionHistoryLimit", "persistentVolumeClaimRetentionPolicy",
            "minReadySeconds")
_FORBIDDEN = ("updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', "
              "'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden")


class StatefulSetStrategy(Strategy):
    pod_spec = ("spec", "template", "spec")
    has_status = True
    tracks_generation = True
    name_kind = "label"

    def fill(self, obj: Object) -> None:
        spec = obj["spec"]
        spec.setdefault("podManagementPolicy", "OrderedReady")
        strategy = spec.setdefault("updateStrategy", {})
        if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
            rolling = strategy.setdefault("rollingUpdate", {})
            rolling.setdefault("partition", 0)
            rolling.pop("maxUnavailable", None)  # behind a feature gate that is off
        policy = spec.setdefault("persistentVolumeClaimRetentionPolicy", {})
        policy.setdefault("whenDeleted", "Retain")
        policy.setdefault("whenScaled", "Retain")
        spec.setdefault("replicas", 1)
        if spec.get("ordinals") is not None:
            spec["ordinals"].setdefault("start", 0)
        spec.setdefault("revisionHistoryLimit", 10)
        spec.setdefault("serviceName", "")
        default_template(spec.setdefault("template", {}))
        for claim in spec.get("volumeClaimTemplates") or ():
            claim.setdefault("apiVersion", "v1")
            claim.setdefault("kind", "PersistentVolumeClaim")
            default_claim_spec(claim.setdefault("spec", {}))
            claim.setdefault("status", {}).setdefault("phase", "Pending")

    def validate(self, context: Context, obj: Object) -> Errors:
        spec = obj.get("spec") or {}
        errors = _policies(spec)
        errors += check.non_negative(spec.get("replicas"), _SPEC.child("replicas"))
        errors += check.non_negative(spec.get("minReadySeconds"), _SPEC.child("minReadySeconds"))
        errors += check.non_negative((spec.get("ordinals") or {}).get("start"), _SPEC.child("ordinals", "start"))
        errors += workload_selector(spec, _SPEC, "statefulset")
        errors += matching_template(_with_claims(spec), _SPEC, "StatefulSet")
        for position, claim in enumerate(spec.get("volumeClaimTemplates") or ()):
            errors += claim_spec(claim.get("spec") or {}, _SPEC.child("volumeClaimTemplates").index(position).child("spec"))
        if spec.get("serviceName"):
            errors += check.named(name.label, spec["serviceName"], _SPEC.child("serviceName"))
        return errors

    def validate_update(self, context: Context, obj: Object, old: Object) -> Errors:
        errors = self.validate(context, obj)
        new_spec, old_spec = obj.get("spec") or {}, old.get("spec") or {}
        if any(new_spec.get(key) != old_spec.get(key) for key in {*new_spec, *old_spec} if key not in _MUTABLE):
            errors.append(field.forbidden(_SPEC, _FORBIDDEN))
        return errors

    def validate_status(self, context: Context, obj: Object, old: Object) -> Errors:
        status = obj.get("status") or {}
        errors = check.counts(status, _STATUS, "replicas", "readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas",
                              "observedGeneration", "collisionCount")
        errors += check.at_most(status, _STATUS, "replicas", ("readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas"),
                                "status.replicas")
        errors += check.at_most(status, _STATUS, "readyReplicas", ("availableReplicas",), "status.readyReplicas")
        return errors + check.not_decremented(status, old.get("status") or {}, _STATUS, "collisionCount")

    def warnings(self, context: Context, obj: Object, old: Object | None) -> list[str]:
        found = template_warnings(at(obj, "spec.template", {}), old and at(old, "spec.template", {}), Path("spec.template"))
        limit = at(obj, "spec.revisionHistoryLimit", 0)
        if limit < 0:
            found.append("spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is recommended")
        return found


def _with_claims(spec: Object) -> Object:
    """The spec as its pods will have it: with a volume for each claim template."""
    claims = [(claim.get("metadata") or {}).get("name", "") for claim in spec.get("volumeClaimTemplates") or ()]
    if not claims:
        return spec
    template = spec.get("template") or {}
    pod = template.get("spec") or {}
    own = [volume for volume in pod.get("volumes") or () if volume.get("name") not in claims]
    added = [{"name": title, "persistentVolumeClaim": {"claimName": title}} for title in dict.fromkeys(claims) if title]
    return {**spec, "template": {**template, "spec": {**pod, "volumes": [*own, *added]}}}


def _policies(spec: Object) -> Errors:
    errors: Errors = []
    management = spec.get("podManagementPolicy", "")
    if management not in ("OrderedReady", "Parallel"):
        errors.append(field.invalid(_SPEC.child("podManagementPolicy"), management, "must be 'OrderedReady' or 'Parallel'"))
    strategy = spec.get("updateStrategy") or {}
    rolling = strategy.get("rollingUpdate")
    at_strategy = _SPEC.child("updateStrategy")
    if strategy.get("type") == "OnDelete":
        if rolling is not None:
            errors.append(field.invalid(at_strategy.child("rollingUpdate"), field.Struct(Partition=rolling.get("partition", 0),
                                                                                         MaxUnavailable=rolling.get("maxUnavailable")),
                                        "only allowed for updateStrategy 'RollingUpdate'"))
    elif strategy.get("type") == "RollingUpdate":
        errors += check.non_negative((rolling or {}).get("partition"), at_strategy.child("rollingUpdate", "partition"))
    else:
        errors.append(field.invalid(at_strategy, field.Struct(Type=strategy.get("type", ""), RollingUpdate=None),
                                    "must be 'RollingUpdate' or 'OnDelete'"))
    policy = spec.get("persistentVolumeClaimRetentionPolicy") or {}
    for key in ("whenDeleted", "whenScaled"):
        if policy.get(key) not in ("Delete", "Retain"):
            errors.append(field.not_supported(_SPEC.child("persistentVolumeClaimRetentionPolicy", key), policy.get(key, ""),
                                              ("Retain", "Delete")))
    return errors


def _ready(obj: Object) -> str:
    return f"{at(obj, 'status.readyReplicas', 0)}/{at(obj, 'spec.replicas', 0)}"


KIND = Kind(
    STATEFUL_SETS,
    "statefulset",
    StatefulSetStrategy(),
    columns=(NAME, column("Ready", "string", "Number of the pod with ready state", _ready), AGE, *containers("spec.template")),
    short_names=("sts",),
    categories=("all",),
    subresources=(SCALE, STATUS),
)
