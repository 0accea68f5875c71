"""What is known of one request while it is served."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from kubepy.api.types import Object

if TYPE_CHECKING:
    from kubepy.apiserver.registry.kind import Kind

Operation = Literal["CREATE", "UPDATE", "DELETE", "CONNECT"]


@dataclass(frozen=True, slots=True)
class User:
    """An authenticated identity (`user.Info`)."""

    name: str
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(slots=True)
class RequestInfo:
    """A parsed request path (`k8s.io/apiserver/pkg/endpoints/request.RequestInfo`).

    `verb` is Kubernetes' (get, list, watch, create, update, patch, delete, deletecollection, proxy) for resources,
    the lower-case HTTP method otherwise."""

    path: str
    verb: str
    is_resource: bool = False
    group: str = ""
    version: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    parts: tuple[str, ...] = ()
    label_selector: str = ""
    field_selector: str = ""
    named: str = ""
    """The name in the body of a create, which the path does not have."""


@dataclass(slots=True)
class Context:
    """One resource request on its way through the verbs: who, what, and with which options."""

    user: User
    info: RequestInfo
    kind: Kind
    query: Mapping[str, list[str]] = field(default_factory=dict)
    user_agent: str = ""
    dry_run: bool = False
    field_manager: str = ""
    field_validation: Literal["Strict", "Warn", "Ignore"] = "Warn"
    warnings: list[str] = field(default_factory=list)
    """Sent as `Warning: 299 - "…"` headers, in order, without repeats."""
    audit_annotations: dict[str, str] = field(default_factory=dict)
    size: int = 0
    """Bytes of the body, once it is read: what is large is worked on beside the event loop."""

    def warn(self, text: str) -> None:
        if text not in self.warnings:
            self.warnings.append(text)


@dataclass(slots=True)
class Reinvocation:
    """Mutating admission's second round: plugins that changed the object ask for it (`wanted`), and remember here what they did."""

    wanted: bool = False
    second: bool = False
    memory: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Attributes:
    """What admission sees (`admission.Attributes`). Mutating plugins change `obj` in place or replace it."""

    context: Context
    operation: Operation
    obj: Object | None
    old: Object | None = None
    options: Object = field(default_factory=dict)
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    reinvocation: Reinvocation = field(default_factory=Reinvocation)
