"""Whether one of our authorities issued a client certificate: the chain is checked here alone, and once for each.

TLS has proved that the client holds the key and takes certificates of any authority (`anycert`), so that a stranger's is answered with
401 instead of a broken handshake, as in Go.
"""
from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

T = TypeVar("T")
_CACHE_SIZE = 4096
_MAX_INTERMEDIATES = 8
_MAX_SIGNATURES = 100


@dataclass(frozen=True, slots=True)
class Verified(Generic[T]):
    """What was read from a certificate that one of our authorities issued, until it ends."""

    identity: T
    not_before: float
    not_after: float


class Authorities(Generic[T]):
    """One bundle of authorities (PEM); results are kept by the certificates' bytes. `identity` reads who a leaf is of."""

    def __init__(self, bundle: bytes, identity: Callable[[x509.Certificate], T]) -> None:
        self._identity = identity
        self._cache: dict[tuple[bytes, ...], Verified[T]] = {}
        self._refused: dict[bytes, None] = {}
        """Digests of chains that do not hold: anyone may send them, so little is kept of each."""
        self.trust(bundle)

    def trust(self, bundle: bytes) -> None:
        """Believes these authorities from now on, and no others. Raises ValueError, also for none."""
        self._authorities = x509.load_pem_x509_certificates(bundle)
        self._cache.clear()
        self._refused.clear()

    def verify(self, chain: Sequence[bytes]) -> Verified[T] | None:
        """The leaf's (DER, leaf first); None when another authority issued it or it is not for clients. Its times are the caller's to
        look at."""
        key = tuple(chain)
        found = self._cache.get(key)
        if found is None:
            digest = hashlib.sha256(b"".join(key)).digest()
            if digest in self._refused:
                return None
            found = self._check(key)
            if found is None:
                _bound(self._refused)
                self._refused[digest] = None
                return None
            _bound(self._cache)
            self._cache[key] = found
        return found

    def _check(self, chain: tuple[bytes, ...]) -> Verified[T] | None:
        try:
            certificates = [x509.load_der_x509_certificate(der) for der in chain[:_MAX_INTERMEDIATES]]
            path = self._path(certificates[0], certificates[1:], set(), [_MAX_SIGNATURES])
            if path is None:
                return None
            links = [certificates[0], *path]
            if not all(map(_for_clients, links[:-1])) or not _lengths_hold(path):
                return None
            return Verified(self._identity(certificates[0]), max(link.not_valid_before_utc.timestamp() for link in links),
                            min(link.not_valid_after_utc.timestamp() for link in links))
        except ValueError:  # what no certificate should hold
            return None

    def _path(self, certificate: x509.Certificate, intermediates: Sequence[x509.Certificate], seen: set[int],
              budget: list[int]) -> list[x509.Certificate] | None:
        """The authorities from a certificate's issuer to a trusted one. `budget` bounds what a hostile chain can cost."""
        for authority in self._authorities:
            if _issued(certificate, authority, budget):
                return [authority]
        for position, candidate in enumerate(intermediates):
            if position not in seen and _is_authority(candidate) and _issued(certificate, candidate, budget):
                rest = self._path(candidate, intermediates, seen | {position}, budget)
                if rest is not None:
                    return [candidate, *rest]
        return None


def _bound(cache: dict[Any, Any]) -> None:
    if len(cache) >= _CACHE_SIZE:
        cache.clear()


def _issued(certificate: x509.Certificate, authority: x509.Certificate, budget: list[int]) -> bool:
    if certificate.issuer != authority.subject or budget[0] <= 0:
        return False
    budget[0] -= 1
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


def _lengths_hold(authorities: Sequence[x509.Certificate]) -> bool:
    """Whether each authority allows as many others below it as there are."""
    for below, authority in enumerate(authorities):
        try:
            limit = authority.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length
        except x509.ExtensionNotFound:
            continue
        if limit is not None and below > limit:
            return False
    return True


def _for_clients(certificate: x509.Certificate) -> bool:
    """Whether the extended key usage allows client authentication; as in Go, without the extension nothing is excluded."""
    try:
        usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return True
    return ExtendedKeyUsageOID.CLIENT_AUTH in usages or ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE in usages
