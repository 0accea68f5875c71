"""Who may use the kubelet's server: client certificates and tokens, SubjectAccessReviews on `nodes/…` (upstream's `server/auth`)."""
from __future__ import annotations

from collections.abc import Sequence

from cryptography import x509
from cryptography.x509.oid import NameOID

from kubepy.api.errors import ApiError
from kubepy.base.clock import Clock
from kubepy.client.delegated import ANONYMOUS, Caller, Delegated
from kubepy.client.interface import Client
from kubepy.kubelet.settings import Settings

_VERBS = {"POST": "create", "GET": "get", "HEAD": "get", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


class Access:
    """`check` gives None when the request may go on, else (code, text)."""

    def __init__(self, settings: Settings, client: Client, clock: Clock) -> None:
        self._settings = settings
        self._delegated = Delegated(client, client, clock, ())

    async def check(self, method: str, path: str, certificate: bytes | None, authorization: str) -> tuple[int, str] | None:
        caller = from_der(certificate)
        if caller is None:
            if not self._settings.webhook_authn and authorization:
                return 401, "Unauthorized"
            try:
                caller = await self._delegated.authenticate(authorization, None)
            except (ApiError, ConnectionError):
                caller = None
            if caller is None or (caller is ANONYMOUS and not self._settings.anonymous_auth):
                return 401, "Unauthorized"
        if self._settings.authorization_mode == "AlwaysAllow":
            return None
        verb = _VERBS.get(method, "")
        choices = subresources(path)
        for subresource in choices:
            attributes = {"version": "v1", "resource": "nodes", "subresource": subresource, "name": self._settings.node_name}
            if await self._delegated.allowed(caller, verb, resource=attributes):
                return None
        return 403, f"Forbidden (user={caller.name}, verb={verb}, resource=nodes, subresource(s)=[{' '.join(choices)}])\n"


def from_der(certificate: bytes | None) -> Caller | None:
    """The identity of a peer certificate that TLS has verified."""
    if not certificate:
        return None
    subject = x509.load_der_x509_certificate(certificate).subject
    names = [str(entry.value) for entry in subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    if not names:
        return None
    groups = tuple(str(entry.value) for entry in subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME))
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
        case "pods" | "runningpods":
            return ("pods", "proxy")
        case "healthz":
            return ("healthz", "proxy")
        case "configz":
            return ("configz", "proxy")
    return ("proxy",)
