"""ControllerRevision: a snapshot of a controller's template (`pkg/registry/apps/controllerrevision`)."""
from __future__ import annotations

from kubepy.api import field
from kubepy.api.codec import RawObject
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

    def prepare_update(self, context: Context, obj: Object, old: Object) -> None:
        """What a patch leaves alone it writes anew, without the white space it was sent with; the bytes are compared."""
        now, before = obj.get("data"), old.get("data")
        if type(now) is dict and now == before and isinstance(before, RawObject) and before.compact:
            obj["data"] = before

    def validate_update(self, context: Context, obj: Object, old: Object) -> Errors:
        now, before = obj.get("data"), old.get("data")
        errors = self.validate(context, obj)
        if isinstance(before, RawObject) and (not isinstance(now, RawObject) or now.raw != before.raw):
            errors.append(field.invalid(Path("data"), now, check.IMMUTABLE))
        return errors


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
    raw_member="data",
)
