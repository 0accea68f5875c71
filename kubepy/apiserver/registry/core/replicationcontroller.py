"""ReplicationController: the ReplicaSet of old (`pkg/registry/core/replicationcontroller`).

Selector and labels come from the template when they are missing; deletion orphans the pods unless told otherwise.
"""
from __future__ import annotations

from kubepy.api import field
from kubepy.api.field import Errors, Path
from kubepy.api.resource import REPLICATION_CONTROLLERS
from kubepy.api.types import Object
from kubepy.apiserver.registry import check
from kubepy.apiserver.registry.apps.replicaset import replica_status
from kubepy.apiserver.registry.columns import AGE, NAME, at, column, containers, labels
from kubepy.apiserver.registry.columns import field as value
from kubepy.apiserver.registry.core.podspec_defaults import default_template
from kubepy.apiserver.registry.core.podspec_validation import pod_template
from kubepy.apiserver.registry.core.podspec_warnings import template_warnings
from kubepy.apiserver.registry.kind import SCALE, STATUS, Kind, Strategy
from kubepy.apiserver.request import Context

_SPEC = Path("spec")


class ReplicationControllerStrategy(Strategy):
    pod_spec = ("spec", "template", "spec")
    has_status = True
    tracks_generation = True
    default_propagation = "Orphan"

    def fill(self, obj: Object) -> None:
        spec = obj["spec"]
        template = spec.get("template")
        if template is not None:
            template_labels = (template.get("metadata") or {}).get("labels")
            if template_labels:
                if not spec.get("selector"):
                    spec["selector"] = dict(template_labels)
                if not obj["metadata"].get("labels"):
                    obj["metadata"]["labels"] = dict(template_labels)
            default_template(template)
        spec.setdefault("replicas", 1)

    def validate(self, context: Context, obj: Object) -> Errors:
        spec = obj.get("spec") or {}
        errors = check.non_negative(spec.get("minReadySeconds"), _SPEC.child("minReadySeconds"))
        selector = spec.get("selector") or {}
        errors += check.need(selector, _SPEC.child("selector"))
        errors += check.non_negative(spec.get("replicas"), _SPEC.child("replicas"))
        return errors + _template(spec.get("template"), selector, _SPEC.child("template"))

    def validate_status(self, context: Context, obj: Object, old: Object) -> Errors:
        return replica_status(obj.get("status") or {}, Path("status"))

    def warnings(self, context: Context, obj: Object, old: Object | None) -> list[str]:
        template = at(obj, "spec.template")
        return template_warnings(template, old and at(old, "spec.template", {}), Path("spec.template")) if template else []


def _template(template: Object | None, selector: Object, path: Path) -> Errors:
    if template is None:
        return [field.required(path)]
    errors: Errors = []
    found = (template.get("metadata") or {}).get("labels") or {}
    if selector and any(found.get(key) != text for key, text in selector.items()):
        errors.append(field.invalid(path.child("metadata", "labels"), found or None, "`selector` does not match template `labels`"))
    errors += pod_template(template, path)
    spec = template.get("spec") or {}
    if spec.get("restartPolicy") != "Always":
        errors.append(field.not_supported(path.child("spec", "restartPolicy"), spec.get("restartPolicy", ""), ("Always",)))
    if spec.get("activeDeadlineSeconds") is not None:
        errors.append(field.forbidden(path.child("spec", "activeDeadlineSeconds"),
                                      "activeDeadlineSeconds in ReplicationController is not Supported"))
    return errors


KIND = Kind(
    REPLICATION_CONTROLLERS,
    "replicationcontroller",
    ReplicationControllerStrategy(),
    columns=(
        NAME,
        column("Desired", "integer", "=core.v1.ReplicationControllerSpec.replicas", value("spec.replicas", 0)),
        column("Current", "integer", "=core.v1.ReplicationControllerStatus.replicas", value("status.replicas", 0)),
        column("Ready", "integer", "=core.v1.ReplicationControllerStatus.readyReplicas", value("status.readyReplicas", 0)),
        AGE,
        *containers("spec.template"),
        column("Selector", "string", "=core.v1.ReplicationControllerSpec.selector", lambda obj: labels(at(obj, "spec.selector")), 1),
    ),
    short_names=("rc",),
    categories=("all",),
    selectable={"status.replicas": lambda obj: str(at(obj, "status.replicas", 0))},
    unknown_field="field label not supported: {field}",
    subresources=(SCALE, STATUS),
)
