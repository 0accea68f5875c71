"""ControllerRevision: a snapshot of a controller's template (`pkg/registry/apps/controllerrevision`)."""
from __future__ import annotations

from kubepy.api import field
from kubepy.api.field import Errors, Path
from kubepy.api.meta import controller_of
from kubepy.api.resource import CONTROLLER_REVISIONS
from kubepy.api.types import Object
from kubepy.apiserver.registry import check
from kubepy.apiserver.registry.columns import AGE, NAME, column
from kubepy.apiserver.registry.kind import Kind, Strategy
from kubepy.apiserver.request import Context


class ControllerRevisionStrategy(Strategy):
    def validate(self, context: Context, obj: Object) -> Errors:
        errors: Errors = []
        data = obj.get("data")
        if data is None:
            errors.append(field.required(Path("data"), "data is mandatory"))
        elif not isinstance(data, dict):
            errors.append(field.required(Path("data"), "data must be a valid JSON object"))
        return errors + check.non_negative(obj.get("revision"), Path("revision"))

    def validate_update(self, context: Context, obj: Object, old: Object) -> Errors:
        return self.validate(context, obj) + check.immutable(obj.get("data"), old.get("data"), Path("data"))


def _controller(obj: Object) -> str:
    owner = controller_of(obj)
    if owner is None:
        return "<none>"
    group = owner.get("apiVersion", "").rpartition("/")[0]
    kind = owner.get("kind", "").lower()
    return f"{kind}.{group}/{owner.get('name', '')}" if group else f"{kind}/{owner.get('name', '')}"


KIND = Kind(
    CONTROLLER_REVISIONS,
    "controllerrevision",
    ControllerRevisionStrategy(),
    columns=(
        NAME,
        column("Controller", "string", "Controller of the object", _controller),
        column("Revision", "string", "=apps.v1.ControllerRevision.revision", lambda obj: obj.get("revision", 0)),
        AGE,
    ),
)
