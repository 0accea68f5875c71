"""Client certificates: CN is the user, O its groups; and the front proxy's certificate, whose bearer may name any user by headers.

TLS has proved that the client holds the key. Which authority issued a certificate is checked here again, because one listener
trusts two of them: the client authority and the front proxy's.
Known difference: a certificate from an unknown authority already fails the TLS handshake (upstream answers 401).
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from kubepy.api.errors import Unauthorized
from kubepy.apiserver.authn.interface import CERTIFICATES, Scope
from kubepy.apiserver.request import User
from kubepy.base.clock import Clock

CREDENTIAL_ID = "authentication.kubernetes.io/credential-id"
_UID = ObjectIdentifier("1.3.6.1.4.1.57683.2")
_CACHE_SIZE = 4096
_MAX_INTERMEDIATES = 8


@dataclass(frozen=True, slots=True)
class Verified:
    """A certificate that one of our authorities issued, until it ends."""

    user: User
    not_before: float
    not_after: float


class CertificateVerifier:
    """Checks certificates against one bundle of authorities; results are kept by the certificate's bytes."""

    def __init__(self, bundle: bytes, clock: Clock) -> None:
        self._authorities = x509.load_pem_x509_certificates(bundle)
        self._clock = clock
        self._cache: dict[tuple[bytes, ...], Verified | None] = {}

    def verify(self, chain: Sequence[bytes]) -> User | None:
        """The identity in the leaf (DER, leaf first); None when another authority issued it, it is not for clients or has ended."""
        key = tuple(chain)
        if key not in self._cache:
            if len(self._cache) >= _CACHE_SIZE:
                self._cache.clear()
            self._cache[key] = self._check(key)
        found = self._cache[key]
        if found is None or not found.not_before <= self._clock.now() <= found.not_after:
            return None
        return found.user

    def _check(self, chain: tuple[bytes, ...]) -> Verified | None:
        try:
            certificates = [x509.load_der_x509_certificate(der) for der in chain[:_MAX_INTERMEDIATES]]
        except ValueError:
            return None
        leaf, intermediates = certificates[0], certificates[1:]
        path = self._path(leaf, intermediates, set())
        if path is None or not _for_clients(leaf):
            return None
        links = [leaf, *path]
        user = _identity(leaf)
        return Verified(user, max(link.not_valid_before_utc.timestamp() for link in links),
                        min(link.not_valid_after_utc.timestamp() for link in links))

    def _path(self, certificate: x509.Certificate, intermediates: Sequence[x509.Certificate],
              seen: set[int]) -> list[x509.Certificate] | None:
        for authority in self._authorities:
            if _issued(certificate, authority):
                return [authority]
        for position, candidate in enumerate(intermediates):
            if position not in seen and _is_authority(candidate) and _issued(certificate, candidate):
                rest = self._path(candidate, intermediates, seen | {position})
                if rest is not None:
                    return [candidate, *rest]
        return None


class CertificateAuthenticator:
    """x509 client certificates under --client-ca-file."""

    def __init__(self, verifier: CertificateVerifier) -> None:
        self._verifier = verifier

    async def authenticate(self, scope: Scope) -> User | None:
        chain = scope.get(CERTIFICATES)
        if not chain:
            return None
        user = self._verifier.verify(chain)
        return user if user is not None and user.name else None


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


def _issued(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    if certificate.issuer != authority.subject:
        return False
    try:
        certificate.verify_directly_issued_by(authority)
    except Exception:  # InvalidSignature, ValueError or TypeError: not issued by it
        return False
    return True


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _for_clients(certificate: x509.Certificate) -> bool:
    """Whether the extended key usage allows client authentication; as in Go, without the extension nothing is excluded."""
    try:
        usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return True
    return ExtendedKeyUsageOID.CLIENT_AUTH in usages or ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE in usages

