"""CEL expressions in built-in kinds: compiled when the object is written, so that what cannot work is refused.

Source: `k8s.io/apiserver/pkg/admission/plugin/cel` (environments and return types of admission expressions) and
`k8s.io/dynamic-resource-allocation/cel` (device selectors).
"""
from __future__ import annotations

from collections.abc import Sequence

from kubepy.api import field
from kubepy.api.cel import CompileError
from kubepy.api.cel.admission import BOOLEAN, Scope, WrongResult
from kubepy.api.cel.device import device_environment
from kubepy.api.cel.kind import BOOL, DYN, Kind
from kubepy.api.field import Errors, Path

MAX_DEVICE_EXPRESSION = 10 * 1024


def define(scope: Scope, name: str, expression: str, path: Path) -> Errors:
    """Compiles a variable, which later expressions can use, also where it is wrong."""
    try:
        scope.define(name, scope.compile(expression).kind)
    except CompileError as error:
        scope.define(name)
        return [_failed(expression, str(error), path)]
    return []


def complaints(scope: Scope, expression: str, path: Path, returns: Sequence[Kind] = BOOLEAN, *, authorizer: bool = True) -> Errors:
    """Of an expression that must give one of the types."""
    try:
        scope.compile(expression, returns, authorizer=authorizer)
    except WrongResult as error:
        return [field.invalid(path, expression, str(error))]
    except CompileError as error:
        return [_failed(expression, str(error), path)]
    return []


def device_selector(expression: str, path: Path) -> Errors:
    """Complaints about the selector of a device."""
    if len(expression) > MAX_DEVICE_EXPRESSION:
        return [field.too_long(path, MAX_DEVICE_EXPRESSION)]
    try:
        kind = device_environment().compile(expression).kind
    except CompileError as error:
        return [_failed(expression, str(error), path)]
    if kind in (BOOL, DYN):
        return []
    return [field.invalid(path, expression, f"must evaluate to bool or the unknown type, not {kind}")]


def _failed(expression: str, why: str, path: Path) -> field.FieldError:
    return field.invalid(path, expression, f"compilation failed: {why}")
