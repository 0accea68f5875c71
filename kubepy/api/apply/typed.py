"""Values seen through their shapes: field sets of values, comparison, merging and removing.

Source: `structured-merge-diff/typed`. A field that is absent and one that is null differ, as they do for Go structs.
"""
from __future__ import annotations

from typing import Any, NamedTuple

import orjson

from kubepy.api.apply.fieldset import FieldSet, is_member, node_of, show_element
from kubepy.api.apply.shape import Shape


class TypedError(ValueError):
    """A value does not fit its shape; the message starts with the path, as upstream's."""


class Comparison(NamedTuple):
    added: FieldSet
    removed: FieldSet
    modified: FieldSet


_ABSENT: Any = object()
_LEAF: FieldSet = {}


def field_set(value: Any, shape: Shape, path: str = "") -> FieldSet:
    """The members a manager owns that applied `value`: leaves, items of keyed lists, keys of plain maps, and what is empty.

    Raises TypedError for unknown fields, wrong types and duplicate items."""
    structure = shape.resolve(value)
    if structure == "map":
        return _map_field_set(value, shape, path)
    if structure in ("set", "keyed"):
        out: FieldSet = {}
        for item, element in _unique_items(value, shape, path):
            node = _child_set(item, shape.element, f"{path}{show_element(element)}")
            out[element] = node_of(True, node) or _LEAF
        return out
    return {}


def _map_field_set(value: Any, shape: Shape, path: str) -> FieldSet:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise TypedError(f"{path or '.'}: expected map, got &{{{_go(value)}}}")
    out: FieldSet = {}
    fields, element = shape.fields, shape.element
    texts = element is not None and element.structure == "scalar" and element.scalar == "string"
    for name, item in value.items():
        if texts and type(item) is str and name not in fields:  # most of what there is many of
            out["f:" + name] = _LEAF
            continue
        below = fields.get(name) or element
        if below is None:
            raise TypedError(f"{path}.{name}: field not declared in schema")
        children = _child_set(item, below, f"{path}.{name}")
        structure = below.resolve(item)
        leaf = structure in ("scalar", "atomic", "list") or item is None or item == {}
        node = node_of(leaf or name not in fields, children)
        if node is not None:
            out[f"f:{name}"] = node
    return out


def _child_set(value: Any, shape: Shape | None, path: str) -> FieldSet:
    if shape is None or value is None:
        return {}
    structure = shape.resolve(value)
    if structure == "scalar":
        _check_scalar(value, shape, path)
        return {}
    if structure in ("atomic", "list"):
        _check_container(value, structure, path)
        if structure == "list" and shape.element is not None:  # owned as one, but of no other type than declared
            for position, item in enumerate(value):
                _child_set(item, shape.element, f"{path}[{position}]")
        return {}
    return field_set(value, shape, path)


def _check_container(value: Any, structure: str, path: str) -> None:
    expected = list if structure == "list" else dict
    if not isinstance(value, expected):
        raise TypedError(f"{path}: expected {'list' if expected is list else 'map'}, got &{{{_go(value)}}}")


def _check_scalar(value: Any, shape: Shape, path: str) -> None:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if shape.scalar == "numeric" and not number:
        raise TypedError(f"{path}: expected numeric (int or float), got {_go_type(value)}")
    if shape.scalar == "string" and not isinstance(value, str):
        raise TypedError(f"{path}: expected string, got &value.valueUnstructured{{Value:{_go(value)}}}")
    if shape.scalar == "boolean" and not isinstance(value, bool):
        raise TypedError(f"{path}: expected boolean, got &value.valueUnstructured{{Value:{_go(value)}}}")
    if shape.scalar == "untyped" and shape.structure == "scalar" and isinstance(value, (dict, list)):
        raise TypedError(f"{path}: expected any scalar, got {_go_type(value)}")


def element_key(item: Any, shape: Shape, path: str, position: int) -> str:
    """The path element of a list item: its value in a set, the values of its keys in a keyed list."""
    if shape.structure == "set":
        if isinstance(item, (dict, list)):
            what = "map" if isinstance(item, dict) else "list"
            raise TypedError(f"{path}: element {position}: associative list without keys has an element that's a {what} type")
        return "v:" + orjson.dumps(item).decode()
    if not isinstance(item, dict):
        if item is None:
            raise TypedError(f"{path}: element {position}: associative list with keys may not have a null element")
        raise TypedError(f"{path}: element {position}: associative list with keys may not have non-map elements")
    keys = {name: item.get(name, shape.key_defaults.get(name)) for name in shape.keys if name in item or name in shape.key_defaults}
    if not keys:
        names = " ".join(shape.keys)
        raise TypedError(f"{path}: element {position}: associative list with keys has an element that omits all key fields [{names}] "
                         "(and doesn't have default values for any key fields)")
    return "k:" + orjson.dumps(keys).decode()


def _elements(value: Any, shape: Shape, path: str) -> list[tuple[Any, str]]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise TypedError(f"{path}: expected list, got &{{{_go(value)}}}")
    return [(item, element_key(item, shape, path, position)) for position, item in enumerate(value)]


def _unique_items(value: Any, shape: Shape, path: str) -> list[tuple[Any, str]]:
    items = _elements(value, shape, path)
    seen: set[str] = set()
    for _, element in items:
        if element in seen:
            raise TypedError(f"{path}: duplicate entries for key {show_element(element)}")
        seen.add(element)
    return items


def compare(old: Any, new: Any, shape: Shape) -> Comparison:
    """What changed between two values of one shape, neither absent at the top."""
    if type(old) is dict and type(new) is dict:
        # Most writes leave whole parts (spec, status) as they are: those are found by their bytes, without walking them.
        new = {name: old[name] if type(value) is dict and name in old and _alike(old[name], value) else value
               for name, value in new.items()}
    added, removed, modified = _compare(old, new, shape)
    return Comparison(added or {}, removed or {}, modified or {})


Known = dict[tuple[bytes, bytes], "_Change"]
"""What the specs of new objects come to, by their JSON before and after."""
MAX_KNOWN, MAX_KNOWN_BYTES = 128, 16 << 10


def compare_new(zero: Any, new: Any, shape: Shape, known: Known) -> Comparison:
    """As `compare`, for a creation: what the spec comes to is kept in `known`, as many objects are made from one template.

    On a pod of 3.5 KB this takes 15 µs instead of 100."""
    before, spec = zero.get("spec"), new.get("spec")
    if type(before) is not dict or type(spec) is not dict:
        return compare(zero, new, shape)
    try:
        key = orjson.dumps(before), orjson.dumps(spec)
    except TypeError:  # numbers beyond 64 bits
        return compare(zero, new, shape)
    change = known.get(key)
    if change is None:
        change = _compare(before, spec, shape.field("spec"))
        if len(key[1]) <= MAX_KNOWN_BYTES:
            if len(known) >= MAX_KNOWN:
                oldest, *_ = known  # in one step: threads compare too
                known.pop(oldest, None)
            known[key] = change
    rest = compare(zero, {**new, "spec": before}, shape)
    _collect("f:spec", change, *rest)
    return rest


def _alike(one: Any, other: Any) -> bool:
    try:
        return orjson.dumps(one) == orjson.dumps(other)
    except TypeError:  # numbers beyond 64 bits
        return False


_Change = tuple[FieldSet | None, FieldSet | None, FieldSet | None]
_SAME: _Change = (None, None, None)


def _compare(old: Any, new: Any, shape: Shape | None) -> _Change:
    if old is new:
        return _SAME
    if old is _ABSENT:
        return _whole(new, shape), None, None
    if new is _ABSENT:
        return None, _whole(old, shape), None
    if shape is None:
        return _SAME if old == new else (None, None, _LEAF)
    structure, former = shape.resolve(new), shape.resolve(old)
    if structure != former and new is not None and old is not None:
        return _whole(new, shape), None, _LEAF  # a deduced value changed its form
    if new is None:
        structure = former
    if structure == "map" and (old or new) and isinstance(old or {}, dict) and isinstance(new or {}, dict):
        return _compare_maps(old or {}, new or {}, shape)
    if structure in ("set", "keyed") and (old or new) and isinstance(old or [], list) and isinstance(new or [], list):
        return _compare_lists(old or [], new or [], shape)
    return _SAME if _equal(old, new) else (None, None, _LEAF)


def _compare_maps(old: dict[str, Any], new: dict[str, Any], shape: Shape) -> _Change:
    added: FieldSet = {}
    removed: FieldSet = {}
    modified: FieldSet = {}
    for name, value in new.items():
        before = old.get(name, _ABSENT)
        if before is value:
            continue
        if type(value) is str:
            if before is _ABSENT:
                added[f"f:{name}"] = _LEAF
                continue
            if type(before) is str:
                if before != value:
                    modified[f"f:{name}"] = _LEAF
                continue
        _collect(f"f:{name}", _compare(before, value, shape.field(name)), added, removed, modified)
    for name in old.keys() - new.keys():
        removed[f"f:{name}"] = _whole(old[name], shape.field(name))
    return added or None, removed or None, modified or None


def _compare_lists(old: list[Any], new: list[Any], shape: Shape) -> _Change:
    added: FieldSet = {}
    removed: FieldSet = {}
    modified: FieldSet = {}
    before, after = _grouped(old, shape), _grouped(new, shape)
    for element, items in after.items():
        former = before.get(element, [])
        if len(items) <= 1 and len(former) <= 1:
            _collect(element, _compare(former[0] if former else _ABSENT, items[0], shape.element), added, removed, modified)
        elif not former:
            added[element] = _LEAF
        elif not _equal(items, former):
            modified[element] = _LEAF
    for element, items in before.items():
        if element not in after:
            removed[element] = _whole(items[0], shape.element) if len(items) == 1 else _LEAF
    return added or None, removed or None, modified or None


def _collect(key: str, change: _Change, added: FieldSet, removed: FieldSet, modified: FieldSet) -> None:
    for node, target in zip(change, (added, removed, modified), strict=True):
        if node is not None:
            target[key] = node


def _grouped(items: list[Any], shape: Shape) -> dict[str, list[Any]]:
    """Items by their path element; live objects may hold duplicates, which then count as one leaf."""
    groups: dict[str, list[Any]] = {}
    for position, item in enumerate(items):
        groups.setdefault(element_key(item, shape, "", position), []).append(item)
    return groups


def _whole(value: Any, shape: Shape | None) -> FieldSet:
    """The node of something that came or went as a whole: it and everything below it."""
    if shape is None or not value:
        return _LEAF
    structure = shape.resolve(value)
    if structure == "map" and isinstance(value, dict):
        return {".": _LEAF, **{f"f:{name}": _LEAF if type(item) is str else _whole(item, shape.field(name))
                               for name, item in value.items()}}
    if structure in ("set", "keyed") and isinstance(value, list):
        groups = _grouped(value, shape)
        return {".": _LEAF, **{element: _whole(items[0], shape.element) if len(items) == 1 else _LEAF for element, items in groups.items()}}
    return _LEAF


def merge(live: Any, config: Any, shape: Shape) -> Any:
    """`live` with what `config` says laid over it: its leaves win, what it does not mention stays."""
    structure = shape.resolve(config)
    if structure == "map" and isinstance(config, dict) and isinstance(live, dict):
        out = dict(live)
        for name, value in config.items():
            if type(value) is str:
                out[name] = value
                continue
            below = shape.field(name)
            out[name] = merge(live[name], value, below) if name in live and below is not None and live[name] is not None else value
        return out
    if structure in ("set", "keyed") and isinstance(config, list) and isinstance(live, list):
        return _merge_lists(live, config, shape)
    return config


def _merge_lists(live: list[Any], config: list[Any], shape: Shape) -> list[Any]:
    """Items in the configuration's order, with live-only items kept between their neighbours."""
    left, right = _elements(live, shape, ""), _elements(config, shape, "")
    by_left: dict[str, Any] = {}
    for item, element in left:
        by_left.setdefault(element, item)
    wanted = {element for _, element in right}
    shared = [element for _, element in right if element in by_left]
    out: list[Any] = []
    merged: set[str] = set()
    at, r, s = 0, 0, 0

    def take_right() -> None:
        nonlocal r, s
        item, element = right[r]
        mine = by_left.get(element, _ABSENT)
        out.append(item if mine is _ABSENT or shape.element is None else merge(mine, item, shape.element))
        merged.add(element)
        r += 1
        if s < len(shared) and shared[s] == element:
            s += 1

    while at < len(left) or r < len(right):
        element = left[at][1] if at < len(left) else ""
        if at < len(left) and r < len(right):
            if element == right[r][1]:
                at += 1
                take_right()
                continue
            if element in wanted and s < len(shared) and shared[s] != element:
                at += 1  # shared, but its turn comes where the configuration puts it
                continue
        if at < len(left):
            if element not in wanted:
                out.append(left[at][0])
                at += 1
                continue
            if element in merged:
                at += 1
        if r < len(right):
            take_right()
    return out


def remove(value: Any, fields: FieldSet, shape: Shape | None) -> Any:
    """`value` without the members of `fields`; a container that loses everything becomes None."""
    if shape is None or not fields:
        return value
    structure = shape.resolve(value)
    if structure == "map" and isinstance(value, dict):
        out: dict[str, Any] = {}
        for name, item in value.items():
            node = fields.get(f"f:{name}")
            if node is None:
                out[name] = item
            elif not is_member(node):
                out[name] = remove(item, node, shape.field(name))
        return out or None
    if structure in ("set", "keyed") and isinstance(value, list):
        kept = []
        for item, element in _elements(value, shape, ""):
            node = fields.get(element)
            if node is None:
                kept.append(item)
            elif not is_member(node):
                kept.append(remove(item, node, shape.element))
        return kept or None
    return value


def without_nulls(value: Any) -> Any:
    """What is left when emptied containers go, as they do when Go decodes them."""
    if isinstance(value, dict):
        return {name: item if type(item) is str else without_nulls(item) for name, item in value.items() if item is not None}
    if isinstance(value, list):
        return [without_nulls(item) for item in value]
    return value


def _equal(a: Any, b: Any) -> bool:
    """JSON equality: unlike Python's, true is not 1."""
    if isinstance(a, bool) is not isinstance(b, bool):
        return False
    if isinstance(a, dict) and isinstance(b, dict):
        return len(a) == len(b) and all(key in b and _equal(value, b[key]) for key, value in a.items())
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(_equal(x, y) for x, y in zip(a, b, strict=True))
    return bool(a == b)


def _go(value: Any) -> str:
    if isinstance(value, dict):
        return "map[" + " ".join(f"{name}:{_go(item)}" for name, item in sorted(value.items())) + "]"
    if isinstance(value, list):
        return "[" + " ".join(_go(item) for item in value) + "]"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _go_type(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    names = {str: "string", int: "int64", float: "float64", dict: "map[string]interface {}", list: "[]interface {}"}
    return names.get(type(value), "<nil>")
