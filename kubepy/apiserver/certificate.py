"""A self-signed serving certificate for a server that was given none (as kube-apiserver makes in --cert-dir)."""
from __future__ import annotations

import datetime
import ipaddress
import os
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from kubepy.apiserver.options import Options


def ensure_self_signed(options: Options) -> None:
    """Makes `apiserver.crt` and `apiserver.key` in --cert-dir unless they are there, and sets the options to them. Raises OSError."""
    directory = Path(options.cert_dir)
    directory.mkdir(parents=True, exist_ok=True)
    certificate, key = directory / "apiserver.crt", directory / "apiserver.key"
    if not (certificate.exists() and key.exists()):
        _make(options, certificate, key)
    options.tls_cert_file, options.tls_private_key_file = str(certificate), str(key)


def _make(options: Options, certificate: Path, key: Path) -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{options.advertise_address}@{os.getpid()}")])
    first = next(ipaddress.ip_network(options.service_cluster_ip_range.split(",")[0], strict=False).hosts())
    addresses = dict.fromkeys((options.advertise_address, "127.0.0.1", str(first)))
    names = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local", "localhost"]
    alternatives: list[x509.GeneralName] = [x509.DNSName(text) for text in names]
    alternatives += [x509.IPAddress(ipaddress.ip_address(text)) for text in addresses]
    now = datetime.datetime.now(datetime.UTC)
    signed = (x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(private.public_key())
              .serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(hours=1))
              .not_valid_after(now + datetime.timedelta(days=365)).add_extension(x509.SubjectAlternativeName(alternatives), False)
              .add_extension(x509.BasicConstraints(True, None), True).sign(private, hashes.SHA256()))
    with os.fdopen(os.open(key, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    certificate.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
