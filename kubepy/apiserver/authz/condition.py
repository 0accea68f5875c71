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
    from kubepy.api.cel.types import Pool
    from kubepy.api.structural.node import Node

    text: dict[str, Any] = {"type": "string"}
    texts = {"type": "array", "items": text}

    def of(**properties: Any) -> dict[str, Any]:
        return {"type": "object", "properties": properties}

    selector = of(rawSelector=text, requirements={"type": "array", "items": of(key=text, operator=text, values=texts)})
    resource = of(**dict.fromkeys(("namespace", "verb", "group", "version", "resource", "subresource", "name"), text),
                  fieldSelector=selector, labelSelector=selector)
    spec = of(resourceAttributes=resource, nonResourceAttributes=of(path=text, verb=text), user=text, groups=texts,
              extra={"type": "object", "additionalProperties": texts}, uid=text)
    pool = Pool(escaping=False)
    return Environment({"request": pool.signature(Node(spec))}, pool)


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
