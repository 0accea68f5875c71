"""Key pairs on disk as upstream keeps them: `<name>-current.pem` links to the newest `<name>-<time>.pem` (certificate, then key).

The link is replaced atomically, so whoever reads it (the client's credentials, the server's TLS) sees one pair or the next, whole.
"""
from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from kubepy.base.file import replace_file

_KEPT = 3


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate with its key, as one PEM, and how long it is good for (seconds since the epoch)."""

    pem: bytes
    not_before: float
    not_after: float
    subject: str
    names: frozenset[str]
    self_signed: bool = False


def read_pair(pem: bytes) -> Pair:
    """Raises ValueError when it holds no certificate."""
    certificate = x509.load_pem_x509_certificates(pem)[0]
    try:
        alternative = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        names = {*alternative.get_values_for_type(x509.DNSName), *map(str, alternative.get_values_for_type(x509.IPAddress))}
    except x509.ExtensionNotFound:
        names = set()
    return Pair(pem, certificate.not_valid_before_utc.timestamp(), certificate.not_valid_after_utc.timestamp(),
                certificate.subject.rfc4514_string(), frozenset(names), certificate.issuer == certificate.subject)


class Store:
    """The pairs of one purpose; `name` is kubelet-client or kubelet-server."""

    def __init__(self, directory: Path | str, name: str) -> None:
        self._directory = Path(directory)
        self._name = name

    @property
    def path(self) -> Path:
        """The link to the pair in use."""
        return self._directory / f"{self._name}-current.pem"

    def current(self) -> Pair | None:
        """None when there is none that can be used."""
        try:
            return read_pair(self.path.read_bytes())
        except (OSError, ValueError, IndexError):
            return None

    def put(self, pem: bytes, now: float) -> Pair:
        """Makes this pair the current one. Raises ValueError when certificate and key do not belong together."""
        pair = read_pair(pem)
        certificate = x509.load_pem_x509_certificates(pem)[0]
        key = serialization.load_pem_private_key(pem, None)
        if key.public_key() != certificate.public_key():
            raise ValueError("the certificate is for another key")
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = self._directory / f"{self._name}-{datetime.fromtimestamp(now, UTC).strftime('%Y-%m-%d-%H-%M-%S')}.pem"
        replace_file(file, pem)
        link = self._directory / f".{self._name}-current.{os.getpid()}"
        link.unlink(missing_ok=True)
        link.symlink_to(file.name)
        link.replace(self.path)
        for old in sorted(self._directory.glob(f"{self._name}-[0-9]*.pem"))[:-_KEPT]:
            if old.name != file.name:
                old.unlink(missing_ok=True)
        return pair
