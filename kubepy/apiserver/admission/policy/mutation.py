"""What a mutation of a policy makes of an object (`k8s.io/apiserver/pkg/admission/plugin/policy/mutating/patch`). Pure.

An apply configuration is merged as server-side apply merges, without ownership; a JSON patch is applied as it is. Both fail in
upstream's words.
"""
from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

from kubepy.api.apply.shape import Shape
from kubepy.api.apply.typed import TypedError, field_set, merge
from kubepy.api.cel.function.mutation import check_names
from kubepy.api.cel.value import Duration, EvaluationError, ObjectValue, Optional, Timestamp, UInt, name_of
from kubepy.api.patch.json import JsonPatchError, apply_json_patch
from kubepy.api.types import Object
from kubepy.apiserver.admission.expression import failure
from kubepy.apiserver.admission.policy.definition import Mutation
from kubepy.apiserver.admission.policy.evaluation import Scope


class MutationFailed(ValueError):
    """A mutation that cannot be evaluated or does not apply."""


def mutate(scope: Scope, mutation: Mutation, obj: Object, shape: Shape) -> Object:
    """The object changed; `scope` has it as `object`. Raises MutationFailed."""
    try:
        value = scope.evaluate(mutation.expression)
    except ValueError as error:
        raise MutationFailed(failure(mutation.expression.source, error)) from error
    if mutation.type == "JSONPatch":
        return _patched(value, obj)
    return _applied(value, obj, shape)


def _patched(value: Any, obj: Object) -> Object:
    if not isinstance(value, list):
        raise MutationFailed(f"type mismatch: JSONPatchType.expression should evaluate to array but got {name_of(value)}")
    operations = []
    for item in value:
        if name_of(item) != "JSONPatch":
            raise MutationFailed(f"type mismatch: JSONPatchType.expression should evaluate to array of JSONPatch but got {name_of(item)}")
        operations.append(plain(item))
    try:
        found = apply_json_patch(obj, operations)
    except JsonPatchError as error:
        raise MutationFailed(f"JSON Patch: {error}") from error
    if not isinstance(found, dict):
        raise MutationFailed("JSON Patch: the patched document is no object")
    return found


def _applied(value: Any, obj: Object, shape: Shape) -> Object:
    if not isinstance(value, ObjectValue):
        raise MutationFailed(f"unsupported return type from ApplyConfiguration expression: {name_of(value)}")
    try:
        check_names(value)
    except EvaluationError as error:
        raise MutationFailed(f"type mismatch: {error}") from error
    config = {**plain(value), "apiVersion": obj.get("apiVersion"), "kind": obj.get("kind")}
    try:
        field_set(config, shape)
    except TypedError as error:
        raise MutationFailed(f"error applying patch: failed to convert patch object to typed object: {error}") from error
    if atomic := sorted(_atomic(config, shape, "")):
        raise MutationFailed("error applying patch: invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: "
                             f"{', '.join(atomic)}")
    merged: Object = merge(obj, config, shape)
    return merged


def _atomic(value: Any, shape: Shape | None, path: str) -> Iterator[str]:
    """Where a configuration sets what is owned whole."""
    if shape is None:
        return
    structure = shape.resolve(value)
    if isinstance(value, dict):
        if structure != "map":
            yield path
            return
        for key, item in value.items():
            yield from _atomic(item, shape.field(key), f"{path}.{key}")
    elif isinstance(value, list):
        if structure not in ("set", "keyed"):
            yield path
            return
        for item in value:
            yield from _atomic(item, shape.element, path)


def plain(value: Any) -> Any:
    """A CEL value as JSON."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, UInt):
        return int(value)
    if isinstance(value, (Timestamp, Duration)):
        return str(value)
    if isinstance(value, Optional):
        return plain(value.value) if value.has else None
    return value
