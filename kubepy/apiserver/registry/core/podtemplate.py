"""PodTemplate: a template on its own (`pkg/registry/core/podtemplate`)."""
from __future__ import annotations

from kubepy.api.field import Errors, Path
from kubepy.api.resource import Resource
from kubepy.api.types import Object
from kubepy.apiserver.registry.columns import NAME, at, column, labels
from kubepy.apiserver.registry.core.podspec_defaults import default_template
from kubepy.apiserver.registry.core.podspec_validation import pod_template
from kubepy.apiserver.registry.core.podspec_warnings import template_warnings
from kubepy.apiserver.registry.kind import Kind, Strategy
from kubepy.apiserver.request import Context


class PodTemplateStrategy(Strategy):
    pod_spec = ("template", "spec")
    tracks_generation = True
    returns_deleted = True

    def fill(self, obj: Object) -> None:
        default_template(obj.setdefault("template", {}))

    def validate(self, context: Context, obj: Object) -> Errors:
        return pod_template(obj.get("template") or {}, Path("template"))

    def warnings(self, context: Context, obj: Object, old: Object | None) -> list[str]:
        return template_warnings(obj.get("template") or {}, old and (old.get("template") or {}), Path("template"))


def _join(obj: Object, key: str) -> str:
    return ",".join(container.get(key, "") for container in at(obj, "template.spec.containers", []))


KIND = Kind(
    Resource("", "v1", "podtemplates", "PodTemplate", True),
    "podtemplate",
    PodTemplateStrategy(),
    columns=(
        NAME,
        column("Containers", "string", "Names of each container in the template.", lambda obj: _join(obj, "name")),
        column("Images", "string", "Images referenced by each container in the template.", lambda obj: _join(obj, "image")),
        column("Pod Labels", "string", "The labels for the pod template.", lambda obj: labels(at(obj, "template.metadata.labels"))),
    ),
)
