"""Equality as Kubernetes means it (`equality.Semantic.DeepEqual`): quantities by amount, absent the same as empty for lists and maps."""
from __future__ import annotations

from typing import Any

from kubepy.api.quantity import QuantityError, quantity
from kubepy.api.schema.shape import Struct, Type


def equal(shape: Struct, one: Any, other: Any) -> bool:
    """Whether two decoded values of a struct are the same."""
    if one is other:
        return True
    one, other = one or {}, other or {}
    return all(equal_field(shape, key, one.get(key), other.get(key)) for key in {*one, *other})


def equal_field(shape: Struct, name: str, one: Any, other: Any) -> bool:
    """Whether two decoded values of a struct's field are the same."""
    if one is other:
        return True
    field = shape.fields.get(name)
    return bool(one == other) if field is None else _equal(field.type, one, other)


def _equal(type_: Type, one: Any, other: Any) -> bool:
    kind = type_.kind
    if kind == "struct":
        # an absent pointer is not an empty struct, unless the struct is no pointer: then both are written
        if (one is None) != (other is None):
            return False
        return equal(type_.struct, one, other)
    if kind == "array":
        assert type_.item is not None
        left, right = one or [], other or []
        item = type_.item
        return len(left) == len(right) and all(_equal(item, first, second) for first, second in zip(left, right, strict=True))
    if kind == "map":
        assert type_.item is not None
        left, right = one or {}, other or {}
        return left.keys() == right.keys() and all(_equal(type_.item, left[key], right[key]) for key in left)
    if kind == "quantity" and one is not None and other is not None:
        try:
            return quantity(one) == quantity(other)
        except QuantityError:
            return bool(one == other)
    return type(one) is type(other) and bool(one == other)
