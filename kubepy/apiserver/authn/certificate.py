"""Client certificates: CN is the user, O its groups; and the front proxy's certificate, whose bearer may name any user by headers.

TLS has proved that the client holds the key. Which authority issued a certificate is checked here alone, and once for each: one
listener trusts two authorities, the clients' and the front proxy's, and a certificate of another one is answered with 401.
"""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import NameOID, ObjectIdentifier

from kubepy.api.errors import Unauthorized
from kubepy.apiserver.authn.interface import CERTIFICATES, Scope
from kubepy.apiserver.request import User
from kubepy.base.clock import Clock
from kubepy.base.http.authority import Authorities
from kubepy.base.metrics import histogram
from kubepy.base.watched import Files

CREDENTIAL_ID = "authentication.kubernetes.io/credential-id"
_UID = ObjectIdentifier("1.3.6.1.4.1.57683.2")
_LEFT = histogram("apiserver_client_certificate_expiration_seconds",
                  "Distribution of the remaining lifetime on the certificate used to authenticate a request.",
                  buckets=(0, 1800, 3600, 7200, 21600, 43200, 86400, 172800, 345600, 604800, 2592000, 7776000, 15552000, 31104000))


class CertificateVerifier:
    """Checks certificates against one bundle of authorities."""

    def __init__(self, bundle: bytes, clock: Clock) -> None:
        self._clock = clock
        self._authorities = Authorities(bundle, _identity)

    @classmethod
    def of_file(cls, path: Path, clock: Clock, files: Files, what: str) -> CertificateVerifier:
        """One whose authorities are read again when the file changes."""
        found = cls(path.read_bytes(), clock)
        files.follow(what, [str(path)], lambda: found.trust(path.read_bytes()))
        return found

    def trust(self, bundle: bytes) -> None:
        """Believes these authorities (PEM) from now on, and no others. Raises ValueError, also for none."""
        self._authorities.trust(bundle)

    def verify(self, chain: Sequence[bytes], *, measure: bool = False) -> User | None:
        """The identity in the leaf (DER, leaf first); None when another authority issued it, it is not for clients or has ended."""
        found = self._authorities.verify(chain)
        if found is None:
            return None
        now = self._clock.now()
        if measure:
            _LEFT.observe(found.not_after - now)
        return found.identity if found.not_before <= now <= found.not_after else None


class CertificateAuthenticator:
    """x509 client certificates under --client-ca-file."""

    def __init__(self, verifier: CertificateVerifier) -> None:
        self._verifier = verifier

    async def authenticate(self, scope: Scope) -> User | None:
        chain = scope.get(CERTIFICATES)
        if not chain:
            return None
        user = self._verifier.verify(chain, measure=True)
        if user is None:
            raise Unauthorized()
        return user if user.name else None


class FrontProxyAuthenticator:
    """--requestheader-*: a trusted proxy says who sent the request."""

    def __init__(self, verifier: CertificateVerifier, *, allowed_names: Sequence[str] = (),
                 user_headers: Sequence[str] = ("X-Remote-User",), uid_headers: Sequence[str] = ("X-Remote-Uid",),
                 group_headers: Sequence[str] = ("X-Remote-Group",), extra_prefixes: Sequence[str] = ("X-Remote-Extra-",)) -> None:
        self._verifier = verifier
        self._allowed = frozenset(allowed_names)
        self._user_headers = [name.lower().encode() for name in user_headers]
        self._uid_headers = [name.lower().encode() for name in uid_headers]
        self._group_headers = [name.lower().encode() for name in group_headers]
        self._extra_prefixes = [name.lower().encode() for name in extra_prefixes]

    async def authenticate(self, scope: Scope) -> User | None:
        chain = scope.get(CERTIFICATES)
        if not chain:
            return None
        proxy = self._verifier.verify(chain)
        if proxy is None:
            return None
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        name = _first(headers, self._user_headers)
        if self._allowed and proxy.name not in self._allowed:
            raise Unauthorized()
        if not name:
            return None
        groups = tuple(dict.fromkeys(value.decode("utf-8", "replace") for wanted in self._group_headers
                                     for header, value in headers if header.lower() == wanted))
        return User(name, _first(headers, self._uid_headers), groups, read_extra(headers, self._extra_prefixes))


def read_extra(headers: Sequence[tuple[bytes, bytes]], prefixes: Sequence[bytes]) -> dict[str, list[str]]:
    """`X-Remote-Extra-example.com%2Fteam: red` → {"example.com/team": ["red"]}."""
    extra: dict[str, list[str]] = {}
    for header, value in headers:
        lowered = header.lower()
        for prefix in prefixes:
            if lowered.startswith(prefix):
                key = unquote(lowered[len(prefix):].decode("latin-1"))
                extra.setdefault(key, []).append(value.decode("utf-8", "replace"))
                break
    return extra


def _first(headers: Sequence[tuple[bytes, bytes]], names: Sequence[bytes]) -> str:
    for wanted in names:
        for header, value in headers:
            if header.lower() == wanted and value:
                return value.decode("utf-8", "replace")
    return ""


def _identity(leaf: x509.Certificate) -> User:
    names = [str(attribute.value) for attribute in leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    groups = tuple(str(attribute.value) for attribute in leaf.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME))
    uids = [str(attribute.value) for attribute in leaf.subject.get_attributes_for_oid(_UID)]
    fingerprint = leaf.fingerprint(hashes.SHA256()).hex()
    return User(names[-1] if names else "", uids[0] if uids else "", groups, {CREDENTIAL_ID: (f"X509SHA256={fingerprint}",)})
