"""VolumeAttributesClass: changeable attributes of volumes (`pkg/registry/storage/volumeattributesclass`)."""
from __future__ import annotations

from kubepy.api import field, name
from kubepy.api.field import Errors, Path
from kubepy.api.resource import Resource
from kubepy.api.types import Object
from kubepy.apiserver.registry import check
from kubepy.apiserver.registry.columns import AGE, NAME, column
from kubepy.apiserver.registry.kind import Kind, Strategy
from kubepy.apiserver.registry.storage.storageclass import parameters
from kubepy.apiserver.request import Context


class VolumeAttributesClassStrategy(Strategy):
    returns_deleted = True

    def validate(self, context: Context, obj: Object) -> Errors:
        driver = obj.get("driverName", "")
        errors = check.need(driver, Path("driverName"))
        if driver:
            errors += check.named(name.qualified, driver.lower(), Path("driverName"))
        return errors + parameters(obj.get("parameters"), Path("parameters"), allow_empty=False)

    def validate_update(self, context: Context, obj: Object, old: Object) -> Errors:
        errors = [field.forbidden(Path(key), f"updates to {key} are forbidden.") for key in ("driverName", "parameters")
                  if obj.get(key) != old.get(key)]
        return errors + self.validate(context, obj)


KIND = Kind(
    Resource("storage.k8s.io", "v1", "volumeattributesclasses", "VolumeAttributesClass", False),
    "volumeattributesclass",
    VolumeAttributesClassStrategy(),
    columns=(NAME, column("DriverName", "string", "=storage.v1.VolumeAttributesClass.driverName", lambda obj: obj.get("driverName", "")),
             AGE),
    short_names=("vac",),
)
