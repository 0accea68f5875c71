"""Selectors of devices (`k8s.io/dynamic-resource-allocation/cel`): `device.driver`, `device.attributes["domain"].name`,
`device.capacity["domain"].name`. Names without a domain are in the driver's; a domain that the device does not know is an empty one."""
from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from kubepy.api.cel.environment import Environment, EvaluationError, Program
from kubepy.api.cel.function.quantities import quantity, semver
from kubepy.api.cel.kind import struct_of


@lru_cache(maxsize=1)
def device_environment() -> Environment:
    """What an expression can name."""
    domains = "map(string,map(string,dyn))"
    return Environment({"device": struct_of("kubernetes.DRADevice", {
        "driver": "string", "attributes": domains, "capacity": domains, "allowMultipleAllocations": "bool"})})


class _Domains(dict[str, dict[str, Any]]):
    def __missing__(self, domain: str) -> dict[str, Any]:
        return {}


class DeviceSelector:
    """One expression; raises CompileError when it is made."""

    def __init__(self, expression: str) -> None:
        self._program: Program = device_environment().compile(expression)

    def accepts(self, driver: str, device: Mapping[str, Any]) -> bool:
        """Whether a ResourceSlice's device is selected; raises EvaluationError."""
        attributes, capacity = _Domains(), _Domains()
        for name, value in (device.get("attributes") or {}).items():
            domain, _, key = name.rpartition("/")
            attributes.setdefault(domain or driver, {})[key] = _value(value)
        for name, value in (device.get("capacity") or {}).items():
            domain, _, key = name.rpartition("/")
            capacity.setdefault(domain or driver, {})[key] = quantity(str(value.get("value", "0")))
        found = self._program.evaluate({"device": {
            "driver": driver, "attributes": attributes, "capacity": capacity,
            "allowMultipleAllocations": bool(device.get("allowMultipleAllocations"))}})
        if not isinstance(found, bool):
            raise EvaluationError(f"must evaluate to bool, got {type(found).__name__}")
        return found


def _value(attribute: Mapping[str, Any]) -> Any:
    for kind in ("int", "bool", "string", "ints", "bools", "strings"):
        if attribute.get(kind) is not None:
            return attribute[kind]
    if attribute.get("versions") is not None:
        return [semver(text) for text in attribute["versions"]]
    return semver(attribute["version"]) if attribute.get("version") is not None else None
