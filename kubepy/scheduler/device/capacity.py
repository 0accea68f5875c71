"""What a request consumes of a device's capacities, by each capacity's own policy. Amounts in thousandths."""
from __future__ import annotations

from collections.abc import Mapping

from kubepy.api.types import Object
from kubepy.scheduler.device.pool import quantity


def consumption(device: Object, requests: Mapping[str, int]) -> dict[str, int]:
    """Capacity -> amount; raises ValueError when the device cannot give what is asked."""
    capacities: Mapping[str, Object] = device.get("capacity") or {}
    if missing := requests.keys() - capacities.keys():
        raise ValueError(f"no capacity {min(missing)}")
    found: dict[str, int] = {}
    for name, capacity in capacities.items():
        value, policy = quantity(capacity.get("value")), capacity.get("requestPolicy") or {}
        amount = _rounded(requests[name], policy) if name in requests else (
            quantity(policy["default"]) if policy.get("default") is not None else value)
        if amount > value:
            raise ValueError(f"not enough {name}")
        found[name] = amount
    return found


def _rounded(amount: int, policy: Object) -> int:
    """Up to the next amount that the policy allows."""
    if policy.get("validValues"):
        fitting = [value for value in map(quantity, policy["validValues"]) if value >= amount]
        if not fitting:
            raise ValueError("more than any valid value")
        return min(fitting)
    bounds = policy.get("validRange")
    if bounds:
        least = quantity(bounds.get("min"))
        amount = max(amount, least)
        if bounds.get("step") is not None and (step := quantity(bounds["step"])):
            amount = least + -(-(amount - least) // step) * step
        if bounds.get("max") is not None and amount > quantity(bounds["max"]):
            raise ValueError("more than the valid range")
    return amount
