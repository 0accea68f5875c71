"""What handlers and admission plugins may use of the running server: one `Services` value a process, built by the app."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kubepy.api.resource import Resource
from kubepy.apiserver.storage.interface import ResourceStore
from kubepy.base.clock import Clock, SystemClock
from kubepy.base.watched import Files

if TYPE_CHECKING:
    from kubepy.apiserver.authn.interface import Authenticator, TokenReviewer
    from kubepy.apiserver.authn.issuer import TokenIssuer
    from kubepy.apiserver.authz.interface import Authorizer
    from kubepy.apiserver.authz.rbac import Rbac
    from kubepy.apiserver.table import KindTable
    from kubepy.apiserver.webhook import Caller


@dataclass(slots=True)
class Services:
    """Handlers of virtual kinds are called as `handler(services, context, obj)`, those of subresources as
    `handler(services, context, obj, entry)` with the parent's cache entry."""

    stores: Mapping[Resource, ResourceStore]
    clock: Clock = field(default_factory=SystemClock)
    authenticator: Authenticator | None = None
    token_reviewer: TokenReviewer | None = None
    token_issuer: TokenIssuer | None = None
    authorizer: Authorizer | None = None
    rbac: Rbac | None = None
    """For rules reviews and escalation checks; there also when the authorization mode has no RBAC."""
    kinds: KindTable | None = None
    """What is served; None only where nothing is (tests)."""
    webhooks: Caller | None = None
    documents: dict[str, tuple[bytes, bytes]] = field(default_factory=dict)
    """Path to (content type, body) of documents that never change: the service-account issuer's discovery."""
    admission: Mapping[str, Any] = field(default_factory=dict)
    """The admission plugins' own configurations."""
    files: Files = field(default_factory=Files)
    """What is read again when it changes."""
    not_ready_toleration_seconds: int = 300
    unreachable_toleration_seconds: int = 300

    def store(self, resource: Resource) -> ResourceStore:
        return self.stores[resource]
