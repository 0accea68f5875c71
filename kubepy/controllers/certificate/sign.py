"""The kubernetes.io signers (`csrsigning`): approved requests get certificates of the cluster's CA, or of the signer's own.

The CA's files are read for each certificate, so that a new CA needs no restart.
"""
from __future__ import annotations

import base64
import datetime
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from kubepy.api.errors import NotFound
from kubepy.api.resource import CERTIFICATE_SIGNING_REQUESTS
from kubepy.api.types import Object
from kubepy.base.clock import format_time
from kubepy.base.log import get_logger
from kubepy.client.controller import Controller, Watch
from kubepy.controllers.certificate.request import LEGACY, SIGNERS, Refused, Wish, check, has_condition, parse, usages
from kubepy.controllers.kit.environment import Environment

log = get_logger("csrsigning")

BACKDATE = 300.0
_EXTENDED = {
    "server auth": ExtendedKeyUsageOID.SERVER_AUTH, "client auth": ExtendedKeyUsageOID.CLIENT_AUTH,
    "code signing": ExtendedKeyUsageOID.CODE_SIGNING, "email protection": ExtendedKeyUsageOID.EMAIL_PROTECTION,
    "s/mime": ExtendedKeyUsageOID.EMAIL_PROTECTION, "timestamping": ExtendedKeyUsageOID.TIME_STAMPING,
    "ocsp signing": ExtendedKeyUsageOID.OCSP_SIGNING, "any": ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,
}


class Authority:
    def __init__(self, cert_file: str, key_file: str) -> None:
        self._cert_file, self._key_file = Path(cert_file), Path(key_file)

    def sign(self, wish: Wish, wanted: frozenset[str], seconds: float, now: float) -> bytes:
        """A PEM certificate; it does not outlive the CA."""
        ca = x509.load_pem_x509_certificates(self._cert_file.read_bytes())[0]
        key = serialization.load_pem_private_key(self._key_file.read_bytes(), None)
        if not isinstance(key, (rsa.RSAPrivateKey, ec.EllipticCurvePrivateKey)):
            raise OSError(f"{self._key_file} holds neither an RSA nor an EC key")
        start = datetime.datetime.fromtimestamp(now - BACKDATE, datetime.UTC)
        end = min(datetime.datetime.fromtimestamp(now + seconds, datetime.UTC), ca.not_valid_after_utc)
        builder = (
            x509.CertificateBuilder().subject_name(wish.csr.subject).issuer_name(ca.subject).public_key(wish.csr.public_key())
            .serial_number(x509.random_serial_number()).not_valid_before(start).not_valid_after(end)
            .add_extension(_key_usage(wanted), critical=True)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
        )
        if extended := [_EXTENDED[item] for item in sorted(wanted) if item in _EXTENDED]:
            builder = builder.add_extension(x509.ExtendedKeyUsage(extended), critical=False)
        names: list[x509.GeneralName] = [x509.DNSName(name) for name in wish.dns]
        names += [x509.IPAddress(ipaddress.ip_address(ip)) for ip in wish.ips]
        names += [x509.RFC822Name(name) for name in wish.emails] + [x509.UniformResourceIdentifier(uri) for uri in wish.uris]
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def duration(obj: Object, longest: float) -> float:
    """Seconds of validity: what is asked for, at least ten minutes, at most the configured longest."""
    wanted = obj["spec"].get("expirationSeconds")
    return longest if wanted is None else min(max(float(wanted), 600.0), longest)


def _key_usage(wanted: frozenset[str]) -> x509.KeyUsage:
    agreement = "key agreement" in wanted
    return x509.KeyUsage(
        digital_signature=bool(wanted & {"digital signature", "signing"}), content_commitment="content commitment" in wanted,
        key_encipherment="key encipherment" in wanted, data_encipherment="data encipherment" in wanted, key_agreement=agreement,
        key_cert_sign="cert sign" in wanted, crl_sign="crl sign" in wanted,
        encipher_only=agreement and "encipher only" in wanted, decipher_only=agreement and "decipher only" in wanted)


def controller(env: Environment) -> Controller | None:
    options = env.options
    files = (options.cluster_signing_cert_file, options.cluster_signing_key_file)
    authorities = {signer: Authority(*options.signers.get(signer, files)) for signer in SIGNERS if all(options.signers.get(signer, files))}
    if not authorities:
        return None
    client = env.client_for("certificate-controller")
    cache = env.informers.informer(CERTIFICATE_SIGNING_REQUESTS).lister

    async def reconcile(name: str) -> None:
        obj = cache.get(name)
        if obj is None or obj["spec"].get("signerName") not in authorities or (obj.get("status") or {}).get("certificate"):
            return
        if not has_condition(obj, "Approved") or has_condition(obj, "Denied") or has_condition(obj, "Failed"):
            return
        status, signer = obj.get("status") or {}, obj["spec"]["signerName"]
        now = env.clock.now()
        try:
            wish = parse(obj)
            if signer != LEGACY:
                check(signer, wish, usages(obj))
            pem = authorities[signer].sign(wish, usages(obj), duration(obj, options.cluster_signing_duration), now)
            new = {**status, "certificate": base64.b64encode(pem).decode()}
            log.info("Certificate signed", request=name, signer=signer, subject=wish.name)
        except Refused as error:
            moment = format_time(now)
            new = {**status, "conditions": [*(status.get("conditions") or ()), {
                "type": "Failed", "status": "True", "reason": "SignerValidationFailure", "message": str(error),
                "lastUpdateTime": moment, "lastTransitionTime": moment}]}
        try:
            await client.update(CERTIFICATE_SIGNING_REQUESTS, {**obj, "status": new}, subresource="status")
        except NotFound:
            return

    return Controller("csrsigning", reconcile, (Watch(CERTIFICATE_SIGNING_REQUESTS),), initial_backoff=0.2)
