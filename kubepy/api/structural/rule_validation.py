"""Rules as definitions bring them: they compile, answer booleans, and name what exists (`pkg/apis/apiextensions/validation`)."""
from __future__ import annotations

import re
from typing import Any

from kubepy.api.cel import CompileError, Program
from kubepy.api.cel.cost import LIMIT, TOTAL_LIMIT, UNBOUNDED, cardinality, estimate, over_budget
from kubepy.api.cel.kind import Kind
from kubepy.api.cel.schema import kind_of
from kubepy.api.field import Errors, FieldError, Path, Struct, forbidden, invalid, not_supported, required, show
from kubepy.api.structural.node import Node
from kubepy.api.structural.rule import Rule

_REASONS = ("FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired")


class Budget:
    """The costs of all expressions of a schema."""

    def __init__(self) -> None:
        self.total = 0
        self.costly: list[tuple[int, Path]] = []

    def add(self, cost: int, path: Path) -> None:
        self.total = min(UNBOUNDED, self.total + cost)
        if cost * 100 > TOTAL_LIMIT:
            self.costly = sorted([*self.costly, (cost, path)], key=lambda item: -item[0])[:4]

    def errors(self, path: Path) -> Errors:
        if self.total <= TOTAL_LIMIT:
            return []
        title = "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema"
        text = "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema"
        return [*(forbidden(where, text) for _, where in self.costly), forbidden(path, over_budget(title, self.total, TOTAL_LIMIT))]


def validate_rules(root: Node, path: Path) -> Errors:
    """Errors of the rules of a schema, what they cost among them."""
    budget = Budget()
    errors = _validate(root, path, None, 1, budget)
    return errors + budget.errors(path)


def _validate(node: Node, path: Path, uncorrelated: Path | None, times: int | None, budget: Budget) -> Errors:
    """`uncorrelated` is the list whose items have no old values to be told apart by; `times` how often the node can stand in an object,
    None where nothing bounds it."""
    errors: Errors = []
    where = path.child("x-kubernetes-validations")
    ready: list[tuple[Any, Path]] = []
    for position, raw in enumerate(node.rules):
        here = where.index(position)
        found = _shape(raw, node, here)
        errors += found
        if not any(error.field.endswith((".rule", ".messageExpression")) for error in found):
            ready.append((raw, here))
    if not errors:
        kind = kind_of(node) if ready else None
        for raw, here in ready:
            errors += _compiled(raw, node, kind, here, uncorrelated, times, budget)
    for name, child in node.properties.items():
        errors += _validate(child, path.child("properties").key(name), uncorrelated, times, budget)
    if node.items is not None:
        below = uncorrelated or (None if node.list_type == "map" else path)
        errors += _validate(node.items, path.child("items"), below, _multiplied(times, node.raw.get("maxItems")), budget)
    if node.additional is not None:
        errors += _validate(node.additional, path.child("additionalProperties"), uncorrelated,
                            _multiplied(times, node.raw.get("maxProperties")), budget)
    return errors


def _multiplied(times: int | None, bound: int | None) -> int | None:
    return None if times is None or bound is None else times * bound


def _shape(raw: Any, node: Node, path: Path) -> Errors:
    errors: Errors = []
    rule, message, expression = raw.get("rule") or "", raw.get("message") or "", raw.get("messageExpression") or ""
    if not rule.strip():
        errors.append(required(path.child("rule"), "rule is not specified"))
    if message and not message.strip():
        errors.append(invalid(path.child("message"), message, "must be non-empty if specified"))
    elif "\n" in message:
        errors.append(invalid(path.child("message"), message, "must not contain line breaks"))
    elif "\n" in rule and not message:
        errors.append(required(path.child("message"), "message must be specified if rule contains line breaks"))
    if expression and not expression.strip():
        errors.append(required(path.child("messageExpression"), "messageExpression must be non-empty if specified"))
    reason = raw.get("reason")
    if reason is not None and reason not in _REASONS:
        errors.append(not_supported(path.child("reason"), reason, _REASONS))
    field_path = raw.get("fieldPath") or ""
    if field_path and not _exists(field_path, node):
        errors.append(invalid(path.child("fieldPath"), field_path, "must be a valid path"))
    return errors


_STEP = re.compile(r"\.([A-Za-z_][\w-]*)|\['([^']+)'\]")


def _exists(text: str, node: Node) -> bool:
    at, current = 0, node
    while at < len(text):
        match = _STEP.match(text, at)
        if match is None:
            return False
        child = current.child(match[1] or match[2])
        if child is None:
            return False
        current, at = child, match.end()
    return True


def _compiled(raw: Any, node: Node, kind: Kind | None, path: Path, uncorrelated: Path | None,
              times: int | None, budget: Budget) -> Errors:
    shown = Struct({"Rule": raw.get("rule") or "", "Message": raw.get("message") or "",
                    "MessageExpression": raw.get("messageExpression") or "", "Reason": raw.get("reason"),
                    "FieldPath": raw.get("fieldPath") or "", "OptionalOldSelf": raw.get("optionalOldSelf")})
    where = path.child("rule")
    try:
        rule = Rule(raw, node, kind)
    except CompileError as error:
        return [FieldError(str(where), "FieldValueInvalid", f"Invalid value: {show(shown)}: compilation failed: {error}")]
    errors: Errors = []
    if rule.program.type != "bool":
        errors.append(FieldError(str(where), "FieldValueInvalid", f"Invalid value: {show(shown)}: cel expression must evaluate to a bool"))
    if rule.transition and uncorrelated is not None:
        errors.append(invalid(where, rule.source, "oldSelf cannot be used on the uncorrelatable portion of the schema within "
                                                  f"{uncorrelated}"))
    if raw.get("optionalOldSelf") is not None and not rule.transition:
        errors.append(invalid(path.child("optionalOldSelf"), bool(raw["optionalOldSelf"]), "may not be set if oldSelf is not used in rule"))
    if rule.expression_error:
        errors.append(FieldError(str(path.child("messageExpression")), "FieldValueInvalid",
                                 f"Invalid value: {show(shown)}: messageExpression compilation failed: {rule.expression_error}"))
    elif rule.expression is not None and rule.expression.type != "string":
        errors.append(FieldError(str(path.child("messageExpression")), "FieldValueInvalid",
                                 f"Invalid value: {show(shown)}: messageExpression must evaluate to a string"))
    for title, program, here in (("rule", rule.program, where), ("messageExpression", rule.expression, path.child("messageExpression"))):
        if program is not None:
            errors += _costs(title, program, node, here, times, budget)
    return errors


def _costs(title: str, program: Program, node: Node, path: Path, times: int | None, budget: Budget) -> Errors:
    once = estimate(program.checked, node)
    cost = min(UNBOUNDED, once * (cardinality(node) if times is None else times))
    budget.add(cost, path)
    return [forbidden(path, over_budget(f"estimated {title} cost", cost, LIMIT))] if cost > LIMIT else []
