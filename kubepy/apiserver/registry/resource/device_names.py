"""Names that devices are told apart by: of drivers' pools, of attributes and capacities, of shares; labels of taints and conditions."""
from __future__ import annotations

import re

from kubepy.api import field, name
from kubepy.api.field import Errors, Path
from kubepy.api.gofmt import go_quote
from kubepy.api.types import Object
from kubepy.apiserver.registry import check
from kubepy.apiserver.registry.core.podspec_network_volumes import csi_driver_name

EFFECTS = ("NoExecute", "NoSchedule", "None")
_MAX_ID, _MAX_POOL, _MAX_BINDING_CONDITIONS = 32, 253, 4
_UUID = re.compile(r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}")


def pool_name(text: str, path: Path) -> Errors:
    if not text:
        return [field.required(path)]
    errors = [field.too_long(path, _MAX_POOL)] if len(text.encode()) > _MAX_POOL else []
    return errors + [error for part in text.split("/") for error in check.named(name.subdomain, part, path)]


def attribute_name(text: str, path: Path) -> Errors:
    """An identifier, with or without a domain before it."""
    domain, slash, rest = text.partition("/")
    if not slash:
        return _identifier(domain, path)
    if "/" in rest:
        return [field.invalid(path, text, "must not contain more than one slash")]
    errors = csi_driver_name(domain, path) if domain else [field.invalid(path, "", "the domain must not be empty")]
    return errors + (_identifier(rest, path) if rest else [field.invalid(path, "", "the name must not be empty")])


def full_attribute_name(text: str, path: Path) -> Errors:
    """An identifier with a domain before it."""
    errors = attribute_name(text, path)
    if "/" not in text:
        errors.append(field.invalid(path, text, "a fully qualified name must be a domain and a name separated by a slash"))
    return errors


def _identifier(text: str, path: Path) -> Errors:
    errors = [field.too_long(path, _MAX_ID)] if len(text.encode()) > _MAX_ID else []
    return errors + check.named(name.c_identifier, text, path)


def share_id(text: str, path: Path) -> Errors:
    """A UUID in its usual form."""
    why = _not_uuid(text)
    if why:
        return [field.invalid(path, text, f"error validating uid: {why}")]
    if len(text) != 36 or text != text.lower():
        return [field.invalid(path, text, "uid must be in RFC 4122 normalized form, `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx` with lowercase "
                                          "hexadecimal characters")]
    return []


def _not_uuid(text: str) -> str:
    """What Go's library has against a text as a UUID, in any of the forms that it takes."""
    if len(text) == 32:
        return "" if re.fullmatch(r"[0-9a-fA-F]{32}", text) else "invalid UUID format"
    if len(text) == 45:
        if text[:9].lower() != "urn:uuid:":
            return f"invalid urn prefix: {go_quote(text[:9])}"
        text = text[9:]
    elif len(text) == 38:
        if text[0] != "{" or text[-1] != "}":
            return "invalid bracketed UUID format"
        text = text[1:-1]
    elif len(text) != 36:
        return f"invalid UUID length: {len(text)}"
    return "" if _UUID.fullmatch(text) else "invalid UUID format"


def toleration(value: Object, path: Path) -> Errors:
    errors: Errors = []
    key, operator = value.get("key", ""), value.get("operator", "")
    if key:
        errors += check.named(name.qualified, key, path.child("key"))
    if operator == "Exists":
        if value.get("value"):
            errors.append(field.invalid(path.child("value"), value["value"], "must be empty for operator `Exists`"))
    elif operator == "Equal":
        errors += check.named(name.label_value, value.get("value", ""), path.child("value"))
    else:
        errors += check.need_one_of(operator, path.child("operator"), ("Equal", "Exists"))
    effect = value.get("effect")
    return errors + (check.one_of(effect, path.child("effect"), EFFECTS) if effect else [])


def taint(value: Object, path: Path) -> Errors:
    errors = check.named(name.qualified, value.get("key", ""), path.child("key"))
    if value.get("value"):
        errors += check.named(name.label_value, value["value"], path.child("value"))
    return errors + check.need_one_of(value.get("effect", ""), path.child("effect"), EFFECTS)


def binding_conditions(holder: Object, path: Path) -> Errors:
    """Conditions that the binding of a pod waits for, and those on which it fails: neither without the other, none in both."""
    good, bad = holder.get("bindingConditions") or [], holder.get("bindingFailureConditions") or []
    errors: Errors = []
    for items, key in ((good, "bindingConditions"), (bad, "bindingFailureConditions")):
        if len(items) > _MAX_BINDING_CONDITIONS:
            errors.append(field.too_many(path.child(key), len(items), _MAX_BINDING_CONDITIONS))
        else:
            errors += [error for position, item in enumerate(items)
                       for error in check.named(name.qualified, item, path.child(key).index(position))]
    errors += check.unique(good, path.child("bindingConditions"))
    for position, item in enumerate(bad):
        at = path.child("bindingFailureConditions").index(position)
        if item in bad[:position]:
            errors.append(field.duplicate(at, item))
        if item in good:
            errors.append(field.invalid(at, item, "bindingFailureConditions must not overlap with bindingConditions"))
    if bad and not good:
        errors.append(field.invalid(path.child("bindingConditions"), holder.get("bindingConditions"),
                                    "bindingConditions are required to use bindingFailureConditions"))
    if good and not bad:
        errors.append(field.invalid(path.child("bindingFailureConditions"), holder.get("bindingFailureConditions"),
                                    "bindingFailureConditions are required to use bindingConditions"))
    return errors


def opaque(value: object, path: Path, limit: int) -> Errors:
    """A driver's own JSON object (a RawExtension)."""
    if value is None:
        return [field.required(path)]
    if len(field.show(value).encode()) > limit:
        return [field.too_long(path, limit)]
    return [] if isinstance(value, dict) else [field.invalid(path, "<value omitted>", "must be a valid JSON object")]
