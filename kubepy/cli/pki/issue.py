"""Keys and certificates: made in memory, written so that a crash never leaves half a file or a readable key."""
from __future__ import annotations

import ipaddress
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

CA_LIFE = timedelta(days=3650)
LEAF_LIFE = timedelta(days=365)
_BACKDATE = timedelta(minutes=5)
"""Tolerates clocks of other nodes that are a little behind."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its private key, as files."""

    cert: Path
    key: Path

    def load(self) -> tuple[x509.Certificate, PrivateKey]:
        """Raises OSError or ValueError when either cannot be read."""
        return x509.load_pem_x509_certificate(self.cert.read_bytes()), load_key(self.key)


@dataclass(frozen=True, slots=True)
class Subject:
    """What a certificate says: its name, what it is for, and the names it serves under."""

    common_name: str
    organizations: tuple[str, ...] = ()
    server: bool = False
    client: bool = False
    names: tuple[str, ...] = ()
    """DNS names and IP addresses."""

    def x509_name(self) -> x509.Name:
        attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, value) for value in self.organizations]
        return x509.Name([*attributes, x509.NameAttribute(NameOID.COMMON_NAME, self.common_name)])

    def alternative_names(self) -> list[x509.GeneralName]:
        return [_general_name(name) for name in dict.fromkeys(self.names)]

    def extended_usages(self) -> list[x509.ObjectIdentifier]:
        usages = [ExtendedKeyUsageOID.SERVER_AUTH] if self.server else []
        return [*usages, ExtendedKeyUsageOID.CLIENT_AUTH] if self.client else usages


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def new_rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def load_key(path: Path) -> PrivateKey:
    key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(key, (ec.EllipticCurvePrivateKey, rsa.RSAPrivateKey)):
        raise ValueError(f"{path} is neither an EC nor an RSA key")
    return key


def make_ca(common_name: str, key: PrivateKey, now: datetime | None = None) -> x509.Certificate:
    now = now or datetime.now(UTC)
    subject = Subject(common_name)
    usage = _key_usage(sign_certificates=True)
    public = key.public_key()
    identifier = x509.SubjectKeyIdentifier.from_public_key(public)
    return (x509.CertificateBuilder().subject_name(subject.x509_name()).issuer_name(subject.x509_name()).public_key(public)
            .serial_number(x509.random_serial_number()).not_valid_before(now - _BACKDATE).not_valid_after(now + CA_LIFE)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(identifier, critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(common_name)]), critical=False)
            .sign(key, hashes.SHA256()))


def make_leaf(subject: Subject, key: PrivateKey, ca: x509.Certificate, ca_key: PrivateKey, now: datetime | None = None) -> x509.Certificate:
    now = now or datetime.now(UTC)
    builder = (x509.CertificateBuilder().subject_name(subject.x509_name()).issuer_name(ca.subject).public_key(key.public_key())
               .serial_number(x509.random_serial_number()).not_valid_before(now - _BACKDATE)
               .not_valid_after(min(now + LEAF_LIFE, ca.not_valid_after_utc))
               .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
               .add_extension(_key_usage(sign_certificates=False), critical=True)
               .add_extension(x509.ExtendedKeyUsage(subject.extended_usages()), critical=False)
               .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
               .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False))
    if subject.names:
        builder = builder.add_extension(x509.SubjectAlternativeName(subject.alternative_names()), critical=False)
    return builder.sign(ca_key, hashes.SHA256())


def why_reissue(pair: Pair, subject: Subject, ca: x509.Certificate, now: datetime, margin: timedelta) -> str:
    """Why the certificate on disk will not do; "" when it does."""
    try:
        cert, key = pair.load()
    except FileNotFoundError:
        return "missing"
    except (OSError, ValueError) as error:
        return f"unreadable: {error}"
    if key.public_key() != cert.public_key():
        return "the key does not belong to it"
    try:
        cert.verify_directly_issued_by(ca)
    except Exception:  # cryptography raises InvalidSignature, ValueError or TypeError: all mean another issuer
        return "issued by another authority"
    if cert.not_valid_after_utc - now < margin:
        return f"expires {cert.not_valid_after_utc:%Y-%m-%d}"
    if cert.subject != subject.x509_name():
        return "the identity changed"
    if set(_names(cert)) != set(subject.alternative_names()):
        return "the addresses changed"
    return ""


def expiry(path: Path) -> datetime:
    """When the first certificate in a PEM file ends."""
    return x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc


def write_pair(pair: Pair, cert: x509.Certificate, key: PrivateKey) -> None:
    """Key first: a certificate without its key is seen as broken and made again, the other order could pair it with an old key."""
    write_key(pair.key, key)
    write_file(pair.cert, cert.public_bytes(serialization.Encoding.PEM), 0o644)


def write_key(path: Path, key: PrivateKey) -> None:
    form = serialization.PrivateFormat.TraditionalOpenSSL
    write_file(path, key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()), 0o600)


def public_pem(key: PrivateKey) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def write_file(path: Path, data: bytes, mode: int) -> None:
    """Replaces a file in one step; it never exists with wider rights than `mode`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # created 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, mode)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def unique(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for name in names if name))


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _names(cert: x509.Certificate) -> list[x509.GeneralName]:
    try:
        return list(cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        return []


def _key_usage(*, sign_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(digital_signature=True, content_commitment=False, key_encipherment=True, data_encipherment=False,
                         key_agreement=False, key_cert_sign=sign_certificates, crl_sign=False, encipher_only=False, decipher_only=False)
