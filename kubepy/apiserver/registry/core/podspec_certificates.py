"""Validation of projected volumes that bring authorities (`clusterTrustBundle`) and certificates of the pod's own (`podCertificate`).

Both are behind feature gates that are off by default (see `podspec_gated`). The other paths of the volume are in `seen`.
"""
from __future__ import annotations

from kubepy.api import field
from kubepy.api.field import Errors, Path
from kubepy.api.selector import validate_object
from kubepy.api.types import Object
from kubepy.apiserver.registry import check
from kubepy.apiserver.registry.certificates.certificatesigningrequest import signer_problems
from kubepy.apiserver.registry.certificates.clustertrustbundle import name_problems
from kubepy.apiserver.registry.certificates.podcertificaterequest import DAY, HOUR, MAX_SECONDS

_KEY_TYPES = ("RSA3072", "RSA4096", "ECDSAP256", "ECDSAP384", "ECDSAP521", "ED25519")
_PATHS = ("credentialBundlePath", "keyPath", "certificateChainPath")


def trust_bundle(source: Object, path: Path, volume: Path, seen: set[str]) -> Errors:
    name, signer = source.get("name"), source.get("signerName")
    errors: Errors = []
    if name is not None and signer is not None:
        errors.append(field.invalid(path, source, "only one of name and signerName may be used"))
    elif name is not None:
        errors += [] if name else [field.required(path.child("name"), "must be a valid object name")]
        errors += [field.invalid(path.child("name"), name, f"not a valid clustertrustbundlename: {why}")
                   for why in name_problems(name, _signer_of(name))]
        if source.get("labelSelector") is not None:
            errors.append(field.invalid(path.child("labelSelector"), source["labelSelector"], "labelSelector must be unset if name is "
                                                                                              "specified"))
    elif signer is not None:
        errors += [] if signer else [field.required(path.child("signerName"), "must be a valid signer name")]
        errors += signer_problems(signer, path.child("signerName"))
        if source.get("labelSelector") is not None:
            errors += validate_object(source["labelSelector"], path.child("labelSelector"))
    else:
        errors.append(field.required(path, "either name or signerName must be specified"))
    target = source.get("path", "")
    errors += [] if target else [field.required(path.child("path"))]
    return errors + check.non_reserved_path(target, path.child("path")) + _take(target, volume, seen)


def _signer_of(name: str) -> str:
    """`example.com/foo` of `example.com:foo:bar`; "" for a bundle of no signer."""
    parts = name.split(":")
    return "/".join(parts[:-1]) if len(parts) == 3 else ""


def certificate(source: Object, path: Path, volume: Path, seen: set[str]) -> Errors:
    signer, key_type, seconds = source.get("signerName", ""), source.get("keyType", ""), source.get("maxExpirationSeconds")
    errors = signer_problems(signer, path.child("signerName")) + check.one_of(key_type, path.child("keyType"), _KEY_TYPES)
    if seconds is not None:
        longest = DAY if signer.startswith("kubernetes.io/") else MAX_SECONDS
        if not HOUR <= seconds <= longest:
            errors.append(field.invalid(path.child("maxExpirationSeconds"), seconds,
                                        f"if provided, maxExpirationSeconds must be between {HOUR} and {longest}"))
    given = [(key, source[key]) for key in _PATHS if source.get(key)]
    if not given:
        errors.append(field.required(path, "specify at least one of credentialBundlePath, keyPath, and certificateChainPath"))
    for key, target in given:
        errors += check.non_reserved_path(target, path.child(key)) + _take(target, volume, seen)
    return errors


def _take(target: str, volume: Path, seen: set[str]) -> Errors:
    if target in seen:
        return [field.invalid(volume, target, "conflicting duplicate paths")]
    seen.add(target)
    return []
