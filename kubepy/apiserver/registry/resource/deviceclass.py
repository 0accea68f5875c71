"""DeviceClass: a kind of devices by selectors (`pkg/registry/resource/deviceclass`)."""
from __future__ import annotations

from kubepy.api import field
from kubepy.api.field import Errors, Path
from kubepy.api.resource import Resource
from kubepy.api.types import Object
from kubepy.apiserver.registry.columns import AGE, NAME
from kubepy.apiserver.registry.core.podspec_resources import is_extended
from kubepy.apiserver.registry.kind import Kind, Strategy
from kubepy.apiserver.registry.resource.claim_spec import MAX_DEVICES, device_config, selectors
from kubepy.apiserver.registry.resource.slice_device import limited
from kubepy.apiserver.request import Context

_SPEC = Path("spec")


class DeviceClassStrategy(Strategy):
    tracks_generation = True
    returns_deleted = True

    def validate(self, context: Context, obj: Object) -> Errors:
        spec = obj.get("spec") or {}
        errors = selectors(spec.get("selectors") or [], _SPEC.child("selectors"))
        errors += limited(spec.get("config") or [], MAX_DEVICES, _SPEC.child("config"), device_config)
        extended = spec.get("extendedResourceName")
        if extended is not None and not is_extended(extended):
            errors.append(field.invalid(_SPEC.child("extendedResourceName"), extended, "must be a valid extended resource name"))
        return errors


KIND = Kind(
    Resource("resource.k8s.io", "v1", "deviceclasses", "DeviceClass", False),
    "deviceclass",
    DeviceClassStrategy(),
    columns=(NAME, AGE),
)
