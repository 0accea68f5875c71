"""CSINode: the storage drivers on a node (`pkg/registry/storage/csinode`)."""
from __future__ import annotations

from kubepy.api import field, name
from kubepy.api.field import Errors, Path
from kubepy.api.resource import CSI_NODES
from kubepy.api.types import Object
from kubepy.apiserver.registry import check
from kubepy.apiserver.registry.columns import AGE, NAME, at, column
from kubepy.apiserver.registry.core.podspec_network_volumes import csi_driver_name
from kubepy.apiserver.registry.kind import Kind, Strategy
from kubepy.apiserver.request import Context

_DRIVERS = Path("spec.drivers")


class CSINodeStrategy(Strategy):
    null_when_empty = (("spec", "drivers"),)
    allow_unconditional_update = False
    returns_deleted = True

    def fill(self, obj: Object) -> None:
        for driver in at(obj, "spec.drivers", []):
            driver.setdefault("topologyKeys", None)

    def settle(self, obj: Object) -> None:
        super().settle(obj)
        for driver in at(obj, "spec.drivers") or ():
            driver["topologyKeys"] = driver.get("topologyKeys") or None

    def validate(self, context: Context, obj: Object) -> Errors:
        errors: Errors = []
        seen: set[str] = set()
        for position, driver in enumerate(at(obj, "spec.drivers", [])):
            path = _DRIVERS.index(position)
            errors += _driver(driver, path, seen)
        return errors

    def validate_update(self, context: Context, obj: Object, old: Object) -> Errors:
        errors = self.validate(context, obj)
        for was in at(old, "spec.drivers", []):
            for driver in at(obj, "spec.drivers", []):
                if driver.get("name") == was.get("name") and _identity(driver) != _identity(was):
                    shown = field.Struct(Name=driver.get("name", ""), NodeID=driver.get("nodeID", ""),
                                         TopologyKeys=driver.get("topologyKeys"), Allocatable=None)
                    errors.append(field.invalid(_DRIVERS, shown, check.IMMUTABLE))
        return errors


def _identity(driver: Object) -> tuple[object, ...]:
    """What of a driver stays; how many volumes it can take changes."""
    return driver.get("nodeID"), driver.get("topologyKeys") or []


def _driver(driver: Object, path: Path, seen: set[str]) -> Errors:
    errors = csi_driver_name(driver.get("name", ""), path.child("name"))
    node = driver.get("nodeID", "")
    if not node:
        errors.append(field.required(path.child("nodeID")))
    elif len(node) > 192:
        errors.append(field.invalid(path.child("nodeID"), node, "must be 192 characters or less"))
    errors += check.non_negative((driver.get("allocatable") or {}).get("count"), path.child("allocatable", "count"))
    if driver.get("name", "") in seen:
        errors.append(field.duplicate(path.child("name"), driver.get("name", "")))
    seen.add(driver.get("name", ""))
    keys = driver.get("topologyKeys") or []
    for position, key in enumerate(keys):
        if not key:
            errors.append(field.required(path))
        if key in keys[:position]:
            errors.append(field.duplicate(path, key))
        errors += check.named(name.qualified, key, path)
    return errors


KIND = Kind(
    CSI_NODES,
    "csinode",
    CSINodeStrategy(),
    columns=(
        NAME,
        column("Drivers", "integer", "Drivers indicates the number of CSI drivers registered on the node",
               lambda obj: len(at(obj, "spec.drivers", []))),
        AGE,
    ),
)
