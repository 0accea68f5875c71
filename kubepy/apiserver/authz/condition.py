"""Match conditions of an authorization webhook: CEL about the SubjectAccessReview it would be asked (`authorization/cel`)."""
from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from kubepy.api.types import Object

if TYPE_CHECKING:
    from kubepy.api.cel import Environment, Program


class ConditionFailed(Exception):
    """No condition is false, and at least one could not be evaluated."""


@lru_cache(maxsize=1)
def _environment() -> Environment:
    from kubepy.api.cel import Environment  # the engine takes a while to load, and most servers need none
    from kubepy.api.cel.kind import list_of, struct_of

    def of(name: str, /, **fields: Any) -> Any:
        return struct_of(f"kubernetes.{name}", fields)

    requirement = of("SelectorRequirement", key="string", operator="string", values="list(string)")
    selector = of("SelectorAttributes", rawSelector="string", requirements=list_of(requirement))
    resource = of("ResourceAttributes", fieldSelector=selector, labelSelector=selector, **dict.fromkeys(
        ("namespace", "verb", "group", "version", "resource", "subresource", "name"), "string"))
    return Environment({"request": of(
        "SubjectAccessReviewSpec", resourceAttributes=resource, user="string", groups="list(string)", uid="string",
        nonResourceAttributes=of("NonResourceAttributes", path="string", verb="string"), extra="map(string,list(string))")})


@lru_cache(maxsize=1024)
def compiled(source: str) -> Program:
    """Raises CompileError."""
    return _environment().compile(source)


def matches(conditions: Sequence[str], spec: Object) -> bool:
    """Whether all hold for a review's spec; false when any is, whatever else failed. Raises ConditionFailed."""
    request = {"user": "", "groups": [], "uid": "", "extra": {}, **spec}
    if (asked := spec.get("resourceAttributes")) is not None:
        request["resourceAttributes"] = {
            **dict.fromkeys(("namespace", "verb", "group", "version", "resource", "subresource", "name"), ""), **asked}
    if (asked := spec.get("nonResourceAttributes")) is not None:
        request["nonResourceAttributes"] = {"path": "", "verb": "", **asked}
    failures = []
    for source in conditions:
        try:
            if compiled(source).evaluate({"request": request}) is not True:
                return False
        except ValueError as error:
            failures.append(f"cel evaluation error: expression '{source}' resulted in error: {error}")
    if failures:
        raise ConditionFailed(failures[0] if len(failures) == 1 else f"[{', '.join(failures)}]")
    return True
