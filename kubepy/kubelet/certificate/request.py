"""Asking the cluster for a certificate: a CertificateSigningRequest is created, and waited for until it is signed or refused."""
from __future__ import annotations

import base64
import hashlib
import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

import orjson
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from kubepy.api.errors import AlreadyExists, Forbidden, NotFound
from kubepy.api.resource import CERTIFICATE_SIGNING_REQUESTS
from kubepy.api.types import Object
from kubepy.client.interface import Client

CLIENT_SIGNER = "kubernetes.io/kube-apiserver-client-kubelet"
SERVING_SIGNER = "kubernetes.io/kubelet-serving"
_POLL = 30


class RequestRefused(Exception):
    """Denied or failed; asking again with the same request is of no use."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a node's certificate is for."""

    signer: str
    node_name: str
    names: frozenset[str] = frozenset()
    """DNS names and IP addresses; only for serving."""
    encipherment: bool = False
    """Also for key encipherment, which approvers and signers before v1.27 insist on; with this kind of key it says nothing."""

    @property
    def usages(self) -> list[str]:
        purpose = "server auth" if self.signer == SERVING_SIGNER else "client auth"
        return ["digital signature", *(["key encipherment"] if self.encipherment else ()), purpose]

    @property
    def subject(self) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "system:nodes"),
                          x509.NameAttribute(NameOID.COMMON_NAME, f"system:node:{self.node_name}")])


def new_key() -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption())


def signing_request(wanted: Wanted, key_pem: bytes) -> bytes:
    """PKCS #10 in PEM. Raises ValueError for a key that cannot sign."""
    key = serialization.load_pem_private_key(key_pem, None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("not an elliptic curve key")
    builder = x509.CertificateSigningRequestBuilder().subject_name(wanted.subject)
    if wanted.names:
        builder = builder.add_extension(x509.SubjectAlternativeName(list(_general(wanted.names))), critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _general(names: Iterable[str]) -> Iterable[x509.GeneralName]:
    for name in sorted(names):
        try:
            yield x509.IPAddress(ipaddress.ip_address(name))
        except ValueError:
            yield x509.DNSName(name)


def digest_name(wanted: Wanted, key_pem: bytes) -> str:
    """The same key and wish give the same name: a kubelet that starts again finds its request instead of making another."""
    public = serialization.load_pem_private_key(key_pem, None).public_key()
    digest = hashlib.sha256(public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo))
    for part in (wanted.subject.rfc4514_string(), wanted.signer, *wanted.usages):
        digest.update(b"|" + part.encode())
    return "node-csr-" + base64.urlsafe_b64encode(digest.digest()).decode().rstrip("=")


async def fitted(client: Client, wanted: Wanted) -> Wanted:
    """The wish as this server's controllers take it. Raises ApiError, ConnectionError."""
    try:
        found = orjson.loads(await client.raw("GET", "/version"))
        matched = re.match(r"v1\.(\d+)", found["gitVersion"])
    except (NotFound, Forbidden, ValueError, KeyError, TypeError):
        return wanted
    return replace(wanted, encipherment=matched is not None and int(matched[1]) < 27)


async def ask(client: Client, wanted: Wanted, key_pem: bytes, *, name: str = "") -> Object:
    """Creates the request, or finds the one of that name. Raises ApiError."""
    request = base64.b64encode(signing_request(wanted, key_pem)).decode()
    obj: Object = {"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest",
                   "metadata": {"name": name} if name else {"generateName": "csr-"},
                   "spec": {"request": request, "signerName": wanted.signer, "usages": wanted.usages}}
    try:
        return await client.create(CERTIFICATE_SIGNING_REQUESTS, obj)
    except AlreadyExists:
        return await client.get(CERTIFICATE_SIGNING_REQUESTS, name)


async def issued(client: Client, request: Object) -> bytes:
    """The certificate in PEM, as soon as there is one. Raises RequestRefused; ApiError when the request is gone."""
    name = request["metadata"]["name"]
    mine = f"metadata.name={name}"
    while True:
        if (certificate := _certificate(request)) is not None:
            return certificate
        # the version of a list: a request that has waited for long may be older than what the server remembers
        found = await client.list(CERTIFICATE_SIGNING_REQUESTS, field_selector=mine)
        for item in found["items"]:
            if (certificate := _certificate(item)) is not None:
                return certificate
        async for event in client.watch(CERTIFICATE_SIGNING_REQUESTS, resource_version=found["metadata"]["resourceVersion"],
                                        field_selector=mine, timeout_seconds=_POLL):
            if event.type in ("ADDED", "MODIFIED") and (certificate := _certificate(event.object)) is not None:
                return certificate
        request = await client.get(CERTIFICATE_SIGNING_REQUESTS, name)


def _certificate(request: Object) -> bytes | None:
    status = request.get("status") or {}
    for condition in status.get("conditions") or ():
        if condition["type"] in ("Denied", "Failed"):
            word = "denied" if condition["type"] == "Denied" else "failed"
            raise RequestRefused(f"certificate signing request {request['metadata']['name']} is {word}, reason: "
                                 f"{condition.get('reason', '')}, message: {condition.get('message', '')}")
    return base64.b64decode(status["certificate"]) if status.get("certificate") else None
