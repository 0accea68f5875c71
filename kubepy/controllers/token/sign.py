"""Legacy service-account tokens: no audience and no end; valid as long as their Secret is there."""
from __future__ import annotations

import base64
import hashlib

import orjson
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from joserfc import jws
from joserfc.jwk import ECKey, RSAKey

from kubepy.api.types import Object

ISSUER = "kubernetes/serviceaccount"
_CLAIM = "kubernetes.io/serviceaccount/"
_CURVES = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}


class Signer:
    """Raises ValueError for a key that is neither RSA nor EC."""

    def __init__(self, pem: bytes) -> None:
        key = serialization.load_pem_private_key(pem, password=None)
        private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        self._key: RSAKey | ECKey
        if isinstance(key, rsa.RSAPrivateKey):
            self._algorithm, self._key = "RS256", RSAKey.import_key(private)
        elif isinstance(key, ec.EllipticCurvePrivateKey):
            self._algorithm, self._key = _CURVES[key.curve.name], ECKey.import_key(private)
        else:
            raise ValueError("the service-account key must be an RSA or EC key")
        der = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        self._id = base64.urlsafe_b64encode(hashlib.sha256(der).digest()).rstrip(b"=").decode()

    def token(self, account: Object, secret: Object) -> str:
        metadata = account["metadata"]
        claims = {"iss": ISSUER, f"{_CLAIM}namespace": metadata["namespace"], f"{_CLAIM}secret.name": secret["metadata"]["name"],
                  f"{_CLAIM}service-account.name": metadata["name"], f"{_CLAIM}service-account.uid": metadata["uid"],
                  "sub": f"system:serviceaccount:{metadata['namespace']}:{metadata['name']}"}
        return jws.serialize_compact({"alg": self._algorithm, "kid": self._id}, orjson.dumps(claims), self._key, [self._algorithm])
