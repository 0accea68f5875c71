"""CertificateSigningRequest: the requester is whoever sent it, the spec never changes, approval and certificate have their own ways in.

Follows `pkg/registry/certificates/certificates` and `pkg/apis/certificates/validation`.
"""
from __future__ import annotations

import base64
import binascii
import re

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from kubepy.api import field, name
from kubepy.api.field import Errors, Path
from kubepy.api.resource import CERTIFICATE_SIGNING_REQUESTS
from kubepy.api.types import Object
from kubepy.apiserver.registry.columns import AGE, NAME, at, column, duration
from kubepy.apiserver.registry.kind import STATUS, Kind, Strategy, Subresource
from kubepy.apiserver.registry.moment import now_text
from kubepy.apiserver.request import Context

_SPEC = Path("spec")
_STATUS = Path("status")
_BLOCK = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----\r?\n(.*?)-----END \1-----", re.S)
_USAGES = ("any", "cert sign", "client auth", "code signing", "content commitment", "crl sign", "data encipherment", "decipher only",
           "digital signature", "email protection", "encipher only", "ipsec end system", "ipsec tunnel", "ipsec user", "key agreement",
           "key encipherment", "microsoft sgc", "netscape sgc", "ocsp signing", "s/mime", "server auth", "signing", "timestamping")
_DECISIONS = ("Approved", "Denied")
_MIN_SECONDS = 600


class CertificateSigningRequestStrategy(Strategy):
    has_status = True
    resets_spec = True
    name_kind = "path"

    def prepare_create(self, context: Context, obj: Object) -> None:
        spec = obj.setdefault("spec", {})
        user = context.user
        given = {"username": user.name, "uid": user.uid, "groups": list(user.groups),
                 "extra": {key: list(values) for key, values in user.extra.items()}}
        for key, value in given.items():
            spec.pop(key, None)
            if value:
                spec[key] = value
        obj["status"] = {}

    def prepare_update(self, context: Context, obj: Object, old: Object) -> None:
        obj["spec"] = old["spec"]
        obj["status"] = old.get("status") or {}

    def prepare_status(self, context: Context, obj: Object, old: Object) -> None:
        """/status may not approve or deny: those conditions stay as they were, each in its place."""
        obj["spec"] = old["spec"]
        status = obj.setdefault("status", {})
        decided = {item.get("type"): item for item in _conditions(old) if item.get("type") in _DECISIONS}
        if conditions := [decided.get(item.get("type"), item) for item in _conditions(obj)]:
            status["conditions"] = conditions
        _stamp(obj, old)

    def validate(self, context: Context, obj: Object) -> Errors:
        spec = obj.get("spec") or {}
        errors = _request_problems(spec.get("request"))
        usages = spec.get("usages") or []
        if not usages:
            errors.append(field.required(_SPEC.child("usages")))
        for position, usage in enumerate(usages):
            if usage not in _USAGES:
                errors.append(field.not_supported(_SPEC.child("usages").index(position), usage, _USAGES))
            if usage in usages[:position]:
                errors.append(field.duplicate(_SPEC.child("usages").index(position), usage))
        signer = spec.get("signerName") or ""
        if signer == "kubernetes.io/legacy-unknown":
            errors.append(field.invalid(_SPEC.child("signerName"), signer, "the legacy signerName is not allowed via this API version"))
        else:
            errors += signer_problems(signer, _SPEC.child("signerName"))
        seconds = spec.get("expirationSeconds")
        if seconds is not None and seconds < _MIN_SECONDS:
            errors.append(field.invalid(_SPEC.child("expirationSeconds"), seconds,
                                        "may not specify a duration less than 600 seconds (10 minutes)"))
        return errors

    def validate_update(self, context: Context, obj: Object, old: Object) -> Errors:
        return []  # neither spec nor status can have changed

    def validate_status(self, context: Context, obj: Object, old: Object) -> Errors:
        errors = _condition_problems(obj, old, _DECISIONS)
        before, after = at(old, "status.certificate", ""), at(obj, "status.certificate", "")
        if before and before != after:
            errors.append(field.forbidden(_STATUS.child("certificate"), "updates may not modify existing certificate content"))
        elif after and after != before:
            errors += _certificate_problems(after)
        return errors


class _Approval(CertificateSigningRequestStrategy):
    """Writes Approved and Denied conditions, and nothing else."""

    def prepare_update(self, context: Context, obj: Object, old: Object) -> None:
        _stamp(obj, old)

    def validate_update(self, context: Context, obj: Object, old: Object) -> Errors:
        return _condition_problems(obj, old, ())


def _conditions(obj: Object) -> list[Object]:
    return list((obj.get("status") or {}).get("conditions") or ())


def _stamp(obj: Object, old: Object) -> None:
    """Conditions that are new or changed get their times."""
    before = {item.get("type"): item for item in _conditions(old)}
    conditions = []
    for item in _conditions(obj):
        was = before.get(item.get("type"))
        if item != was:
            item = {**item, "lastUpdateTime": item.get("lastUpdateTime") or now_text()}
            if not item.get("lastTransitionTime"):
                same = was is not None and was.get("status") == item.get("status") and was.get("lastTransitionTime")
                item["lastTransitionTime"] = was["lastTransitionTime"] if was is not None and same else now_text()
        conditions.append(item)
    if conditions:
        obj["status"]["conditions"] = conditions


def _condition_problems(obj: Object, old: Object, fixed: tuple[str, ...]) -> Errors:
    errors: Errors = []
    path = _STATUS.child("conditions")
    types = [item.get("type", "") for item in _conditions(obj)]
    for position, item in enumerate(_conditions(obj)):
        here = path.index(position)
        kind = item.get("type", "")
        if not kind:
            errors.append(field.required(here.child("type")))
        elif kind in types[:position]:
            errors.append(field.duplicate(here.child("type"), kind))
        if kind in (*_DECISIONS, "Failed"):
            if item.get("status") != "True":
                errors.append(field.not_supported(here.child("status"), item.get("status", ""), ("True",)))
            if kind in _DECISIONS and set(_DECISIONS) <= set(types[:position + 1]):
                errors.append(field.invalid(here.child("type"), kind, "Approved and Denied conditions are mutually exclusive"))
    for item in _conditions(old):
        if item.get("type") in (*_DECISIONS, "Failed") and item.get("type") not in types:
            errors.append(field.forbidden(path, f'updates may not remove a condition of type "{item.get("type")}"'))
    before = {item.get("type") for item in _conditions(old)}
    errors += [field.forbidden(path, f'updates may not add a condition of type "{kind}"') for kind in fixed
               if kind in types and kind not in before]
    return errors


def _request_problems(request: str | None) -> Errors:
    path = _SPEC.child("request")
    try:
        pem = base64.b64decode(request or "")
    except binascii.Error:
        pem = b""
    if not pem.lstrip().startswith(b"-----BEGIN CERTIFICATE REQUEST-----"):
        return [field.invalid(path, request or None, "PEM block type must be CERTIFICATE REQUEST")]
    try:
        parsed = x509.load_pem_x509_csr(pem)
    except ValueError as error:
        return [field.invalid(path, request, f"asn1: structure error: {error}")]
    if not parsed.is_signature_valid:
        elliptic = isinstance(parsed.public_key(), ec.EllipticCurvePublicKey)
        return [field.invalid(path, request, "x509: ECDSA verification failure" if elliptic else "crypto/rsa: verification error")]
    return []


def _certificate_problems(text: str) -> Errors:
    why = _why_no_certificates(text)
    return [field.invalid(_STATUS.child("certificate"), "<certificate data>", why)] if why else []


def _why_no_certificates(text: str) -> str:
    """Only blocks of certificates count, each with one in it; what stands between them does not matter."""
    try:
        data = base64.b64decode(text).decode("latin-1")
    except (ValueError, binascii.Error) as error:
        return str(error)
    blocks = list(_BLOCK.finditer(data))
    for block in blocks:
        if block[1] != "CERTIFICATE":
            return f'only CERTIFICATE PEM blocks are allowed, found "{block[1]}"'
        if ":" in block[2]:
            return "no PEM block headers are permitted"
        try:
            x509.load_pem_x509_certificate(block[0].encode("latin-1"))
        except ValueError:
            return "x509: malformed certificate"
    return "" if blocks else "must contain one or more CERTIFICATE PEM blocks"


def signer_problems(signer: str, path: Path) -> Errors:
    """`ValidateSignerName`: `example.com/signer-name`."""
    if not signer:
        return [field.required(path)]
    segments = signer.split("/")
    if len(segments) != 2:
        return [field.invalid(path, signer, "must be a fully qualified domain and path of the form 'example.com/signer-name'")]
    domain, rest = segments
    errors: Errors = []
    labels = domain.split(".")
    for part in labels:
        errors += [field.invalid(path, domain, f'validating label "{part}": {why}') for why in name.label(part)]
    if len(labels) < 2:
        errors.append(field.invalid(path, domain, "should be a domain with at least two segments separated by dots"))
    for part in rest.split("."):
        errors += [field.invalid(path, rest, f'validating label "{part}": {why}') for why in name.subdomain(part)]
    return errors


def _condition_text(obj: Object) -> str:
    types = {item.get("type") for item in _conditions(obj)}
    text = "Denied" if "Denied" in types else "Approved" if "Approved" in types else "Pending"
    if "Failed" in types:
        text += ",Failed"
    return f"{text},Issued" if at(obj, "status.certificate") else text


def _requested(obj: Object) -> str:
    seconds = at(obj, "spec.expirationSeconds")
    return "<none>" if seconds is None else duration(seconds)


_SIGNER_TEXT = """Requested signer for the request. It is a qualified name in the form: `scope-hostname.io/name`. \
If empty, it will be defaulted:
 1. If it's a kubelet client certificate, it is assigned
    "kubernetes.io/kube-apiserver-client-kubelet".
 2. If it's a kubelet serving certificate, it is assigned
    "kubernetes.io/kubelet-serving".
 3. Otherwise, it is assigned "kubernetes.io/legacy-unknown".
Distribution of trust for signers happens out of band. You can select on this field using `spec.signerName`."""

KIND = Kind(
    CERTIFICATE_SIGNING_REQUESTS,
    "certificatesigningrequest",
    CertificateSigningRequestStrategy(),
    (
        NAME, AGE,
        column("SignerName", "string", _SIGNER_TEXT, lambda obj: at(obj, "spec.signerName", "")),
        column("Requestor", "string", "Base64-encoded PKCS#10 CSR data", lambda obj: at(obj, "spec.username", "")),
        column("RequestedDuration", "string", "=certificates.v1.CertificateSigningRequestSpec.expirationSeconds", _requested),
        column("Condition", "string", "Conditions applied to the request, such as approval or denial.", _condition_text),
    ),
    short_names=("csr",),
    selectable={"spec.signerName": lambda obj: at(obj, "spec.signerName", "")},
    unknown_field="field label not supported: {field}",
    subresources=(Subresource("approval", ("get", "patch", "update"), strategy=_Approval()), STATUS),
)
