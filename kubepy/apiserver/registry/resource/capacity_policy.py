"""What parts of a device's capacity may be asked for, where several claims share the device."""
from __future__ import annotations

from kubepy.api import field
from kubepy.api.field import Errors, Path
from kubepy.api.quantity import Quantity, quantity
from kubepy.api.types import Object

_MAX_VALUES = 10
_MAX_INT64 = 2**63 - 1
_ONE_KIND = 'exactly one policy can be specified, cannot specify "validValues" and "validRange" at the same time'
_WRONG_DEFAULT = "default value is not valid according to the requestPolicy"


def request_policy(capacity: Quantity, policy: Object, path: Path) -> Errors:
    values, bounds = policy.get("validValues") or [], policy.get("validRange")
    if values and bounds is not None:
        return [field.forbidden(path, _ONE_KIND)]
    if not values and bounds is None:
        return []
    kind = "validValues" if values else "validRange"
    if policy.get("default") is None:
        return [field.required(path.child("default"), f"required when {kind} is defined")]
    default = quantity(policy["default"])
    if values:
        return _values(default, capacity, [quantity(value) for value in values], path.child(kind))
    return _range(default, capacity, bounds or {}, path.child(kind))


def _values(default: Quantity, capacity: Quantity, values: list[Quantity], path: Path) -> Errors:
    errors = [field.invalid(path.index(position), str(value), "values must be sorted in ascending order")
              for position, value in enumerate(values) if position and values[position - 1] > value]
    if len(values) > _MAX_VALUES:
        errors.append(field.too_many(path, len(values), _MAX_VALUES))
    else:
        errors += [field.invalid(path.index(position), str(value), f"option is larger than capacity value: {capacity}")
                   for position, value in enumerate(values) if value > capacity]
        seen: set[int] = set()
        for position, value in enumerate(values):
            if value.value() in seen:
                errors.append(field.duplicate(path.index(position), str(value.value())))
            seen.add(value.value())
    return errors if default in values else [*errors, field.invalid(path, str(default), _WRONG_DEFAULT)]


def _range(default: Quantity, capacity: Quantity, bounds: Object, path: Path) -> Errors:
    low, high, step = (None if bounds.get(key) is None else quantity(bounds[key]) for key in ("min", "max", "step"))
    if low is None:
        return [field.required(path.child("min"), "required when validRange is defined")]
    errors: Errors = []
    if low > capacity:
        errors.append(field.invalid(path.child("min"), str(low), f"min is larger than capacity value: {capacity}"))
    if default < low:
        errors.append(field.invalid(path.child("default"), str(default), f"default is less than min: {low}"))
    if high is not None:
        if low > high:
            errors.append(field.invalid(path.child("max"), str(low), f"min is larger than max: {high}"))
        if high > capacity:
            errors.append(field.invalid(path.child("max"), str(high), f"max is larger than capacity value: {capacity}"))
        if default > high:
            errors.append(field.invalid(path.child("default"), str(default), f"default is more than max: {high}"))
    if step is not None:
        errors += _steps(default, capacity, low, high, step, path)
    return errors


def _steps(default: Quantity, capacity: Quantity, low: Quantity, high: Quantity | None, step: Quantity, path: Path) -> Errors:
    """The default and the upper bound are whole steps away from the lower bound; in whole numbers, as upstream counts."""
    at = path.child("step")
    if step.sign() <= 0:
        return [field.invalid(at, str(step), "must be greater than zero")]
    errors: Errors = []
    if low + step > capacity:
        errors.append(field.invalid(at, str(step), f"one step {low + step} is larger than capacity value: {capacity}"))
    if any(not 0 <= given.value() <= _MAX_INT64 for given in (default, low, high, step) if given is not None):
        return errors
    return errors + [field.invalid(at, str(given), f"value is not a multiple of a given step ({step}) from ({low})")
                     for given in (default, high) if given is not None and (given.value() - low.value()) % step.value()]
