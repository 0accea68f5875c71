"""Certificates a node asks the cluster for: requests are made, approved and signed by controllers, and written beside their keys."""
from __future__ import annotations

import asyncio
import base64
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID

from kubepy.api.resource import CERTIFICATE_SIGNING_REQUESTS
from kubepy.api.types import Object
from kubepy.cli.pki import Pair
from kubepy.cli.pki.issue import PrivateKey, new_key, write_pair
from kubepy.client.interface import Client
from kubepy.controllers.certificate.joined import DNS_USER, PROXY_USER
from kubepy.controllers.certificate.request import CLIENT, has_condition

POLL = 0.5


class RequestRefused(Exception):
    """The request was denied or has failed; the message says why."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What a certificate is to say, and who signs such."""

    signer: str
    name: str
    organizations: tuple[str, ...] = ()
    usages: tuple[str, ...] = ("digital signature", "client auth")


def proxy_client() -> Identity:
    return Identity(CLIENT, PROXY_USER)


def dns_client() -> Identity:
    return Identity(CLIENT, DNS_USER)


def signing_request(identity: Identity, key: PrivateKey) -> bytes:
    """PKCS #10, PEM."""
    names = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, text) for text in identity.organizations]
    builder = x509.CertificateSigningRequestBuilder().subject_name(
        x509.Name([*names, x509.NameAttribute(NameOID.COMMON_NAME, identity.name)]))
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def manifest(identity: Identity, key: PrivateKey) -> Object:
    return {"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest", "metadata": {"generateName": "node-csr-"},
            "spec": {"request": base64.b64encode(signing_request(identity, key)).decode(), "signerName": identity.signer,
                     "usages": list(identity.usages)}}


async def obtain(client: Client, identity: Identity, pair: Pair, timeout: float = 120.0) -> None:
    """Asks for the certificate with a new key and writes both. Raises RequestRefused, or TimeoutError after `timeout` seconds."""
    key = new_key()
    name = (await client.create(CERTIFICATE_SIGNING_REQUESTS, manifest(identity, key)))["metadata"]["name"]
    async with asyncio.timeout(timeout):
        while True:
            found = await client.get(CERTIFICATE_SIGNING_REQUESTS, name)
            if issued := (found.get("status") or {}).get("certificate"):
                break
            if has_condition(found, "Denied") or has_condition(found, "Failed"):
                said = "; ".join(item.get("message") or item["type"] for item in found["status"]["conditions"])
                raise RequestRefused(f"the certificate request {name} was refused: {said}")
            await asyncio.sleep(POLL)
    certificate = x509.load_pem_x509_certificates(base64.b64decode(issued))[0]
    if certificate.public_key() != key.public_key():
        raise RequestRefused(f"the certificate of request {name} is not for our key")
    write_pair(pair, certificate, key)


def is_due(pair: Pair, now: datetime | None = None) -> bool:
    """Whether less than 30 % of the certificate's life is left, or it is not there."""
    try:
        certificate, _ = pair.load()
    except (OSError, ValueError):
        return True
    life = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    return certificate.not_valid_after_utc - (now or datetime.now(UTC)) < life * 0.3
