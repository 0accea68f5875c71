"""The webhook configurations of the cluster, compiled when they change, so that a request that concerns none costs a look at a tuple."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kubepy.api.cel.admission import Scope
from kubepy.api.resource import Resource
from kubepy.api.types import Object
from kubepy.apiserver.admission.expression import Expression
from kubepy.apiserver.admission.selection import Selection
from kubepy.apiserver.storage.feed import Feed
from kubepy.apiserver.storage.interface import Entry, Event, ResourceStore

MUTATING = Resource("admissionregistration.k8s.io", "v1", "mutatingwebhookconfigurations", "MutatingWebhookConfiguration", False)
VALIDATING = Resource("admissionregistration.k8s.io", "v1", "validatingwebhookconfigurations", "ValidatingWebhookConfiguration", False)


@dataclass(frozen=True, slots=True)
class Hook:
    """One webhook of a configuration."""

    uid: str
    """Distinct among all hooks: configuration, name, position."""
    configuration: str
    name: str
    selection: Selection
    conditions: tuple[Expression, ...]
    client: Object
    ignore: bool
    """Whether requests go on when the webhook cannot be asked (failurePolicy Ignore)."""
    seconds: float
    reinvoked: bool
    dry: bool
    """Whether it may be asked in a dry run."""
    versions: list[str]


class Source:
    """All webhooks of one kind, ordered by the name of their configuration."""

    def __init__(self, store: ResourceStore) -> None:
        self.hooks: tuple[Hook, ...] = ()
        self._found: dict[str, tuple[Hook, ...]] = {}
        self.feed = Feed(store, self._replace, self._apply)

    def _replace(self, entries: Sequence[Entry]) -> None:
        self._found = {entry.name: hooks_of(entry.decode()) for entry in entries}
        self._order()

    def _apply(self, event: Event) -> None:
        if event.type == "DELETED":
            self._found.pop(event.entry.name, None)
        else:
            self._found[event.entry.name] = hooks_of(event.entry.decode())
        self._order()

    def _order(self) -> None:
        self.hooks = tuple(hook for name in sorted(self._found) for hook in self._found[name])


def hooks_of(obj: Object) -> tuple[Hook, ...]:
    name = obj["metadata"]["name"]
    return tuple(_hook(name, position, found) for position, found in enumerate(obj.get("webhooks") or ()))


def _hook(configuration: str, position: int, found: Object) -> Hook:
    name = found.get("name", "")
    return Hook(f"{configuration}/{name}/{position}", configuration, name, Selection(found), _conditions(found),
                found.get("clientConfig") or {}, found.get("failurePolicy", "Fail") == "Ignore", float(found.get("timeoutSeconds") or 10),
                found.get("reinvocationPolicy") == "IfNeeded", found.get("sideEffects") in ("None", "NoneOnDryRun"),
                found.get("admissionReviewVersions") or [])


def _conditions(found: Object) -> tuple[Expression, ...]:
    if not found.get("matchConditions"):
        return ()
    scope = Scope()
    return tuple(Expression.of(item.get("expression", ""), scope) for item in found["matchConditions"])
