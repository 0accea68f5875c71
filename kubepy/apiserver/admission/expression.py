"""CEL in admission: what expressions see of a request, and the words of what fails."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kubepy.api.cel import CompileError
from kubepy.api.cel.admission import Scope
from kubepy.api.cel.function.authorization import Answers, Authorizer, ResourceCheck
from kubepy.api.cel.program import Program
from kubepy.api.cel.value import parse_timestamp
from kubepy.api.types import Object
from kubepy.apiserver.admission.view import View
from kubepy.apiserver.admission.webhook.review import build

_META = ("name", "generateName", "namespace", "labels", "annotations", "deletionGracePeriodSeconds", "generation", "resourceVersion",
         "finalizers")
OUT_OF_BUDGET = "validation failed due to running out of cost budget, no further validation rules will be run"


class OutOfBudget(ValueError):
    """The expressions of a policy have cost too much."""


@dataclass(frozen=True, slots=True)
class Expression:
    """An expression compiled, or why it is not: one that was stored by another server can be wrong."""

    source: str
    program: Program | None
    error: str = ""

    @classmethod
    def of(cls, source: str, scope: Scope, *, authorizer: bool = True) -> Expression:
        try:
            return cls(source, scope.compile(source, authorizer=authorizer))
        except CompileError as error:
            return cls(source, None, str(error))

    def evaluate(self, values: Mapping[str, Any], budget: list[int]) -> Any:
        """Takes the cost off the budget; raises ValueError in upstream's words, and OutOfBudget."""
        if self.program is None:
            raise ValueError(f"compilation error: compilation failed: {self.error}")
        found = self.program.run(values)
        budget[0] -= found.cost
        if budget[0] < 0:
            raise OutOfBudget(OUT_OF_BUDGET)
        if found.error is not None:
            raise found.error
        return found.value


def failure(source: str, error: Exception) -> str:
    text = str(error)
    return text if text.startswith("compilation error: ") or isinstance(error, OutOfBudget) \
        else f"expression '{source}' resulted in error: {text}"


def values_of(view: View, answers: Answers, namespace: Object | None) -> dict[str, Any]:
    """What every expression sees of a request."""
    request = build(view, "", "v1")["request"]
    for key in ("uid", "object", "oldObject"):
        del request[key]
    root, attributes, own = Authorizer(answers), view.attributes, view.attributes.context.kind.resource
    checked = root.asking(ResourceCheck, group=own.group, resource=own.plural, subresource=attributes.subresource,
                          namespace=attributes.namespace, name=attributes.name)
    return {"object": view.obj, "oldObject": view.old, "request": request, "namespaceObject": _namespace(namespace), "authorizer": root,
            "authorizer.requestResource": checked}


def _namespace(found: Object | None) -> Object | None:
    """A namespace as expressions see it."""
    if found is None:
        return None
    metadata = found.get("metadata") or {}
    shown: dict[str, Any] = {key: metadata[key] for key in _META if metadata.get(key) is not None}
    if metadata.get("uid"):
        shown["UID"] = metadata["uid"]
    for key in ("creationTimestamp", "deletionTimestamp"):
        if metadata.get(key):
            shown[key] = parse_timestamp(metadata[key])
    return {"metadata": shown, "spec": found.get("spec") or {}, "status": found.get("status") or {}}
