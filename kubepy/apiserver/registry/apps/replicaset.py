"""ReplicaSet: a number of equal pods (`pkg/registry/apps/replicaset`)."""
from __future__ import annotations

from kubepy.api.field import Errors, Path
from kubepy.api.resource import REPLICA_SETS
from kubepy.api.types import Object
from kubepy.apiserver.registry import check
from kubepy.apiserver.registry.apps.template import matching_template, workload_selector
from kubepy.apiserver.registry.columns import AGE, NAME, at, column, containers, field
from kubepy.apiserver.registry.columns import selector as selector_text
from kubepy.apiserver.registry.core.podspec_defaults import default_template
from kubepy.apiserver.registry.core.podspec_warnings import template_warnings
from kubepy.apiserver.registry.kind import SCALE, STATUS, Kind, Strategy
from kubepy.apiserver.request import Context

_SPEC, _STATUS = Path("spec"), Path("status")


class ReplicaSetStrategy(Strategy):
    pod_spec = ("spec", "template", "spec")
    has_status = True
    tracks_generation = True

    def fill(self, obj: Object) -> None:
        spec = obj["spec"]
        spec.setdefault("replicas", 1)
        default_template(spec.setdefault("template", {}))

    def validate(self, context: Context, obj: Object) -> Errors:
        spec = obj.get("spec") or {}
        errors = check.non_negative(spec.get("replicas"), _SPEC.child("replicas"))
        errors += check.non_negative(spec.get("minReadySeconds"), _SPEC.child("minReadySeconds"))
        errors += workload_selector(spec, _SPEC, "deployment")
        return errors + matching_template(spec, _SPEC, "ReplicaSet")

    def validate_update(self, context: Context, obj: Object, old: Object) -> Errors:
        return self.validate(context, obj) + check.immutable_selector(at(obj, "spec.selector"), at(old, "spec.selector"),
                                                                      _SPEC.child("selector"))

    def validate_status(self, context: Context, obj: Object, old: Object) -> Errors:
        return replica_status(obj.get("status") or {}, _STATUS)

    def warnings(self, context: Context, obj: Object, old: Object | None) -> list[str]:
        return template_warnings(at(obj, "spec.template", {}), old and at(old, "spec.template", {}), Path("spec.template"))


def replica_status(status: Object, path: Path) -> Errors:
    """Counters of ReplicaSets and ReplicationControllers."""
    errors = check.counts(status, path, "replicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas", "observedGeneration",
                          "terminatingReplicas")
    errors += check.at_most(status, path, "replicas", ("fullyLabeledReplicas", "readyReplicas", "availableReplicas"), "status.replicas")
    return errors + check.at_most(status, path, "readyReplicas", ("availableReplicas",), "readyReplicas")


KIND = Kind(
    REPLICA_SETS,
    "replicaset",
    ReplicaSetStrategy(),
    columns=(
        NAME,
        column("Desired", "integer", "=apps.v1.ReplicaSetSpec.replicas", field("spec.replicas", 0)),
        column("Current", "integer", "=apps.v1.ReplicaSetStatus.replicas", field("status.replicas", 0)),
        column("Ready", "integer", "=apps.v1.ReplicaSetStatus.readyReplicas", field("status.readyReplicas", 0)),
        AGE,
        *containers("spec.template"),
        column("Selector", "string", "=apps.v1.ReplicaSetSpec.selector", lambda obj: selector_text(at(obj, "spec.selector")), 1),
    ),
    short_names=("rs",),
    categories=("all",),
    subresources=(SCALE, STATUS),
)
