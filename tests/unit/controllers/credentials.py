"""Certificate requests, an authority that signs them, and bootstrap tokens, as tests of several controllers need them."""
from __future__ import annotations

import base64
import datetime
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from kubepy.api.types import Object
from kubepy.controllers.certificate import request

KEY = ec.generate_private_key(ec.SECP256R1())
CLIENT_USAGES = ["digital signature", "client auth"]


def csr(name: str = "system:node:n1", organization: str = "system:nodes", dns: tuple[str, ...] = (), *,
        signer: str = request.KUBELET_CLIENT, usages: list[str] | None = None, user: str = "system:node:n1") -> Object:
    subject = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization), x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    if dns:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(item) for item in dns]), critical=False)
    pem = builder.sign(KEY, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    return {"metadata": {"name": "csr-1"}, "spec": {
        "request": base64.b64encode(pem).decode(), "signerName": signer, "usages": usages or CLIENT_USAGES, "username": user}}


def serving(*ips: str, user: str = "system:node:n1", dns: tuple[str, ...] = ()) -> Object:
    names = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "system:nodes"), x509.NameAttribute(NameOID.COMMON_NAME, "system:node:n1")]
    others = [*(x509.IPAddress(ipaddress.ip_address(ip)) for ip in ips), *(x509.DNSName(name) for name in dns)]
    pem = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(names)).add_extension(
        x509.SubjectAlternativeName(others), critical=False).sign(KEY, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    return {"metadata": {"name": "csr-2"}, "spec": {"request": base64.b64encode(pem).decode(), "signerName": request.KUBELET_SERVING,
                                                    "usages": ["digital signature", "server auth"], "username": user}}


def proxy(name: str = "system:kube-proxy", organizations: tuple[str, ...] = ()) -> Object:
    groups = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, item) for item in organizations]
    names = [*groups, x509.NameAttribute(NameOID.COMMON_NAME, name)]
    pem = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(names)).sign(KEY, hashes.SHA256()).public_bytes(
        serialization.Encoding.PEM)
    return {"metadata": {"name": "csr-3"}, "spec": {"request": base64.b64encode(pem).decode(), "signerName": request.CLIENT,
                                                    "usages": CLIENT_USAGES, "username": "system:bootstrap:abcdef"}}


KEY_PEM = KEY.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def write_authority(directory: Path) -> tuple[str, str]:
    """The files of a CA's certificate and key, valid on the virtual clock."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ca")])
    now = datetime.datetime.fromtimestamp(1_700_000_000, datetime.UTC)
    ca = (x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(KEY.public_key()).serial_number(1)
          .not_valid_before(now).not_valid_after(now + datetime.timedelta(days=3650))
          .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True).sign(KEY, hashes.SHA256()))
    (directory / "ca.crt").write_bytes(ca.public_bytes(serialization.Encoding.PEM))
    (directory / "ca.key").write_bytes(KEY_PEM)
    return str(directory / "ca.crt"), str(directory / "ca.key")


TOKEN_SECRET = "0123456789abcdef"


def token(name: str, **data: str) -> Object:
    fields = {"token-id": name, "token-secret": TOKEN_SECRET, "usage-bootstrap-signing": "true", **data}
    return {"metadata": {"name": f"bootstrap-token-{name}", "namespace": "kube-system"}, "type": "bootstrap.kubernetes.io/token",
            "data": {key: base64.b64encode(value.encode()).decode() for key, value in fields.items()}}
