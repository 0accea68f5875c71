"""CSIStorageCapacity: how much a driver can still provision (`pkg/registry/storage/csistoragecapacity`)."""
from __future__ import annotations

from kubepy.api import name, selector
from kubepy.api.field import Errors, Path
from kubepy.api.resource import CSI_STORAGE_CAPACITIES
from kubepy.api.types import Object
from kubepy.apiserver.registry import check
from kubepy.apiserver.registry.columns import PLAIN
from kubepy.apiserver.registry.kind import Kind, Strategy
from kubepy.apiserver.request import Context


class CSIStorageCapacityStrategy(Strategy):
    allow_unconditional_update = False

    def validate(self, context: Context, obj: Object) -> Errors:
        errors = selector.validate_object(obj.get("nodeTopology"), Path("nodeTopology"))
        errors += check.named(name.subdomain, obj.get("storageClassName", ""), Path("storageClassName"))
        return errors + (check.quantity_non_negative(obj["capacity"], Path("capacity")) if obj.get("capacity") is not None else [])

    def validate_update(self, context: Context, obj: Object, old: Object) -> Errors:
        errors = check.immutable_selector(obj.get("nodeTopology"), old.get("nodeTopology"), Path("nodeTopology"))
        return errors + check.immutable(obj.get("storageClassName"), old.get("storageClassName"), Path("storageClassName"))


KIND = Kind(CSI_STORAGE_CAPACITIES, "csistoragecapacity", CSIStorageCapacityStrategy(), columns=PLAIN)
