"""A policy with its expressions compiled, once for each version of it."""
from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

from kubepy.api.cel.admission import Scope
from kubepy.api.cel.kind import DYN
from kubepy.api.types import Object
from kubepy.apiserver.admission.expression import Expression
from kubepy.apiserver.admission.selection import Selection


class Validation(NamedTuple):
    expression: Expression
    message: Expression | None
    text: str
    reason: str


class Mutation(NamedTuple):
    type: str
    """ApplyConfiguration or JSONPatch."""
    expression: Expression


class Policy:
    """A validating or a mutating policy; what it lacks is empty."""

    def __init__(self, obj: Object) -> None:
        self.obj = obj
        self.name: str = obj["metadata"]["name"]
        self.spec: Object = obj.get("spec") or {}
        self.ignore = self.spec.get("failurePolicy") == "Ignore"
        self.reinvoked = self.spec.get("reinvocationPolicy") == "IfNeeded"
        self.selection = Selection(self.spec.get("matchConstraints") or {})

    @cached_property
    def _scope(self) -> Scope:
        """With all variables."""
        scope = Scope(params=DYN if self.spec.get("paramKind") is not None else None, mutating="mutations" in self.spec)
        scope.composed()
        return scope

    @cached_property
    def variables(self) -> dict[str, Expression]:
        found = {}
        for item in self.spec.get("variables") or ():
            expression = found[item["name"]] = Expression.of(item.get("expression", ""), self._scope)
            if expression.program is not None:
                self._scope.define(item["name"], expression.program.kind)
            else:
                self._scope.define(item["name"])
        return found

    def _expression(self, source: str, *, authorizer: bool = True) -> Expression:
        assert self.variables is not None  # they are defined first
        return Expression.of(source, self._scope, authorizer=authorizer)

    @cached_property
    def conditions(self) -> list[Expression]:
        return [self._expression(item.get("expression", "")) for item in self.spec.get("matchConditions") or ()]

    @cached_property
    def validations(self) -> list[Validation]:
        return [Validation(self._expression(item.get("expression", "")),
                           self._expression(item["messageExpression"], authorizer=False) if item.get("messageExpression") else None,
                           str(item.get("message") or "").strip(), item.get("reason") or "Invalid")
                for item in self.spec.get("validations") or ()]

    @cached_property
    def audits(self) -> list[tuple[str, Expression]]:
        return [(item.get("key", ""), self._expression(item.get("valueExpression", "")))
                for item in self.spec.get("auditAnnotations") or ()]

    @cached_property
    def mutations(self) -> list[Mutation]:
        found = []
        for item in self.spec.get("mutations") or ():
            kind = item.get("patchType", "")
            source = (item.get("jsonPatch" if kind == "JSONPatch" else "applyConfiguration") or {}).get("expression", "")
            found.append(Mutation(kind, self._expression(source.strip())))
        return found


class Binding:
    """A binding of a policy."""

    def __init__(self, obj: Object) -> None:
        self.obj = obj
        self.name: str = obj["metadata"]["name"]
        self.spec: Object = obj.get("spec") or {}
        self.actions: list[str] = list(self.spec.get("validationActions") or ())
        scope = self.spec.get("matchResources")
        self.selection = Selection(scope, optional=True) if scope is not None else None
