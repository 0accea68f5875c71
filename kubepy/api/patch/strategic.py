"""Strategic merge patch (`k8s.io/apimachinery/pkg/util/strategicpatch`): a merge patch that knows which lists are merged, and by what.

Directives: `$patch` (replace, delete), `$retainKeys`, `$setElementOrder/FIELD`, `$deleteFromPrimitiveList/FIELD`. Strategies and merge
keys come from the kind's shape. Lists come out in upstream's order: what the patch names in the patch's order, what it does not name
before or behind it as it stood.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kubepy.api.gofmt import go_value
from kubepy.api.schema.shape import Field, Struct

_PATCH = "$patch"
_RETAIN = "$retainKeys"
_ORDER = "$setElementOrder"
_DELETE = "$deleteFromPrimitiveList"


class StrategicError(ValueError):
    """A patch that cannot be applied. `code` is the HTTP status upstream answers: 400 for a bad format, 500 for the rest."""

    def __init__(self, message: str, code: int = 500) -> None:
        super().__init__(message)
        self.code = code


def apply_strategic_patch(document: dict[str, Any], patch: dict[str, Any], shape: Struct | None) -> dict[str, Any]:
    """The document after the patch; raises StrategicError. Unchanged parts are shared with document and patch."""
    return _merge_map(document, patch, shape)


def _merge_map(original: dict[str, Any], patch: dict[str, Any], shape: Struct | None) -> dict[str, Any]:
    if _PATCH in patch:
        directive = patch[_PATCH]
        if directive == "replace":
            return {key: value for key, value in patch.items() if key != _PATCH}
        if directive == "delete":
            return {}
        raise _bad_type(directive, patch)
    result = dict(original)
    patch = dict(patch)
    if _RETAIN in patch:
        _retain(result, patch)
    for key in [key for key in patch if key.startswith(_ORDER)]:
        _merge_ordered(result, patch, key, shape)
    for key, value in patch.items():
        deleting = key.startswith(_DELETE)
        if deleting:
            key = _field_of(key)
        if value is None:
            result.pop(key, None)
            continue
        if key not in result:
            if not deleting:
                kept = _without_directives(_without_nulls(value))
                if kept is not _GONE:
                    result[key] = kept
            continue
        current = result[key]
        field = shape.fields.get(key) if shape is not None else None
        if type(current) is dict and type(value) is dict:
            if _strategy(field) == "replace":
                result[key] = value
            else:
                result[key] = _merge_map(current, value, _struct_of(field))
        elif type(current) is list and type(value) is list:
            if deleting or _strategy(field) == "merge":
                result[key] = _merge_list(current, value, field, deleting)
            else:
                result[key] = value
        elif not deleting:
            result[key] = value
    return result


def _retain(result: dict[str, Any], patch: dict[str, Any]) -> None:
    retained = patch.pop(_RETAIN)
    if type(retained) is not list:
        raise StrategicError("invalid patch format of retainKeys", 400)
    for key, value in patch.items():
        if value is not None and not key.startswith((_DELETE, _ORDER)) and key not in retained:
            raise StrategicError("invalid patch format of retainKeys", 400)
    for key in [key for key in result if key not in retained]:
        del result[key]


def _merge_ordered(result: dict[str, Any], patch: dict[str, Any], directive: str, shape: Struct | None) -> None:
    """Merges one list and puts it in the order that `$setElementOrder` asks for."""
    order = patch.pop(directive)
    key = _field_of(directive)
    current, given = result.get(key), patch.get(key)
    if type(order) is not list or not isinstance(current, (list, type(None))) or not isinstance(given, (list, type(None))):
        raise StrategicError("invalid patch format of setElementOrder list", 400)
    field = shape.fields.get(key) if shape is not None else None
    merge_key = field.merge_key if field is not None else ""
    _check_order(given or [], order, merge_key)
    if current is None and given is None:
        return
    if current is not None and given is not None:
        merged = _merge_list(current, given, field, False) if _strategy(field) == "merge" else given
    elif current is not None:
        merged = current
    else:
        kept = _without_directives(given)
        merged = [] if kept is _GONE else kept
    # deletions by $deleteFromPrimitiveList come first: they are not part of the order
    deletion = f"{_DELETE}/{key}"
    if type(patch.get(deletion)) is list:
        dropped = patch.pop(deletion)
        merged = [item for item in merged if item not in dropped]
    result[key] = _arrange(merged, order, current or [], merge_key)
    patch.pop(key, None)


def _check_order(given: Sequence[Any], order: Sequence[Any], merge_key: str) -> None:
    wanted = [item for item in given if not (merge_key and isinstance(item, dict) and item.get(_PATCH) == "delete")]
    at = 0
    for item in order:
        if at < len(wanted) and _identity(wanted[at], merge_key) == _identity(item, merge_key):
            at += 1
    if at < len(wanted):
        raise StrategicError(f"The order in patch list:\n{go_value(list(given))}\n doesn't match {_ORDER} list:\n{go_value(list(order))}\n")


def _merge_list(original: list[Any], patch: list[Any], field: Field | None, deleting: bool) -> list[Any]:
    if not original and not patch:
        return original
    elements = [*original, *patch]
    maps = sum(isinstance(item, dict) for item in elements)
    if maps and maps != len(elements):
        raise StrategicError("list element types are not identical: [map[string]interface {} string]")
    if not maps:
        if deleting:
            return [item for item in original if item not in patch]
        merged: list[Any] = []
        for item in elements:
            if item not in merged:
                merged.append(item)
        return _arrange(merged, patch, original, "")
    merge_key = field.merge_key if field is not None else ""
    if not merge_key:
        raise StrategicError(f"cannot merge lists without merge key for {field.name if field is not None else ''}")
    original, patch = _special_elements(original, patch, merge_key)
    struct = field.type.item.struct if field is not None and field.type.item is not None and field.type.item.kind == "struct" else None
    merged = list(original)
    for element in patch:
        if merge_key not in element:
            raise _no_key(element, merge_key)
        for position, current in enumerate(merged):
            if merge_key not in current:
                raise _no_key(current, merge_key)
            if current[merge_key] == element[merge_key]:
                merged[position] = _merge_map(current, element, struct)
                break
        else:
            merged.append(_without_directives(_without_nulls(element)))
    return _arrange(merged, patch, original, merge_key)


def _special_elements(original: list[Any], patch: list[Any], merge_key: str) -> tuple[list[Any], list[Any]]:
    """Carries out the `$patch` elements of a list: deletions, or the replacement of everything."""
    plain, replace = [], False
    for element in patch:
        directive = element.get(_PATCH)
        if directive is None:
            plain.append(element)
        elif directive == "delete":
            if merge_key not in element:
                raise _no_key(element, merge_key)
            original = [item for item in original if item.get(merge_key) != element[merge_key]]
        elif directive == "replace":
            replace = True
        elif directive == "merge":
            raise StrategicError("merging lists cannot yet be specified in the patch")
        else:
            raise _bad_type(directive, element)
    return (plain, []) if replace else (original, plain)


def _arrange(items: list[Any], order: Sequence[Any], server_order: Sequence[Any], merge_key: str) -> list[Any]:
    """Items that `order` names in that order; the others, in the server's order, as far forward as they stood."""
    wanted = {_identity(item, merge_key): at for at, item in reversed(list(enumerate(order)))}
    stood = {_identity(item, merge_key): at for at, item in reversed(list(enumerate(server_order)))}
    named = sorted((item for item in items if _identity(item, merge_key) in wanted), key=lambda item: wanted[_identity(item, merge_key)])
    others = [item for item in items if _identity(item, merge_key) not in wanted]
    others.sort(key=lambda item: stood.get(_identity(item, merge_key), -1))
    result: list[Any] = []
    left, right = 0, 0
    while left < len(others) and right < len(named):
        ours, theirs = stood.get(_identity(others[left], merge_key)), stood.get(_identity(named[right], merge_key))
        if ours is not None and theirs is not None and ours < theirs:
            result.append(others[left])
            left += 1
        else:
            result.append(named[right])
            right += 1
    return [*result, *others[left:], *named[right:]]


def _identity(item: Any, merge_key: str) -> Any:
    """What tells elements apart, hashable: the merge key's value, or the value itself."""
    if merge_key and isinstance(item, dict):
        item = item.get(merge_key)
    return (type(item) is bool, item) if isinstance(item, (str, int, float, type(None))) else go_value(item)


def _strategy(field: Field | None) -> str:
    """merge, replace or "" (retainKeys is no strategy of merging)."""
    if field is None:
        return ""
    return next((item for item in field.strategies if item != "retainKeys"), "")


def _struct_of(field: Field | None) -> Struct | None:
    return field.type.struct if field is not None and field.type.kind == "struct" else None


def _field_of(directive: str) -> str:
    _, slash, field = directive.partition("/")
    if not slash or not field:
        raise StrategicError("invalid patch format of primitive list" if directive.startswith(_DELETE)
                             else "invalid patch format of setElementOrder list", 400)
    return field


class _Gone:
    __slots__ = ()


_GONE: Any = _Gone()


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value


def _without_directives(value: Any) -> Any:
    """A value that is new to the document, without what was meant for merging it; `_GONE` when nothing is left."""
    if isinstance(value, list):
        kept = [_without_directives(item) for item in value]
        return [item for item in kept if item is not _GONE]
    if not isinstance(value, dict):
        return value
    if value.get(_PATCH) in ("delete", "replace") and (value[_PATCH] == "delete" or len(value) == 1):
        return _GONE
    result = {}
    for key, item in value.items():
        if key in (_PATCH, _RETAIN) or key.startswith((_ORDER, _DELETE)):
            continue
        kept = _without_directives(item)
        if kept is not _GONE:
            result[key] = kept
    return result


def _bad_type(directive: Any, patch: dict[str, Any]) -> StrategicError:
    return StrategicError(f"unknown patch type: {go_value(directive)} in map: {go_value(patch)}")


def _no_key(element: dict[str, Any], merge_key: str) -> StrategicError:
    return StrategicError(f"map: {go_value(element)} does not contain declared merge key: {merge_key}")
