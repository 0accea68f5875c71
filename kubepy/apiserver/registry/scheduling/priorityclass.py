"""PriorityClass: a name for a priority (`pkg/registry/scheduling/priorityclass`); the system's own cannot be deleted."""
from __future__ import annotations

from kubepy.api import field
from kubepy.api.field import Errors, Path
from kubepy.api.resource import PRIORITY_CLASSES
from kubepy.api.types import Object
from kubepy.apiserver.registry import check
from kubepy.apiserver.registry.columns import AGE, NAME, at, column
from kubepy.apiserver.registry.kind import Kind, Strategy
from kubepy.apiserver.request import Context

HIGHEST_USER_PRIORITY = 1_000_000_000
SYSTEM_CLASSES = {
    "system-node-critical": (2_000_001_000, "Used for system critical pods that must not be moved from their current node."),
    "system-cluster-critical": (2_000_000_000, "Used for system critical pods that must run in the cluster, but can be moved to another "
                                               "node if necessary."),
}


class PriorityClassStrategy(Strategy):
    tracks_generation = True

    def fill(self, obj: Object) -> None:
        obj.setdefault("preemptionPolicy", "PreemptLowerPriority")

    def prepare_create(self, context: Context, obj: Object) -> None:
        obj.setdefault("value", 0)

    def changes_generation(self, obj: Object, old: Object) -> bool:
        return False

    def deletion_refused(self, obj: Object) -> str:
        refused = at(obj, "metadata.name") in SYSTEM_CLASSES
        return "this is a system priority class and cannot be deleted" if refused else ""

    def validate(self, context: Context, obj: Object) -> Errors:
        title, value = at(obj, "metadata.name", ""), obj.get("value", 0)
        errors: Errors = []
        if title.startswith("system-"):
            errors += _system(title, value, obj)
        elif value > HIGHEST_USER_PRIORITY:
            errors.append(field.forbidden(Path("value"), f"maximum allowed value of a user defined priority is {HIGHEST_USER_PRIORITY}"))
        if obj.get("preemptionPolicy") is not None:
            errors += check.need_one_of(obj["preemptionPolicy"], Path("preemptionPolicy"), ("PreemptLowerPriority", "Never"))
        return errors

    def validate_update(self, context: Context, obj: Object, old: Object) -> Errors:
        errors: Errors = []
        if obj.get("value", 0) != old.get("value", 0):
            errors.append(field.forbidden(Path("value"), "may not be changed in an update."))
        return errors + check.immutable(obj.get("preemptionPolicy"), old.get("preemptionPolicy"), Path("preemptionPolicy"))


def _system(title: str, value: int, obj: Object) -> Errors:
    known = SYSTEM_CLASSES.get(title)
    prefix = "priority class names with 'system-' prefix are reserved for system use only. error: "
    if known is None:
        why = f"{title} is not a known system priority class"
    elif value != known[0]:
        why = f"value of {title} PriorityClass must be {known[0]}"
    elif obj.get("globalDefault"):
        why = f"globalDefault of {title} PriorityClass must be false"
    else:
        return []
    return [field.forbidden(Path("metadata.name"), prefix + why)]


KIND = Kind(
    PRIORITY_CLASSES,
    "priorityclass",
    PriorityClassStrategy(),
    columns=(
        NAME,
        column("Value", "integer", "=scheduling.v1.PriorityClass.value", lambda obj: obj.get("value", 0)),
        column("Global-Default", "boolean", "=scheduling.v1.PriorityClass.globalDefault", lambda obj: bool(obj.get("globalDefault"))),
        AGE,
        column("PreemptionPolicy", "string", "=scheduling.v1.PriorityClass.preemptionPolicy",
               lambda obj: obj.get("preemptionPolicy", "PreemptLowerPriority")),
    ),
    short_names=("pc",),
)
