"""Label and field selectors: parsing with Kubernetes' messages, and matching (`k8s.io/apimachinery/pkg/{labels,fields}`).

    parse_labels("app in (a, b), !old").matches({"app": "a"})
    from_object({"matchLabels": {"app": "a"}}).matches(labels)
    parse_fields("spec.nodeName=n1,status.phase!=Running").matches(fields)

A LabelSelector object that is absent (None) selects nothing, an empty one everything, as upstream's LabelSelectorAsSelector.
"""
from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kubepy.api import name as names
from kubepy.api.field import Errors, Path, forbidden, invalid, not_supported, required
from kubepy.api.field_selector import FieldRequirement, FieldSelector, SelectorError, parse_fields

__all__ = ["EVERYTHING", "NOTHING", "FieldRequirement", "FieldSelector", "LabelSelector", "Requirement", "SelectorError",
           "from_object", "from_set", "parse_fields", "parse_labels", "validate_labels", "validate_object"]

_SPECIAL = frozenset("=!(),<>")
_SPACES = frozenset(" \t\r\n")
_OPERATOR_TOKENS = {"=": "=", "==": "=", "!=": "!=", "in": "in", "notin": "notin", "gt": "gt", "lt": "lt", ">": "gt", "<": "lt"}
_LONGEST_OPERATORS = ("==", "!=", "=", "!", "(", ")", ",", "<", ">")
_OBJECT_OPERATORS = {"In": "in", "NotIn": "notin", "Exists": "exists", "DoesNotExist": "!"}


@dataclass(frozen=True, slots=True)
class Requirement:
    """One label requirement; `operator` is one of `=`, `!=`, `in`, `notin`, `exists`, `!`, `gt`, `lt`."""

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        operator = self.operator
        value = labels.get(self.key)
        if operator in ("=", "in"):
            return value is not None and value in self.values
        if operator in ("!=", "notin"):
            return value is None or value not in self.values
        if operator == "exists":
            return value is not None
        if operator == "!":
            return value is None
        if value is None:
            return False
        try:
            left, right = int(value), int(self.values[0])
        except ValueError:
            return False
        return left > right if operator == "gt" else left < right

    def __str__(self) -> str:
        if self.operator == "exists":
            return self.key
        if self.operator == "!":
            return f"!{self.key}"
        if self.operator in ("in", "notin"):
            return f"{self.key} {self.operator} ({','.join(sorted(self.values))})"
        sign = {"gt": ">", "lt": "<"}.get(self.operator, self.operator)
        return f"{self.key}{sign}{self.values[0]}"


class LabelSelector:
    """Compiled requirements, all of which must hold."""

    __slots__ = ("_equal", "_others", "nothing", "requirements")

    def __init__(self, requirements: Iterable[Requirement] = (), *, nothing: bool = False) -> None:
        self.requirements = tuple(sorted(requirements, key=lambda item: item.key))
        self.nothing = nothing
        self._equal = tuple((item.key, item.values[0]) for item in self.requirements
                            if item.operator in ("=", "in") and len(item.values) == 1)
        self._others = tuple(item for item in self.requirements if not (item.operator in ("=", "in") and len(item.values) == 1))

    def matches(self, labels: Mapping[str, str] | None) -> bool:
        if self.nothing:
            return False
        if labels is None:
            labels = {}
        for key, value in self._equal:
            if labels.get(key) != value:
                return False
        return not self._others or all(item.matches(labels) for item in self._others)

    @property
    def empty(self) -> bool:
        """Whether it selects everything."""
        return not self.requirements and not self.nothing

    def __str__(self) -> str:
        return ",".join(str(item) for item in self.requirements)


EVERYTHING = LabelSelector()
NOTHING = LabelSelector(nothing=True)


def parse_labels(text: str) -> LabelSelector:
    """`labels.Parse`; raises SelectorError."""
    if not text:
        return EVERYTHING
    return LabelSelector(_LabelParser(text).parse())


def from_set(labels: Mapping[str, str] | None) -> LabelSelector:
    """A selector for exactly these pairs (`spec.selector` of Services and ReplicationControllers); none selects everything."""
    return LabelSelector(Requirement(key, "=", (value,)) for key, value in (labels or {}).items())


def from_object(selector: Mapping[str, Any] | None) -> LabelSelector:
    """`metav1.LabelSelectorAsSelector`; raises SelectorError for an operator or a key that is not allowed."""
    if selector is None:
        return NOTHING
    labels: Mapping[str, str] = selector.get("matchLabels") or {}
    expressions: list[dict[str, Any]] = selector.get("matchExpressions") or []
    if not labels and not expressions:
        return EVERYTHING
    if expressions:
        return _compile(labels, expressions)
    key = tuple(labels.items())
    found = _COMPILED.get(key)
    if found is None:
        found = _compile(labels, ())
        if len(_COMPILED) >= _COMPILED_LIMIT:
            _COMPILED.clear()
        _COMPILED[key] = found
    return found


_COMPILED: dict[tuple[tuple[str, str], ...], LabelSelector] = {}
"""Selectors by their pairs: controllers ask for the same ones again and again, and checking their names is what costs."""
_COMPILED_LIMIT = 4096


def _compile(labels: Mapping[str, str], expressions: Sequence[Mapping[str, Any]]) -> LabelSelector:
    requirements = [_checked(key, "=", (value,)) for key, value in labels.items()]
    for expression in expressions:
        operator = _OBJECT_OPERATORS.get(expression.get("operator", ""))
        if operator is None:
            raise SelectorError(f'"{expression.get("operator", "")}" is not a valid label selector operator')
        requirements.append(_checked(expression.get("key", ""), operator, tuple(expression.get("values") or ())))
    return LabelSelector(requirements)


def validate_object(selector: Mapping[str, Any] | None, path: Path, *, allow_invalid_values: bool = False) -> Errors:
    """`ValidateLabelSelector`: the field errors of a LabelSelector object."""
    errors: Errors = []
    if selector is None:
        return errors
    errors += validate_labels(selector.get("matchLabels"), path.child("matchLabels"))
    for position, expression in enumerate(selector.get("matchExpressions") or []):
        here = path.child("matchExpressions").index(position)
        operator = expression.get("operator", "")
        values = expression.get("values") or []
        if operator in ("In", "NotIn"):
            if not values:
                errors.append(required(here.child("values"), "must be specified when `operator` is 'In' or 'NotIn'"))
        elif operator in ("Exists", "DoesNotExist"):
            if values:
                errors.append(forbidden(here.child("values"), "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"))
        else:
            errors.append(invalid(here.child("operator"), operator, "not a valid selector operator"))
        errors += [invalid(here.child("key"), expression.get("key", ""), why) for why in names.qualified(expression.get("key", ""))]
        if not allow_invalid_values:
            for index, value in enumerate(values):
                errors += [invalid(here.child("values").index(index), value, why) for why in names.label_value(value)]
    return errors


def validate_labels(labels: Mapping[str, str] | None, path: Path) -> Errors:
    """`ValidateLabels`: keys and values of a label map, told at the map's path."""
    errors: Errors = []
    for key, value in (labels or {}).items():
        errors += [invalid(path, key, why) for why in names.qualified(key)]
        errors += [invalid(path, value, why) for why in names.label_value(value)]
    return errors


def _checked(key: str, operator: str, values: tuple[str, ...]) -> Requirement:
    """`labels.NewRequirement`."""
    errors: Errors = []
    path = Path()
    errors += [invalid(path, key, why) for why in names.qualified(key)]
    if operator in ("in", "notin"):
        if not values:
            errors.append(invalid(path.child("values"), list(values), "for 'in', 'notin' operators, values set can't be empty"))
    elif operator in ("=", "!="):
        if len(values) != 1:
            errors.append(invalid(path.child("values"), list(values), "exact-match compatibility requires one single value"))
    elif operator in ("exists", "!"):
        if values:
            errors.append(invalid(path.child("values"), list(values), "values set must be empty for exists and does not exist"))
    elif operator in ("gt", "lt"):
        if len(values) != 1:
            errors.append(invalid(path.child("values"), list(values), "for 'Gt', 'Lt' operators, exactly one value is required"))
        for index, value in enumerate(values):
            if not _is_int64(value):
                errors.append(invalid(path.child("values").index(index), value, "for 'Gt', 'Lt' operators, the value must be an integer"))
    else:
        errors.append(not_supported(path.child("operator"), operator, ("in", "notin", "=", "==", "!=", "gt", "lt", "exists", "!")))
    for index, value in enumerate(values):
        errors += [invalid(path.child("values").index(index).key(key), value, why) for why in names.label_value(value)]
    if errors:
        texts = list(dict.fromkeys(str(error) for error in errors))
        raise SelectorError(texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]")
    return Requirement(key, operator, values)


def _is_int64(text: str) -> bool:
    try:
        return -(2**63) <= int(text) < 2**63
    except ValueError:
        return False


class _LabelParser:
    """The grammar of `labels.Parse`, token by token, so that its messages come out at the same places."""

    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text)
        self._at = 0

    def parse(self) -> list[Requirement]:
        requirements: list[Requirement] = []
        while True:
            token = self._peek()
            if token == "" and not requirements:
                return requirements
            if not (_is_identifier(token) or token == "!"):
                raise SelectorError(f"found '{token}', expected: !, identifier, or 'end of string'")
            try:
                requirements.append(self._requirement())
            except SelectorError as error:
                raise SelectorError(f"unable to parse requirement: {error}") from error
            token = self._next()
            if token == "":
                return requirements
            if token != ",":
                raise SelectorError(f"found '{token}', expected: ',' or 'end of string'")
            following = self._peek()
            if not (_is_identifier(following) or following == "!"):
                raise SelectorError(f"found '{following}', expected: identifier after ','")

    def _requirement(self) -> Requirement:
        key = self._next()
        if key == "!":
            key = self._next()
            if not _is_identifier(key):
                raise SelectorError(f"found '{key}', expected: identifier")
            return _checked(key, "!", ())
        if self._peek() in ("", ","):
            return _checked(key, "exists", ())
        why = names.qualified(key)
        if why:
            _checked(key, "exists", ())
        token = self._next()
        operator = _OPERATOR_TOKENS.get(token)
        if operator is None:
            raise SelectorError(f"found '{token}', expected: in, notin, =, ==, !=, gt, lt")
        if operator in ("in", "notin"):
            return _checked(key, operator, self._values())
        return _checked(key, operator, (self._exact_value(),))

    def _exact_value(self) -> str:
        if self._peek() in ("", ","):
            return ""
        token = self._next()
        if not _is_identifier(token):
            raise SelectorError(f"found '{token}', expected: identifier")
        return token

    def _values(self) -> tuple[str, ...]:
        token = self._next()
        if token != "(":
            raise SelectorError(f"found '{token}' expected: '('")
        token = self._peek()
        if token == ")":
            self._next()
            return ("",)
        if not (_is_identifier(token) or token == ","):
            raise SelectorError(f"found '{token}', expected: ',', ')' or identifier")
        values: list[str] = []
        while True:
            token = self._next()
            if _is_identifier(token):
                values.append(token)
                after = self._peek()
                if after == ",":
                    continue
                if after == ")":
                    self._next()
                    return tuple(dict.fromkeys(values))
                raise SelectorError(f"found '{after}', expected: ',' or ')'")
            if token == ",":
                if not values:
                    values.append("")
                after = self._peek()
                if after == ")":
                    self._next()
                    values.append("")
                    return tuple(dict.fromkeys(values))
                if after == ",":
                    self._next()
                    values.append("")
            else:
                raise SelectorError(f"found '{token}', expected: ',', or identifier")

    def _peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _next(self) -> str:
        token = self._peek()
        self._at += 1
        return token


def _is_identifier(token: str) -> bool:
    """In keys and values the words in, notin, gt and lt are plain identifiers."""
    return bool(token) and token[0] not in _SPECIAL


def _tokens(text: str) -> list[str]:
    tokens: list[str] = []
    at, end = 0, len(text)
    while at < end:
        char = text[at]
        if char in _SPACES:
            at += 1
        elif char in _SPECIAL:
            token = next(item for item in _LONGEST_OPERATORS if text.startswith(item, at))
            tokens.append(token)
            at += len(token)
        else:
            start = at
            while at < end and text[at] not in _SPECIAL and text[at] not in _SPACES:
                at += 1
            tokens.append(text[start:at])
    return tokens
