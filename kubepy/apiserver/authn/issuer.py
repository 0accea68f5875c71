"""Service-account tokens: the keys, signing, and the discovery documents others verify them by.

Claims and key ids are upstream's (`pkg/serviceaccount`), so tokens of a Go apiserver with the same keys hold here and the other way round.
"""
from __future__ import annotations

import base64
import hashlib
import uuid
from collections.abc import Sequence
from pathlib import Path

import orjson
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from joserfc import jws
from joserfc.jwk import ECKey, RSAKey

from kubepy.api.types import Object

WARN_ONLY_SECONDS = 3607
"""The lifetime the kubelet asks for: such tokens live a year and warn after this, for clients that never reload theirs."""
_EXTENDED_SECONDS = 365 * 24 * 3600

PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey
Jwk = RSAKey | ECKey


class VerificationKey:
    """A public key with its id and algorithm."""

    def __init__(self, key: PublicKey) -> None:
        self.kid = key_id(key)
        self.algorithm = _algorithm(key)
        pem = key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        self.jwk: Jwk = RSAKey.import_key(pem) if isinstance(key, rsa.RSAPublicKey) else ECKey.import_key(pem)

    def document(self) -> Object:
        found = dict(self.jwk.as_dict(private=False))
        ordered: Object = {"use": "sig", "kty": found["kty"], "kid": self.kid}
        if "crv" in found:
            ordered["crv"] = found["crv"]
        ordered["alg"] = self.algorithm
        ordered.update({name: found[name] for name in ("n", "e", "x", "y") if name in found})
        return ordered


class TokenIssuer:
    """Signs tokens with the key of --service-account-signing-key-file."""

    def __init__(self, issuer: str, pem: bytes, audiences: Sequence[str], *, max_seconds: int = 0, extend: bool = True) -> None:
        key = serialization.load_pem_private_key(pem, password=None, unsafe_skip_rsa_key_validation=True)
        if not isinstance(key, (rsa.RSAPrivateKey, ec.EllipticCurvePrivateKey)):
            raise ValueError("the service-account signing key must be an RSA or EC key")
        private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        self.issuer = issuer
        self.audiences = tuple(audiences)
        self.max_seconds = max_seconds
        self._extend = extend
        self._verification = VerificationKey(key.public_key())
        self._jwk: Jwk = RSAKey.import_key(private) if isinstance(key, rsa.RSAPrivateKey) else ECKey.import_key(private)

    def issue(self, namespace: str, account: Object, audiences: Sequence[str], seconds: int, now: int, *, pod: Object | None = None,
              secret: Object | None = None, node: Object | None = None) -> str:
        """A token for the account (`{"name", "uid"}`; so are the bound objects) that ends `seconds` after `now`."""
        private: Object = {"namespace": namespace}
        if node is not None:
            private["node"] = node
        if pod is not None:
            private["pod"] = pod
        if secret is not None:
            private["secret"] = secret
        private["serviceaccount"] = account
        if self._extend and pod is not None and seconds == WARN_ONLY_SECONDS and list(audiences) == list(self.audiences):
            private["warnafter"] = now + seconds
            seconds = _EXTENDED_SECONDS
        claims = {"aud": list(audiences), "exp": now + seconds, "iat": now, "iss": self.issuer, "jti": str(uuid.uuid4()),
                  "kubernetes.io": private, "nbf": now, "sub": f"system:serviceaccount:{namespace}:{account['name']}"}
        header = {"alg": self._verification.algorithm, "kid": self._verification.kid}
        return jws.serialize_compact(header, orjson.dumps(claims), self._jwk, [self._verification.algorithm])


def load_public_keys(paths: Sequence[Path]) -> list[VerificationKey]:
    """All keys of some PEM files, public or private, the same key once."""
    keys: dict[str, VerificationKey] = {}
    for path in paths:
        for block in _pem_blocks(path.read_bytes()):
            key = VerificationKey(_public(block, path))
            keys.setdefault(key.kid, key)
    return list(keys.values())


def discovery_document(issuer: str, jwks_uri: str, keys: Sequence[VerificationKey]) -> bytes:
    """/.well-known/openid-configuration"""
    return orjson.dumps({"issuer": issuer, "jwks_uri": jwks_uri, "response_types_supported": ["id_token"],
                         "subject_types_supported": ["public"],
                         "id_token_signing_alg_values_supported": sorted({key.algorithm for key in keys})})


def jwks_document(keys: Sequence[VerificationKey]) -> bytes:
    """/openid/v1/jwks"""
    return orjson.dumps({"keys": [key.document() for key in keys]})


def key_id(key: PublicKey) -> str:
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return base64.urlsafe_b64encode(hashlib.sha256(der).digest()).rstrip(b"=").decode()


def _algorithm(key: PublicKey) -> str:
    if isinstance(key, rsa.RSAPublicKey):
        return "RS256"
    return {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}[key.curve.name]


def _pem_blocks(data: bytes) -> list[bytes]:
    blocks: list[bytes] = []
    current: list[bytes] = []
    for line in data.splitlines():
        if line.startswith(b"-----BEGIN"):
            current = []
        current.append(line)
        if line.startswith(b"-----END"):
            blocks.append(b"\n".join(current) + b"\n")
    return [block for block in blocks if b"PARAMETERS" not in block.splitlines()[0]]


def _public(block: bytes, path: Path) -> PublicKey:
    title = block.splitlines()[0]
    if b"PRIVATE KEY" in title:
        public = serialization.load_pem_private_key(block, password=None, unsafe_skip_rsa_key_validation=True).public_key()
    else:
        public = serialization.load_pem_public_key(block)
    if not isinstance(public, (rsa.RSAPublicKey, ec.EllipticCurvePublicKey)):
        raise ValueError(f"{path}: only RSA and EC keys sign service-account tokens")
    return public
