"""CEL rules of schemas (x-kubernetes-validations): compiled once for a version, evaluated on each write.

Source: `pkg/apiserver/schema/cel/{compilation,validation}.go`. A rule that speaks of oldSelf is a transition rule: it needs a value that
was there before. Rules of values that did not change are not asked again on updates (ratcheting), transition rules are.
"""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kubepy.api.cel import CompileError, Environment, EvaluationError, Program
from kubepy.api.cel.frame import BUDGET, CALL_LIMIT
from kubepy.api.cel.kind import DYN, Kind, optional_of
from kubepy.api.cel.schema import kind_of, to_cel
from kubepy.api.cel.value import NONE, Optional
from kubepy.api.field import Errors, FieldError, Path, duplicate, forbidden, invalid, required
from kubepy.api.structural.node import Node
from kubepy.api.structural.validate import MISSING

NOT_CHECKED = ("some validation rules were not checked because the object was invalid; correct the existing errors to complete "
               "validation")
_BLOCKING = frozenset(("FieldValueRequired", "FieldValueTooLong", "FieldValueTooMany", "FieldValueTypeInvalid"))
_SCALARS = frozenset(("string", "integer", "number", "boolean"))


OUT_OF_BUDGET = "validation failed due to running out of cost budget, no further validation rules will be run"


class Budget:
    """What the rules of one object may still cost; `left` is negative when no further rules are asked."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = BUDGET


class Rule:
    """One rule, compiled; raises CompileError."""

    def __init__(self, raw: Mapping[str, Any], node: Node, kind: Kind | None = None) -> None:
        self.source: str = raw.get("rule") or ""
        self.message: str = (raw.get("message") or "").strip()
        self.reason: str = raw.get("reason") or ""
        self.field_path: str = raw.get("fieldPath") or ""
        self.optional = bool(raw.get("optionalOldSelf"))
        expression: str = raw.get("messageExpression") or ""
        seen = kind or kind_of(node) or DYN
        environment = Environment({"self": seen, "oldSelf": optional_of(seen) if self.optional else seen})
        self.program = environment.compile(self.source)
        self.transition = self.program.names("oldSelf")
        self.expression: Program | None = None
        self.expression_error = ""
        if expression:
            try:
                self.expression = environment.compile(expression)
            except CompileError as error:
                self.expression_error = str(error)

    def check(self, value: Any, node: Node, old: Any, path: Path, budget: Budget) -> FieldError | None:
        """The error of a value; `old` is MISSING where none was. The value is JSON."""
        variables = {"self": to_cel(value, node), "oldSelf": self._before(old, node)}
        shown = "object" if node.type == "object" else node.type or "object"
        found = self.program.run(variables)
        budget.left -= found.cost
        if budget.left < 0:
            return invalid(path, shown, OUT_OF_BUDGET)
        if found.error is not None:
            return invalid(path, shown, self._words(found.error, budget))
        if found.value is True:
            return None
        return self._failed(path, value, node, self._text(variables, budget) or self.message or f"failed rule: {self.source.strip()}")

    def _before(self, old: Any, node: Node) -> Any:
        if self.optional:
            return NONE if old is MISSING else Optional(to_cel(old, node))
        return None if old is MISSING else to_cel(old, node)

    def _words(self, error: EvaluationError, budget: Budget) -> str:
        text, rule = str(error), self.message or self.source.strip()
        if text.startswith("no such overload"):
            return f"'{text}': call arguments did not match a supported operator, function or macro signature for rule: {rule}"
        if text.startswith("operation cancelled: actual cost limit exceeded"):
            budget.left = -1
            return f"'{text}': no further validation rules will be run due to call cost exceeds limit for rule: {rule}"
        return f"{text} evaluating rule: {rule}"

    def _text(self, variables: Mapping[str, Any], budget: Budget) -> str:
        """What the message expression says, or "" where it fails or says nothing that can be shown."""
        if self.expression is None:
            return ""
        found = self.expression.run(variables, min(CALL_LIMIT, budget.left))
        budget.left -= found.cost
        text = found.value.strip() if isinstance(found.value, str) else ""
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


class Rules:
    """The rules of a node and of what is below it; compiled when they are first asked."""

    def __init__(self, node: Node) -> None:
        self.node = node
        kind = kind_of(node) if node.rules else None
        self.own = [Rule(raw, node, kind) for raw in node.rules]
        self._properties = {name: Rules(child) for name, child in node.properties.items() if child.ruled}
        self._items = Rules(node.items) if node.items is not None and node.items.ruled else None
        self._additional = Rules(node.additional) if node.additional is not None and node.additional.ruled else None

    def check(self, value: Any, old: Any = MISSING, path: Path | None = None, budget: Budget | None = None) -> Errors:
        errors: Errors = []
        self._walk(value, old, path or Path(), errors, budget or Budget())
        return errors

    def property(self, name: str) -> Rules | None:
        return self._properties.get(name)

    def _walk(self, value: Any, old: Any, path: Path, errors: Errors, budget: Budget) -> None:
        if value is None or budget.left < 0:
            return
        unchanged = old is not MISSING and old == value
        for rule in self.own:
            if rule.transition:
                if (old is MISSING or old is None) and not rule.optional:
                    continue
            elif unchanged:
                continue
            error = rule.check(value, self.node, MISSING if old is None else old, path, budget)
            if error is not None:
                errors.append(error)
            if budget.left < 0:
                return
        if type(value) is dict:
            before = old if type(old) is dict else {}
            for key, item in value.items():
                below = self._properties.get(key)
                if below is not None:
                    below._walk(item, before.get(key, MISSING), path.child(key), errors, budget)
                elif self._additional is not None and key not in self.node.properties:
                    self._additional._walk(item, before.get(key, MISSING), path.key(key), errors, budget)
        elif type(value) is list and self._items is not None:
            known = self._correlated(old)
            for position, item in enumerate(value):
                before = known.get(self._key(item), MISSING) if known else MISSING
                self._items._walk(item, before, path.index(position), errors, budget)

    def _correlated(self, old: Any) -> dict[Any, Any]:
        return {self._key(item): item for item in old} if type(old) is list and self.node.list_type == "map" else {}

    def _key(self, item: Any) -> Any:
        return tuple(str(item.get(key)) for key in self.node.list_keys) if type(item) is dict else None


def blocked(errors: Errors) -> bool:
    """Whether errors forbid asking the rules at all."""
    return any(error.reason in _BLOCKING for error in errors)


def not_checked() -> FieldError:
    return FieldError("<nil>", "FieldValueInvalid", f"Invalid value: null: {NOT_CHECKED}")
