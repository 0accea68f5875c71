"""Small checks that validations are composed of; each gives the errors found, with Kubernetes' words.

Source: `k8s.io/apimachinery/pkg/api/validation` and the shared parts of `k8s.io/kubernetes/pkg/apis/core/validation`.
"""
from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from kubepy.api import field, name
from kubepy.api.field import Errors, Path
from kubepy.api.quantity import QuantityError, parse_quantity
from kubepy.api.types import Object

IMMUTABLE = "field is immutable"
MAX_INT32 = 2**31 - 1


def named(validator: Callable[[str], list[str]], value: str, path: Path) -> Errors:
    """Every complaint of a name validator about a value."""
    return [field.invalid(path, value, message) for message in validator(value)]


def need(value: Any, path: Path, detail: str = "") -> Errors:
    """A value that must be there and not empty."""
    return [] if value else [field.required(path, detail)]


def need_named(validator: Callable[[str], list[str]], value: str, path: Path) -> Errors:
    return named(validator, value, path) if value else [field.required(path)]


def non_negative(value: int | None, path: Path) -> Errors:
    """ValidateNonnegativeField; an absent value is fine."""
    return [field.invalid(path, value, "must be greater than or equal to 0")] if value is not None and value < 0 else []


def positive(value: int | None, path: Path) -> Errors:
    return [field.invalid(path, value, "must be greater than 0")] if value is not None and value <= 0 else []


def between(value: int | None, low: int, high: int, path: Path) -> Errors:
    if value is None or low <= value <= high:
        return []
    return [field.invalid(path, value, name.range_error(low, high))]


def one_of(value: Any, path: Path, supported: Sequence[str]) -> Errors:
    """The value is one of those named, in the order in which Kubernetes lists them."""
    return [] if value in supported else [field.not_supported(path, value, supported)]


def need_one_of(value: Any, path: Path, supported: Sequence[str], detail: str = "") -> Errors:
    return one_of(value, path, supported) if value else [field.required(path, detail)]


def immutable(new: Any, old: Any, path: Path) -> Errors:
    """ValidateImmutableField."""
    return [] if new == old else [field.invalid(path, new, IMMUTABLE)]


def port(value: int, path: Path) -> Errors:
    return named_int(name.port_number, value, path)


def named_int(validator: Callable[[int], list[str]], value: int, path: Path) -> Errors:
    return [field.invalid(path, value, message) for message in validator(value)]


def port_or_name(value: Any, path: Path) -> Errors:
    """ValidatePortNumOrName."""
    if isinstance(value, str):
        return named(name.port_name, value, path)
    return port(value if isinstance(value, int) else 0, path)


def quantity_non_negative(value: Any, path: Path) -> Errors:
    """ValidateNonnegativeQuantity."""
    return [field.invalid(path, str(value), "must be greater than or equal to 0")] if sign(value) < 0 else []


def quantity_positive(value: Any, path: Path) -> Errors:
    return [field.invalid(path, str(value), "must be greater than zero")] if sign(value) <= 0 else []


def basic_resource(value: Any, path: Path) -> Errors:
    """validateBasicResource; the value is shown in whole units."""
    if sign(value) >= 0:
        return []
    return [field.invalid(path, parse_quantity(str(value)).value(), "must be a valid resource quantity")]


def sign(value: Any) -> int:
    try:
        return parse_quantity(str(value)).sign()
    except QuantityError:
        return 0


def unique(values: Iterable[Any], path: Path, key: str = "") -> Errors:
    """Duplicates, at their index (and the key below it)."""
    seen: set[Any] = set()
    errors: Errors = []
    for position, value in enumerate(values):
        if value in seen:
            at = path.index(position)
            errors.append(field.duplicate(at.child(key) if key else at, value))
        seen.add(value)
    return errors


def labels(value: Object | None, path: Path) -> Errors:
    """ValidateLabels: keys and values, reported at the map."""
    errors: Errors = []
    for key, text in sorted((value or {}).items()):
        errors += named(name.qualified, key, path)
        errors += named(name.label_value, text, path)
    return errors


def percent_or_int(value: Any) -> int | None:
    """The number of a percentage text (`"25%"` → 25), None for anything else."""
    match = re.fullmatch(r"([0-9]+)%", value) if isinstance(value, str) else None
    return int(match[1]) if match else None


def int_or_percent(value: Any, path: Path) -> Errors:
    """ValidatePositiveIntOrPercent."""
    if isinstance(value, str):
        if percent_or_int(value) is None:
            return [field.invalid(path, value, "a valid percent string must be a numeric string followed by an ending '%' "
                                               "(e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')")]
        return []
    return non_negative(value, path)


def not_over_100_percent(value: Any, path: Path) -> Errors:
    """IsNotMoreThan100Percent."""
    percent = percent_or_int(value)
    return [field.invalid(path, value, "must not be greater than 100%")] if percent is not None and percent > 100 else []


def absolute_path(value: str, path: Path) -> Errors:
    return [] if value.startswith("/") else [field.invalid(path, value, "must be an absolute path")]


def no_backsteps(value: str, path: Path) -> Errors:
    return [field.invalid(path, value, "must not contain '..'")] if ".." in value.split("/") else []


def descending_path(value: str, path: Path) -> Errors:
    """validateLocalDescendingPath."""
    errors = [field.invalid(path, value, "must be a relative path")] if value.startswith("/") else []
    return errors + no_backsteps(value, path)


def non_reserved_path(value: str, path: Path) -> Errors:
    """validateLocalNonReservedPath."""
    errors = descending_path(value, path)
    if value.startswith("..") and not value.startswith("../"):
        errors.append(field.invalid(path, value, "must not start with '..'"))
    return errors


def file_mode(value: int | None, path: Path) -> Errors:
    if value is None or 0 <= value <= 0o777:
        return []
    return [field.invalid(path, value, "must be a number between 0 and 0777 (octal), both inclusive")]


def selector_value(selector: Object) -> field.Struct:
    """A label selector as messages show it."""
    shown = field.Struct()
    if selector.get("matchLabels"):
        shown["matchLabels"] = dict(sorted(selector["matchLabels"].items()))
    if selector.get("matchExpressions"):
        shown["matchExpressions"] = [{key: item[key] for key in ("key", "operator", "values") if key in item}
                                     for item in selector["matchExpressions"]]
    return shown


def immutable_selector(new: Object | None, old: Object | None, path: Path) -> Errors:
    """ValidateImmutableField for a label selector."""
    return [] if new == old else [field.invalid(path, None if new is None else selector_value(new), IMMUTABLE)]


def conditions(items: Sequence[Object], path: Path) -> Errors:
    """ValidateConditions of `meta/v1`."""
    errors: Errors = []
    seen: set[str] = set()
    for position, item in enumerate(items):
        at, kind, reason = path.index(position), item.get("type", ""), item.get("reason", "")
        if kind in seen:
            errors.append(field.duplicate(at.child("type"), kind))
        seen.add(kind)
        errors += named(name.qualified, kind, at.child("type"))
        errors += one_of(item.get("status", ""), at.child("status"), ("False", "True", "Unknown"))
        if item.get("observedGeneration", 0) < 0:
            errors.append(field.invalid(at.child("observedGeneration"), item["observedGeneration"],
                                        "must be greater than or equal to zero"))
        errors += need(item.get("lastTransitionTime"), at.child("lastTransitionTime"), "must be set")
        errors += need(reason, at.child("reason"), "must be set")
        if reason and not re.fullmatch(_REASON, reason):
            errors.append(field.invalid(at.child("reason"), reason, _REASON_WORDS))
        errors += [field.too_long(at.child(key), limit) for key, limit in (("reason", 1024), ("message", 32 * 1024))
                   if len(item.get(key, "").encode()) > limit]
    return errors


_REASON = r"[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?"
_REASON_WORDS = name.regex_error("a condition reason must start with alphabetic character, optionally followed by a string of alphanumeric "
                                 "characters or '_,:', and must end with an alphanumeric character or '_'", _REASON, "my_name", "MY_NAME",
                                 "MyName", "ReasonA,ReasonB", "ReasonA:ReasonB")


def counts(status: Object, path: Path, *keys: str) -> Errors:
    """Counters of a status are not negative."""
    return [error for key in keys for error in non_negative(status.get(key), path.child(key))]


def not_decremented(new: Object, old: Object, path: Path, key: str) -> Errors:
    """A count that only grows (IsDecremented)."""
    before, now = old.get(key), new.get(key)
    return [field.invalid(path.child(key), now or 0, "cannot be decremented")] if before is not None and (now or 0) < before else []


def at_most(status: Object, path: Path, limit: str, keys: Sequence[str], words: str) -> Errors:
    """Counters of a status are not above another one."""
    bound = status.get(limit, 0)
    return [field.invalid(path.child(key), status.get(key, 0), f"cannot be greater than {words}") for key in keys
            if status.get(key, 0) > bound]
