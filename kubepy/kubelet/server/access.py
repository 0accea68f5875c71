"""Who may use the kubelet's server: client certificates and tokens, SubjectAccessReviews on `nodes/…` (upstream's `server/auth`)."""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.x509.oid import NameOID

from kubepy.api.errors import ApiError
from kubepy.base.clock import Clock
from kubepy.base.http.authority import Authorities
from kubepy.base.log import get_logger
from kubepy.base.watched import Files
from kubepy.client.delegated import ANONYMOUS, Caller, Delegated, Lifetimes
from kubepy.client.interface import Client
from kubepy.kubelet.settings import Settings

log = get_logger("server")
_VERBS = {"POST": "create", "GET": "get", "HEAD": "get", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


class Access:
    """`check` gives None when the request may go on, else (code, text).

    Decisions are kept as long as the configuration says (by default minutes), so that the server still serves those it knows while
    the API server is away."""

    def __init__(self, settings: Settings, client: Client, clock: Clock, files: Files) -> None:
        self._settings = settings
        self._clock = clock
        self._delegated = Delegated(client, client, clock, (), Lifetimes(settings.authn_ttl, settings.authz_allowed_ttl,
                                                                         settings.authz_denied_ttl))
        self._authorities: Authorities[Caller | None] | None = None
        if settings.client_ca_file:
            path = Path(settings.client_ca_file)
            authorities = self._authorities = Authorities(path.read_bytes(), identity)
            files.follow("client authorities", [str(path)], lambda: authorities.trust(path.read_bytes()))

    async def check(self, method: str, path: str, chain: Sequence[bytes], authorization: str) -> tuple[int, str] | None:
        """`chain` are the certificates the client sent (DER, leaf first); whose they are is found out here."""
        try:
            caller = await self._authenticate(chain, authorization)
        except (ApiError, ConnectionError) as error:
            log.error("Unable to authenticate the request", error)
            caller = None
        if caller is None or (caller is ANONYMOUS and not self._settings.anonymous_auth):
            return 401, "Unauthorized"
        if self._settings.authorization_mode == "AlwaysAllow":
            return None
        verb = _VERBS.get(method, "")
        choices = subresources(path)
        asked = f"(user={caller.name}, verb={verb}, resource=nodes, subresource(s)=[{' '.join(choices)}])"
        for subresource in choices:
            attributes = {"version": "v1", "resource": "nodes", "subresource": subresource, "name": self._settings.node_name}
            try:
                if await self._delegated.review(caller, verb, resource=attributes):
                    return None
            except (ApiError, ConnectionError) as error:
                log.error("Authorization error", error, user=caller.name, verb=verb, subresource=subresource)
                return 500, f"Authorization error {asked}"
        log.v(2).info("Forbidden", user=caller.name, verb=verb, subresources=choices)
        return 403, f"Forbidden {asked}"

    async def _authenticate(self, chain: Sequence[bytes], authorization: str) -> Caller | None:
        if chain and self._authorities is not None:
            found = self._authorities.verify(chain)
            if found is not None and found.not_before <= self._clock.now() <= found.not_after and found.identity is not None:
                return found.identity
            if not authorization:
                return None
        if authorization and not self._settings.webhook_authn:
            return None
        return await self._delegated.authenticate(authorization, None)


def identity(leaf: x509.Certificate) -> Caller | None:
    names = [str(entry.value) for entry in leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    if not names:
        return None
    groups = tuple(str(entry.value) for entry in leaf.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME))
    return Caller(names[0], groups=(*groups, "system:authenticated"))


def subresources(path: str) -> Sequence[str]:
    """What must be allowed on the node: one of these suffices (the fine-grained one is asked first)."""
    first = path.strip("/").split("/", 1)[0]
    match first:
        case "stats":
            return ("stats",)
        case "metrics":
            return ("metrics",)
        case "logs":
            return ("log",)
        case "checkpoint":
            return ("checkpoint",)
        case "localVolumes":
            return ("localvolumes",)
        case "pods" | "runningpods":
            return ("pods", "proxy")
        case "healthz":
            return ("healthz", "proxy")
        case "configz":
            return ("configz", "proxy")
        case "statusz" | "flagz":
            return (first, "proxy")
    return ("proxy",)
