"""CEL rules of schemas (x-kubernetes-validations): compiled once for a version, evaluated on each write.

Source: `pkg/apiserver/schema/cel/{compilation,validation}.go`. A rule that speaks of oldSelf is a transition rule: it needs a value that
was there before. Rules of values that did not change are not asked again on updates (ratcheting), transition rules are.
"""
from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from kubepy.api.cel import CompileError, Environment, EvaluationError, Program
from kubepy.api.cel.types import Pool, to_cel
from kubepy.api.field import Errors, FieldError, Path, duplicate, forbidden, invalid, required
from kubepy.api.structural.node import Node
from kubepy.api.structural.validate import MISSING

_OLD = re.compile(r"(?<![\w.])oldSelf(?!\w)")
_TEXT = re.compile(r"""("(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')""")
_OPTIONAL = "[has_old ? optional.of(old_value) : optional.none()]"
NOT_CHECKED = ("some validation rules were not checked because the object was invalid; correct the existing errors to complete "
               "validation")
_BLOCKING = frozenset(("FieldValueRequired", "FieldValueTooLong", "FieldValueTooMany", "FieldValueTypeInvalid"))
_SCALARS = frozenset(("string", "integer", "number", "boolean"))


def mentions_old(source: str) -> bool:
    return _OLD.search(_TEXT.sub('""', source)) is not None


class Rule:
    """One rule, compiled; raises CompileError."""

    def __init__(self, raw: Mapping[str, Any], node: Node, pool: Pool, signature: str) -> None:
        self.source: str = raw.get("rule") or ""
        self.message: str = (raw.get("message") or "").strip()
        self.reason: str = raw.get("reason") or ""
        self.field_path: str = raw.get("fieldPath") or ""
        self.optional = bool(raw.get("optionalOldSelf"))
        expression: str = raw.get("messageExpression") or ""
        self.transition = mentions_old(self.source)
        self.program = _compile(self.source, pool, signature, self.optional, single=False)
        self.expression: Program | None = None
        self.expression_error = ""
        if expression:
            try:
                self.expression = _compile(expression, pool, signature, self.optional, single=True)
            except CompileError as error:
                self.expression_error = str(error)

    def check(self, value: Any, node: Node, old: Any, path: Path) -> FieldError | None:
        """The error of a value; `old` is MISSING where none was. The value is JSON."""
        variables = _variables(value, node, old, optional=self.optional)
        try:
            if self.program.evaluate(variables) is True:
                return None
        except EvaluationError as error:
            shown = "object" if node.type == "object" else node.type or "object"
            return invalid(path, shown, f"{error} evaluating rule: {self.message or self.source}")
        text = self._text(variables) or self.message or f"failed rule: {self.source}"
        return self._failed(path, value, node, text)

    def _text(self, variables: Mapping[str, Any]) -> str:
        """What the message expression says, or "" where it fails or says nothing that can be shown."""
        if self.expression is None:
            return ""
        try:
            found = self.expression.evaluate(variables)
        except EvaluationError:
            return ""
        text = found.strip() if isinstance(found, str) else ""
        return "" if "\n" in text or len(text) > 5 * 1024 else text

    def _failed(self, path: Path, value: Any, node: Node, text: str) -> FieldError:
        if self.field_path:
            joint = "" if self.field_path.startswith((".", "[")) else "."
            path = Path(f"{path.text}{joint}{self.field_path}".removeprefix("."))
        if self.reason == "FieldValueRequired":
            return required(path, text)
        if self.reason == "FieldValueForbidden":
            return forbidden(path, text)
        if self.reason == "FieldValueDuplicate":
            return duplicate(path, value)
        if node.type in _SCALARS or node.int_or_string:
            return invalid(path, value, text)
        return FieldError(str(path), "FieldValueInvalid", f"Invalid value: {text}")


def _compile(source: str, pool: Pool, signature: str, optional: bool, *, single: bool) -> Program:
    """`single` expressions answer a value, others a boolean; an optional oldSelf is put in by a macro of one step."""
    if not optional:
        return Environment({"self": signature, "oldSelf": signature}, pool).compile(source)
    wrapped = f"{_OPTIONAL}.map(oldSelf, {source})[0]" if single else f"{_OPTIONAL}.all(oldSelf, {source})"
    return Environment({"self": signature, "old_value": signature, "has_old": "bool"}, pool).compile(wrapped)


def _variables(value: Any, node: Node, old: Any, *, optional: bool) -> dict[str, Any]:
    before = None if old is MISSING else to_cel(old, node)
    shown = to_cel(value, node)
    if optional:
        return {"self": shown, "old_value": before, "has_old": old is not MISSING}
    return {"self": shown, "oldSelf": before}


class Rules:
    """The rules of a node and of what is below it; compiled when they are first asked."""

    def __init__(self, node: Node, pool: Pool | None = None) -> None:
        self.node = node
        self._pool = pool or Pool()
        signature = self._pool.signature(node) if node.rules else ""
        self.own = [Rule(raw, node, self._pool, signature) for raw in node.rules]
        self._properties = {name: Rules(child, self._pool) for name, child in node.properties.items() if child.ruled}
        self._items = Rules(node.items, self._pool) if node.items is not None and node.items.ruled else None
        self._additional = Rules(node.additional, self._pool) if node.additional is not None and node.additional.ruled else None

    def check(self, value: Any, old: Any = MISSING, path: Path | None = None) -> Errors:
        errors: Errors = []
        self._walk(value, old, path or Path(), errors)
        return errors

    def property(self, name: str) -> Rules | None:
        return self._properties.get(name)

    def _walk(self, value: Any, old: Any, path: Path, errors: Errors) -> None:
        if value is None:
            return
        unchanged = old is not MISSING and old == value
        for rule in self.own:
            if rule.transition:
                if (old is MISSING or old is None) and not rule.optional:
                    continue
            elif unchanged:
                continue
            error = rule.check(value, self.node, MISSING if old is None else old, path)
            if error is not None:
                errors.append(error)
        if type(value) is dict:
            before = old if type(old) is dict else {}
            for key, item in value.items():
                below = self._properties.get(key)
                if below is not None:
                    below._walk(item, before.get(key, MISSING), path.child(key), errors)
                elif self._additional is not None and key not in self.node.properties:
                    self._additional._walk(item, before.get(key, MISSING), path.key(key), errors)
        elif type(value) is list and self._items is not None:
            known = self._correlated(old)
            for position, item in enumerate(value):
                self._items._walk(item, known.get(self._key(item), MISSING) if known else MISSING, path.index(position), errors)

    def _correlated(self, old: Any) -> dict[Any, Any]:
        return {self._key(item): item for item in old} if type(old) is list and self.node.list_type == "map" else {}

    def _key(self, item: Any) -> Any:
        return tuple(str(item.get(key)) for key in self.node.list_keys) if type(item) is dict else None


def blocked(errors: Errors) -> bool:
    """Whether errors forbid asking the rules at all."""
    return any(error.reason in _BLOCKING for error in errors)


def not_checked() -> FieldError:
    return FieldError("<nil>", "FieldValueInvalid", f"Invalid value: null: {NOT_CHECKED}")
