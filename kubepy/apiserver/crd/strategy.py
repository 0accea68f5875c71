"""What a write of a custom resource does (`pkg/registry/customresource/strategy.go`, `status_strategy.go`)."""
from __future__ import annotations

from typing import TYPE_CHECKING

from kubepy.api.field import Errors
from kubepy.api.resource import Resource
from kubepy.api.structural import fill
from kubepy.api.types import Object
from kubepy.apiserver.registry.kind import Strategy
from kubepy.apiserver.request import Context

if TYPE_CHECKING:
    from kubepy.apiserver.crd.kind import Compiled


class CustomStrategy(Strategy):
    allow_unconditional_update = False
    tracks_generation = True

    def __init__(self, resource: Resource, compiled: Compiled, *, has_status: bool) -> None:
        self.resource = resource
        self.compiled = compiled
        self.has_status = has_status

    def default(self, obj: Object) -> None:
        self.fill(obj)

    def fill(self, obj: Object) -> None:
        fill(obj, self.compiled.node)

    def changes_generation(self, obj: Object, old: Object) -> bool:
        kept = ("metadata", "status") if self.has_status else ("metadata",)
        return any(obj.get(key) != old.get(key) for key in {*obj, *old} if key not in kept)

    def validate(self, context: Context, obj: Object) -> Errors:
        return []

    def validate_update(self, context: Context, obj: Object, old: Object) -> Errors:
        return []

    def validate_status(self, context: Context, obj: Object, old: Object) -> Errors:
        return []
