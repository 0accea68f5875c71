"""PodCertificateRequest: a kubelet asks a signer for a pod's certificate (beta).

Follows `pkg/registry/certificates/podcertificaterequest` and `pkg/apis/certificates/validation`: the question never changes, the answer
is given once (see `certificate_chain`). Who may sign is admission's (`CertificateSigning`). Known difference: the error of a signer
without permission comes from there, as it does for CertificateSigningRequests.
"""
from __future__ import annotations

import base64
import binascii
from collections.abc import Callable

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key

from kubepy.api import field, name
from kubepy.api.field import Errors, Path
from kubepy.api.resource import POD_CERTIFICATE_REQUESTS
from kubepy.api.types import Object
from kubepy.apiserver.registry import check
from kubepy.apiserver.registry.certificates.certificate_chain import PublicKey, invalid_plain, issued_problems
from kubepy.apiserver.registry.certificates.certificatesigningrequest import signer_problems
from kubepy.apiserver.registry.columns import AGE, NAME, at
from kubepy.apiserver.registry.kind import STATUS, Kind, Strategy
from kubepy.apiserver.registry.moment import now_text
from kubepy.apiserver.request import Context

_SPEC, _STATUS = Path("spec"), Path("status")
_STUB, _KEY, _PROOF = (_SPEC.child(key) for key in ("stubPKCS10Request", "pkixPublicKey", "proofOfPossession"))
_CONDITIONS = _STATUS.child("conditions")
ENDS = ("Issued", "Denied", "Failed")
HOUR, DAY = 3600, 86400
MAX_SECONDS = 91 * DAY
_MAX_STUB, _MAX_KEY, _MAX_PROOF, _MAX_ANNOTATIONS = 10 * 1024, 10 * 1024, 10 * 1024, 256 * 1024


class PodCertificateRequestStrategy(Strategy):
    has_status = True
    status_keeps_metadata = True
    allow_unconditional_update = False

    def fill(self, obj: Object) -> None:
        spec = obj.get("spec")
        if isinstance(spec, dict) and spec.get("maxExpirationSeconds") is None:
            spec["maxExpirationSeconds"] = DAY

    def validate(self, context: Context, obj: Object) -> Errors:
        spec = obj.get("spec") or {}
        errors = signer_problems(spec.get("signerName", ""), _SPEC.child("signerName"))
        errors += _annotation_problems(spec.get("unverifiedUserAnnotations") or {}, _SPEC.child("unverifiedUserAnnotations"))
        for key, uid in (("podName", "podUID"), ("serviceAccountName", "serviceAccountUID"), ("nodeName", "nodeUID")):
            errors += check.named(name.subdomain, spec.get(key, ""), _SPEC.child(key))
            text = spec.get(uid, "")
            errors += [] if text else [field.invalid(_SPEC.child(uid), text, "must not be empty")]
            errors += [field.too_long(_SPEC.child(uid), 128)] if len(text.encode()) > 128 else []
        seconds = spec.get("maxExpirationSeconds")
        if seconds is None:
            return [*errors, field.required(_SPEC.child("maxExpirationSeconds"), "must be set")]
        longest = DAY if spec.get("signerName", "").startswith("kubernetes.io/") else MAX_SECONDS
        if not HOUR <= seconds <= longest:
            errors.append(field.invalid(_SPEC.child("maxExpirationSeconds"), seconds, f"must be in the range [{HOUR}, {longest}]"))
        return errors + _key(spec)[1]

    def takes_long(self, obj: Object) -> bool:
        return True

    def validate_update(self, context: Context, obj: Object, old: Object) -> Errors:
        return check.immutable(obj.get("spec"), old.get("spec"), _SPEC)

    def prepare_status(self, context: Context, obj: Object, old: Object) -> None:
        """The question stays as it is, and so do the conditions that end it."""
        obj["spec"] = old.get("spec") or {}
        before = {item.get("type"): item for item in at(old, "status.conditions", [])}
        conditions = []
        for item in at(obj, "status.conditions", []):
            was = before.get(item.get("type"))
            if was is not None and item.get("type") in ENDS:
                item = was
            elif not item.get("lastTransitionTime"):
                same = was is not None and was.get("status") == item.get("status")
                item = {**item, "lastTransitionTime": (was or {}).get("lastTransitionTime") if same else now_text()}
            conditions.append(item)
        if conditions:
            obj["status"] = {**obj["status"], "conditions": conditions}

    def validate_status(self, context: Context, obj: Object, old: Object) -> Errors:
        status, before = obj.get("status") or {}, old.get("status") or {}
        conditions = status.get("conditions") or []
        if errors := _ending_problems(conditions) + check.conditions(conditions, _CONDITIONS):
            return errors
        if _end(before):
            return [] if status == before else [invalid_plain(
                _STATUS, "", "immutable after PodCertificateRequest is issued, denied, or failed")]
        end = _end(status)
        others = {key for key, value in status.items() if key != "conditions" and value}
        if end in ("Denied", "Failed"):
            return [] if not others else [invalid_plain(
                _STATUS, "", "non-condition status fields must be empty when denying or failing the PodCertificateRequest")]
        if end == "Issued":
            spec = old.get("spec") or {}
            wanted, problems = _key(spec, verify=False)
            return problems if wanted is None else issued_problems(status, wanted, spec.get("maxExpirationSeconds") or DAY)
        return [] if not others and not conditions else [invalid_plain(
            _STATUS, "", 'status is immutable unless transitioning to "Issued", "Denied", or "Failed"')]


def _end(status: Object) -> str:
    return next((item["type"] for item in status.get("conditions") or () if item.get("type") in ENDS), "")


def _ending_problems(conditions: list[Object]) -> Errors:
    errors: Errors = []
    ends = 0
    for position, item in enumerate(conditions):
        path, kind = _CONDITIONS.child(f"[{position}]"), item.get("type", "")
        if kind not in ENDS:
            errors.append(field.not_supported(path.child("type"), kind, sorted(ENDS)))
            continue
        ends += 1
        if ends > 1:
            errors.append(field.invalid(path.child("type"), kind, 'There may be at most one condition with type "Issued", "Denied", or '
                                                                  '"Failed"'))
        if item.get("status") != "True":
            errors.append(field.not_supported(path.child("status"), item.get("status", ""), ("True",)))
    return errors


def _annotation_problems(annotations: Object, path: Path) -> Errors:
    errors: Errors = []
    for key in sorted(annotations):
        found = name.domain_prefixed_path(key)
        errors += [field.invalid(path, key, why) for _, why in found]
    if sum(len(key.encode()) + len(str(value).encode()) for key, value in annotations.items()) > _MAX_ANNOTATIONS:
        errors.append(field.too_long(path, _MAX_ANNOTATIONS))
    return errors


def _bytes(spec: Object, key: str) -> bytes:
    try:
        return base64.b64decode(spec.get(key) or "")
    except binascii.Error:
        return b""


def _key(spec: Object, *, verify: bool = True) -> tuple[PublicKey | None, Errors]:
    """Whose key the certificate is for: that of the PKCS #10 request, or of the older two fields."""
    stub, raw, proof = _bytes(spec, "stubPKCS10Request"), _bytes(spec, "pkixPublicKey"), _bytes(spec, "proofOfPossession")
    if not stub:
        return _older_key(raw, proof, spec.get("podUID", ""), verify)
    if verify and raw:
        return None, [invalid_plain(_KEY, "", "must be empty if stubPKCS10Request is set")]
    if verify and proof:
        return None, [invalid_plain(_PROOF, "", "must be empty if stubPKCS10Request is set")]
    if len(stub) > _MAX_STUB:
        return None, [field.too_long(_STUB, _MAX_STUB)]
    try:
        request = x509.load_der_x509_csr(stub)
        key = request.public_key()
        signed = not verify or request.is_signature_valid
    except (ValueError, UnsupportedAlgorithm):
        return None, [field.invalid(_STUB, spec["stubPKCS10Request"], "must be a valid PKCS#10 CSR")]
    if not signed:
        return None, [field.invalid(_STUB, spec["stubPKCS10Request"], "could not verify the signature of the PKCS#10 CSR")]
    return _known(key, _STUB, spec["stubPKCS10Request"])


def _known(key: object, path: Path, shown: object) -> tuple[PublicKey | None, Errors]:
    """The kinds of keys that pods may have."""
    if isinstance(key, ed25519.Ed25519PublicKey):
        return key, []
    if isinstance(key, ec.EllipticCurvePublicKey):
        if not isinstance(key.curve, (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)):
            return None, [field.invalid(path, f"curve P-{key.key_size}", "elliptic public keys must use curve P256 or P384")]
        return key, []
    if isinstance(key, rsa.RSAPublicKey):
        if key.key_size not in (3072, 4096):
            return None, [field.invalid(path, f"{key.key_size}-bit modulus", "RSA keys must have modulus size 3072 or 4096")]
        return key, []
    return None, [field.invalid(path, shown, "unknown public key type; supported types are Ed25519, ECDSA, and RSA")]


def _older_key(raw: bytes, proof: bytes, uid: str, verify: bool) -> tuple[PublicKey | None, Errors]:
    shown = base64.b64encode(raw).decode()
    for value, path, limit in ((raw, _KEY, _MAX_KEY), (proof, _PROOF, _MAX_PROOF)):
        if len(value) > limit:
            return None, [field.too_long(path, limit)]
    try:
        loaded = load_der_public_key(raw)
    except (ValueError, UnsupportedAlgorithm):
        return None, [field.invalid(_KEY, shown, "must be a valid PKIX-serialized public key")]
    key, errors = _known(loaded, _KEY, shown)
    if key is None or not verify:
        return key, errors
    try:
        if isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(proof, uid.encode())
        elif isinstance(key, rsa.RSAPublicKey):
            key.verify(proof, uid.encode(), padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.AUTO), hashes.SHA256())
        else:
            key.verify(proof, uid.encode(), ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return None, [invalid_plain(_PROOF, "", "could not verify proof-of-possession signature")]
    return key, []


def _field(path: str) -> Callable[[Object], str]:
    return lambda obj: str(at(obj, path, ""))


KIND = Kind(
    POD_CERTIFICATE_REQUESTS,
    "podcertificaterequest",
    PodCertificateRequestStrategy(),
    columns=(NAME, AGE),
    selectable={key: _field(key) for key in ("spec.signerName", "spec.podName", "spec.nodeName")},
    unknown_field="field label not supported: {field}",
    subresources=(STATUS,),
)
