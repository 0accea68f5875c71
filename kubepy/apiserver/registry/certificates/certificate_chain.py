"""What a signer may write as a pod's certificate: PEM blocks whose first was issued to the key that was asked for, and its times.

Follows the last part of ValidatePodCertificateRequestStatusUpdate (`pkg/apis/certificates/validation`).
"""
from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from email.utils import parseaddr

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from kubepy.api import field
from kubepy.api.field import Errors, FieldError, Path
from kubepy.api.types import Object
from kubepy.base.clock import parse_time

PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey

_STATUS = Path("status")
_CHAIN, _BEFORE, _AFTER, _REFRESH = (_STATUS.child(key) for key in ("certificateChain", "notBefore", "notAfter", "beginRefreshAt"))
_BLOCK = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----\r?\n.*?-----END \1-----", re.S)
_MAX_CHAIN = 10 * 1024 * 1024
_SKEW, _REFRESH_MARGIN, _SHORTEST = timedelta(minutes=5), timedelta(minutes=10), timedelta(hours=1)


def invalid_plain(path: Path, shown: object, detail: str) -> FieldError:
    """An error that shows times and durations as Go does, without quotes; "" shows no value at all."""
    return FieldError(str(path), "FieldValueInvalid", f"Invalid value: {shown}: {detail}" if shown != "" else f"Invalid value: {detail}")


def issued_problems(status: Object, wanted: PublicKey, longest: int) -> Errors:
    """The first problem of what was issued; of names and missing times all. `longest` is spec.maxExpirationSeconds."""
    chain = status.get("certificateChain", "")
    if len(chain.encode()) > _MAX_CHAIN:
        return [field.too_long(_CHAIN, _MAX_CHAIN)]
    blocks = list(_BLOCK.finditer(chain))
    if not blocks:
        return [field.invalid(_CHAIN, chain, "issued certificate chain must contain at least one certificate")]
    if blocks[0][1] != "CERTIFICATE":
        return [field.invalid(_CHAIN, chain, "issued certificate chain must consist entirely of CERTIFICATE PEM blocks")]
    leaf = _load(blocks[0])
    if leaf is None:
        return [field.invalid(_CHAIN, chain, "leaf certificate does not parse as valid X.509")]
    errors = _name_problems(leaf)
    if leaf.public_key() != wanted:
        return [*errors, field.invalid(_CHAIN, chain, "leaf certificate was not issued to the requested public key")]
    errors += [field.required(path, f"must be present and {what}") for path, what in (
        (_BEFORE, "consistent with the issued certificate"), (_AFTER, "consistent with the issued certificate"),
        (_REFRESH, "in the range [notbefore+10min, notafter-10min]")) if not status.get(path.text.partition(".")[2])]
    return errors or _time_problems(status, leaf, longest) or _rest_problems(chain, blocks[1:])


def _load(block: re.Match[str]) -> x509.Certificate | None:
    try:
        return x509.load_pem_x509_certificate(block[0].encode())
    except ValueError:
        return None


def _name_problems(leaf: x509.Certificate) -> Errors:
    try:
        found = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return []
    errors: Errors = []
    for text in found.get_values_for_type(x509.DNSName):
        if not text:
            errors.append(field.invalid(_CHAIN, text, "leaf certificate should not contain empty DNSName"))
        if ".." in text:
            errors.append(field.invalid(_CHAIN, text, "leaf certificate's DNSName should not contain '..'"))
        if text.startswith(".") or text.endswith("."):
            errors.append(field.invalid(_CHAIN, text, "leaf certificate's DNSName should not start or end with '.'"))
    errors += [field.invalid(_CHAIN, text, "leaf certificate should not contain invalid EmailAddress")
               for text in found.get_values_for_type(x509.RFC822Name) if "@" not in parseaddr(text)[1]]
    return errors


def _time_problems(status: Object, leaf: x509.Certificate, longest: int) -> Errors:
    before, after, refresh = (datetime.fromtimestamp(parse_time(status[key]), UTC) for key in ("notBefore", "notAfter", "beginRefreshAt"))
    lifetime = leaf.not_valid_after_utc - leaf.not_valid_before_utc
    if before != leaf.not_valid_before_utc:
        return [invalid_plain(_BEFORE, _time(before), "must be set to the NotBefore time encoded in the leaf certificate")]
    if not -_SKEW < before - datetime.now(UTC) < _SKEW:
        return [invalid_plain(_BEFORE, _time(before), "must be set to within 5 minutes of kube-apiserver's current time")]
    if after != leaf.not_valid_after_utc:
        return [invalid_plain(_AFTER, _time(after), "must be set to the NotAfter time encoded in the leaf certificate")]
    if lifetime < _SHORTEST:
        return [invalid_plain(_CHAIN, _duration(lifetime), "leaf certificate lifetime must be >= 1 hour")]
    if lifetime > timedelta(seconds=longest):
        return [invalid_plain(_CHAIN, _duration(lifetime), f"leaf certificate lifetime must be <= spec.maxExpirationSeconds ({longest})")]
    if refresh < before + _REFRESH_MARGIN:
        return [invalid_plain(_REFRESH, _time(refresh), "must be at least 10 minutes after status.notBefore")]
    if refresh > after - _REFRESH_MARGIN:
        return [invalid_plain(_REFRESH, _time(refresh), "must be at least 10 minutes before status.notAfter")]
    return []


def _rest_problems(chain: str, blocks: list[re.Match[str]]) -> Errors:
    for block in blocks:
        if block[1] != "CERTIFICATE":
            return [field.invalid(_CHAIN, chain, "issued certificate chain must consist entirely of CERTFICATE PEM blocks")]
        if _load(block) is None:
            return [field.invalid(_CHAIN, chain, "intermediate certificate does not parse as valid X.509")]
    return []


def _time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S +0000 UTC")


def _duration(value: timedelta) -> str:
    minutes, seconds = divmod(int(value.total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes}m{seconds}s" if hours else f"{minutes}m{seconds}s" if minutes else f"{seconds}s"
