"""What a write of a custom resource does (`pkg/registry/customresource/strategy.go`, `status_strategy.go`)."""
from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kubepy.api.cel.frame import is_large
from kubepy.api.field import Errors, FieldError, Path, invalid
from kubepy.api.resource import Resource
from kubepy.api.structural import fill
from kubepy.api.structural.embedded import validate_embedded
from kubepy.api.structural.listtype import validate_lists
from kubepy.api.structural.rule import blocked, not_checked
from kubepy.api.structural.validate import MISSING
from kubepy.api.types import Object
from kubepy.apiserver.crd.selectable import at
from kubepy.apiserver.registry.kind import Strategy
from kubepy.apiserver.request import Context

if TYPE_CHECKING:
    from kubepy.apiserver.crd.kind import Compiled

MAX_INT32 = (1 << 31) - 1


class CustomStrategy(Strategy):
    status_keeps_metadata = True
    allow_unconditional_update = False
    tracks_generation = True

    def __init__(self, resource: Resource, compiled: Compiled, *, has_status: bool,
                 scale: Mapping[str, str] | None = None) -> None:
        self.resource = resource
        self.compiled = compiled
        self.has_status = has_status
        self.scale = scale or {}

    def default(self, obj: Object) -> None:
        self.fill(obj)

    def fill(self, obj: Object) -> None:
        fill(obj, self.compiled.node)

    def changes_generation(self, obj: Object, old: Object) -> bool:
        kept = ("metadata", "status") if self.has_status else ("metadata",)
        return any(obj.get(key) != old.get(key) for key in {*obj, *old} if key not in kept)

    def takes_long(self, obj: Object) -> bool:
        return self.compiled.rules is not None and is_large(obj)

    def validate(self, context: Context, obj: Object) -> Errors:
        compiled = self.compiled
        errors = compiled.check.validate(obj)
        errors += self._validate_scale(obj)
        errors += validate_embedded(obj, compiled.node)
        errors += validate_lists(obj, compiled.node)
        return errors + self._rules(errors, obj, MISSING)

    def validate_update(self, context: Context, obj: Object, old: Object) -> Errors:
        errors = self.compiled.check.validate(obj, old) + self._validate_rest(obj, old)
        return errors + self._rules(errors, obj, old)

    def _rules(self, errors: Errors, obj: Object, old: Any) -> Errors:
        """What the CEL rules say, unless the object is too wrong for them."""
        rules = self.compiled.rules
        if rules is None:
            return []
        return [not_checked()] if blocked(errors) else rules.check(obj, old)

    def validate_status(self, context: Context, obj: Object, old: Object) -> Errors:
        """Only the status is checked, and named without its parent in messages."""
        compiled = self.compiled
        check = compiled.check.properties.get("status")
        errors: Errors = []
        if check is not None and "status" in obj:
            found = check.validate(obj["status"], old.get("status", MISSING))
            errors += [_below_status(error) for error in found]
        errors += self._validate_rest(obj, old)
        return errors + self._rules(errors, obj, old)

    def _validate_rest(self, obj: Object, old: Object) -> Errors:
        compiled = self.compiled
        errors = self._validate_scale(obj)
        errors += validate_embedded(obj, compiled.node)
        lists = validate_lists(obj, compiled.node)
        if lists and not validate_lists(old, compiled.node):
            errors += lists
        return errors

    def _validate_scale(self, obj: Object) -> Errors:
        """Replicas at the paths of the scale subresource are non-negative 32 bit numbers."""
        errors: Errors = []
        for field in ("specReplicasPath", "statusReplicasPath") if self.scale else ():
            path = self.scale[field]
            replicas = at(obj, path)
            if replicas is None:
                continue
            where = Path(path)
            if not isinstance(replicas, int) or isinstance(replicas, bool) or replicas < 0:
                errors.append(invalid(where, replicas, "should be a non-negative integer"))
            elif replicas > MAX_INT32:
                errors.append(invalid(where, replicas, f"should be less than or equal to {MAX_INT32}"))
        return errors


def _below_status(error: FieldError) -> FieldError:
    if error.field == "<nil>":
        return FieldError("status", error.reason, error.body)
    return FieldError(f"status.{error.field}", error.reason, error.body)
