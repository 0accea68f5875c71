"""Finding out, from an address and a token, whom to trust: the cluster-info ConfigMap, checked as kubeadm checks it.

Read first without trusting anyone (and without showing the token to anyone), it must carry a signature made with the token's secret,
and a CA whose public key is one of those pinned; then it is read again from a server that this CA vouches for, and must be the same.
"""
from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import re
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import aiohttp
import orjson
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from kubepy.api.types import Object
from kubepy.cli.join.token import Token

PATH = "/api/v1/namespaces/kube-public/configmaps/cluster-info"
LIMIT = 1 << 20
"""Bytes: an answer from a server that is not trusted yet is not read further."""
RETRY = 1.0
_OF_ANOTHER_TIME = (9, 10)
"""OpenSSL's codes of a certificate that is not valid yet, or has expired."""
_HOST = re.compile(r"[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]")
_HASH = re.compile(r"sha256:[0-9a-fA-F]{64}")


class Untrusted(Exception):
    """What was found must not be believed; asking again does not help."""


class NotYet(Exception):
    """The server does not answer, or has not signed with the token yet."""


@dataclass(frozen=True, slots=True)
class ClusterInfo:
    server: str
    ca: bytes
    """PEM."""


def pin(ca_pem: bytes) -> str:
    """`sha256:` and the hex digest of the first certificate's public key, the form `--ca-hash` takes."""
    certificate = x509.load_pem_x509_certificates(ca_pem)[0]
    public = certificate.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return f"sha256:{hashlib.sha256(public).hexdigest()}"


def check_pins(pins: Sequence[str]) -> None:
    """Raises ValueError for what is not a hash."""
    for text in pins:
        if not _HASH.fullmatch(text):
            raise ValueError(f"{text!r} is not sha256: and 64 hexadecimal digits (`kubepy token create` prints the whole command)")


def verify(data: Object, token: Token, pins: Sequence[str]) -> ClusterInfo:
    """What the ConfigMap's data says, once signature and CA are found right. Raises NotYet without a signature, else Untrusted."""
    content, signed = data.get("kubeconfig"), data.get(f"jws-kubeconfig-{token.id}")
    if not content:
        raise NotYet("there is no kubeconfig in the cluster-info ConfigMap")
    if not signed:
        raise NotYet(f'there is no JWS signed token in the cluster-info ConfigMap. This token id {token.id!r} is invalid or expired')
    if not _is_signed(str(signed), str(content), token):
        raise Untrusted("the signature of cluster-info is not made with this token: the token is wrong, or this is another cluster")
    try:
        cluster = yaml.safe_load(content)["clusters"][0]["cluster"]
        server, authority = str(cluster["server"]), base64.b64decode(cluster["certificate-authority-data"], validate=True)
        found = pin(authority)
    except (KeyError, TypeError, ValueError, IndexError, yaml.YAMLError) as error:
        raise Untrusted(f"cluster-info is not a kubeconfig with a CA: {error}") from error
    if found not in {text.lower() for text in pins}:
        raise Untrusted(f"the cluster's CA has the hash {found}, which is none of those given with --ca-hash")
    if not server.startswith("https://"):
        raise Untrusted(f"cluster-info names a server without TLS: {server}")
    return ClusterInfo(server, authority)


def _is_signed(jws: str, content: str, token: Token) -> bool:
    """A detached JWS whose algorithm is HS256 and nothing else."""
    header, empty, signature = [*jws.split("."), "", ""][:3]
    try:
        said = orjson.loads(_decode(header))
        given = _decode(signature)
    except ValueError:
        return False
    if empty or not isinstance(said, dict) or said.get("alg") != "HS256" or said.get("kid") != token.id:
        return False
    payload = base64.urlsafe_b64encode(content.encode()).rstrip(b"=").decode()
    return hmac.compare_digest(hmac.digest(token.secret.encode(), f"{header}.{payload}".encode(), "sha256"), given)


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def parse_endpoint(text: str) -> str:
    """`HOST:PORT` of what a user gives for it: a URL is one too, and 6443 is the usual port. Raises ValueError."""
    plain = text.removeprefix("https://").rstrip("/")
    host, port = plain, "6443"
    if plain.startswith("[") or plain.count(":") == 1:
        head, colon, tail = plain.rpartition(":")
        if colon and not tail.endswith("]"):
            host, port = head, tail
    elif ":" in plain:
        host = f"[{plain}]"
    if not host or not _HOST.fullmatch(host) or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError(f"{text!r} is not HOST:PORT of an API server (`kubepy token create` prints the whole command)")
    return f"{host}:{port}"


async def discover(endpoint: str, token: Token, pins: Sequence[str], deadline: float,
                   waiting: Callable[[str], None] = lambda why: None) -> ClusterInfo:
    """Asks `HOST:PORT` until the event loop's clock says `deadline`, and says why it is `waiting`. Raises Untrusted, or NotYet with the
    last reason."""
    nobody = ssl.create_default_context()
    nobody.check_hostname, nobody.verify_mode = False, ssl.CERT_NONE
    loop = asyncio.get_running_loop()
    while True:
        try:
            info = verify(await _read(f"https://{endpoint}", nobody), token, pins)
            again = verify(await _read(info.server, ssl.create_default_context(cadata=info.ca.decode())), token, pins)
            if again != info:
                raise Untrusted("cluster-info is another one when it is read through a verified connection")
            return info
        except NotYet as error:
            if loop.time() + RETRY > deadline:
                raise
            waiting(str(error))
        await asyncio.sleep(RETRY)


async def _read(server: str, trust: ssl.SSLContext) -> Object:
    """The ConfigMap's data. Raises NotYet or Untrusted."""
    timeout = aiohttp.ClientTimeout(total=10)
    try:
        async with (aiohttp.ClientSession(timeout=timeout) as session,
                    session.get(server.rstrip("/") + PATH, ssl=trust, allow_redirects=False) as answer):
            body = await answer.content.read(LIMIT)
            while len(body) < LIMIT and (block := await answer.content.read(LIMIT - len(body))):
                body += block
            if answer.status != 200:
                raise NotYet(f"{server} answers {answer.status} for cluster-info")
            found = orjson.loads(body)
    except aiohttp.ClientConnectorCertificateError as error:
        if getattr(error.certificate_error, "verify_code", 0) in _OF_ANOTHER_TIME:
            raise Untrusted(f"the certificate of {server} is {error.certificate_error.verify_message}: "  # type: ignore[attr-defined]
                            f"is this machine's clock right? It says {datetime.now(UTC):%Y-%m-%d %H:%M} UTC") from error
        raise Untrusted(f"the certificate of {server} is not of the cluster's CA: {error}") from error
    except (aiohttp.ClientError, OSError, TimeoutError, orjson.JSONDecodeError) as error:
        raise NotYet(f"{server}: {error or type(error).__name__}") from error
    data = found.get("data") if isinstance(found, dict) else None
    return data if isinstance(data, dict) else {}
