"""RuntimeClass: how pods are run (`pkg/registry/node/runtimeclass`)."""
from __future__ import annotations

from kubepy.api import field, name
from kubepy.api.field import Errors, Path
from kubepy.api.resource import RUNTIME_CLASSES
from kubepy.api.types import Object
from kubepy.apiserver.registry import check
from kubepy.apiserver.registry.columns import AGE, NAME, at, column
from kubepy.apiserver.registry.core.podspec_defaults import round_to_milli
from kubepy.apiserver.registry.core.podspec_resources import container_resource_name, resource_value
from kubepy.apiserver.registry.core.podspec_scheduling import tolerations
from kubepy.apiserver.registry.core.podspec_warnings import old_label
from kubepy.apiserver.registry.kind import Kind, Strategy
from kubepy.apiserver.request import Context

_KEYS = (("Key", "key"), ("Operator", "operator"), ("Value", "value"), ("Effect", "effect"))


class RuntimeClassStrategy(Strategy):
    allow_unconditional_update = False

    def fill(self, obj: Object) -> None:
        fixed = at(obj, "overhead.podFixed")
        if fixed:
            round_to_milli(fixed)

    def validate(self, context: Context, obj: Object) -> Errors:
        errors = check.need_named(name.label, obj.get("handler", ""), Path("handler"))
        path = Path("overhead.limits")
        for resource, amount in sorted((at(obj, "overhead.podFixed") or {}).items()):
            errors += container_resource_name(resource, path.key(resource)) + resource_value(resource, amount, path.key(resource))
        return errors + _scheduling(obj.get("scheduling"))

    def validate_update(self, context: Context, obj: Object, old: Object) -> Errors:
        return check.immutable(obj.get("handler"), old.get("handler"), Path("handler"))

    def warnings(self, context: Context, obj: Object, old: Object | None) -> list[str]:
        return [f"scheduling.nodeSelector: {old_label(key)}" for key in sorted(at(obj, "scheduling.nodeSelector", {})) if old_label(key)]


def _scheduling(scheduling: Object | None) -> Errors:
    if scheduling is None:
        return []
    path = Path("scheduling")
    errors = check.labels(scheduling.get("nodeSelector"), path.child("nodeSelector"))
    items = scheduling.get("tolerations") or []
    errors += tolerations(items, path.child("tolerations"))
    for position, item in enumerate(items):
        if item in items[:position]:
            shown = field.Struct({title: item.get(key, "") for title, key in _KEYS})
            shown["TolerationSeconds"] = item.get("tolerationSeconds")
            errors.append(field.duplicate(path.child("tolerations").index(position), shown))
    return errors


KIND = Kind(
    RUNTIME_CLASSES,
    "runtimeclass",
    RuntimeClassStrategy(),
    columns=(NAME, column("Handler", "string", "", lambda obj: obj.get("handler", "")), AGE),
)
