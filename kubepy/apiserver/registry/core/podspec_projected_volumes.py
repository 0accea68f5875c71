"""Validation of projected and generic ephemeral volumes."""
from __future__ import annotations

from kubepy.api import field, name
from kubepy.api.field import Errors, Path
from kubepy.api.types import Object
from kubepy.apiserver.registry import check
from kubepy.apiserver.registry.core import podspec_certificates as certificates

_SOURCES = ("secret", "configMap", "downwardAPI", "serviceAccountToken", "clusterTrustBundle", "podCertificate")
_META_FIELDS = (("name", "name"), ("generateName", "generateName"), ("namespace", "namespace"), ("selfLink", "selfLink"), ("uid", "uID"),
                ("resourceVersion", "resourceVersion"), ("generation", "generation"), ("creationTimestamp", "creationTimestamp"),
                ("deletionTimestamp", "deletionTimestamp"), ("deletionGracePeriodSeconds", "deletionGracePeriodSeconds"),
                ("ownerReferences", "ownerReferences"), ("finalizers", "finalizers"), ("managedFields", "managedFields"))
"""What the metadata of a claim template may not have, in Go's order and as upstream names it in messages."""


def key_to_path(item: Object, path: Path) -> Errors:
    """validateKeyToPath."""
    errors = check.need(item.get("key"), path.child("key"))
    errors += check.need(item.get("path"), path.child("path"))
    if item.get("path"):
        errors += check.non_reserved_path(item["path"], path.child("path"))
    return errors + check.file_mode(item.get("mode"), path.child("mode"))


def projected(source: Object, path: Path) -> Errors:
    errors = check.file_mode(source.get("defaultMode"), path.child("defaultMode"))
    seen: set[str] = set()
    for position, item in enumerate(source.get("sources") or ()):
        errors += _projection(item, path.child("sources").index(position), path, seen)
    return errors


def _projection(item: Object, path: Path, volume: Path, seen: set[str]) -> Errors:
    from kubepy.apiserver.registry.core.podspec_volumes import downward_file  # the two topics name each other

    errors: Errors = []
    for key in ("secret", "configMap"):
        if (part := item.get(key)) is not None:
            errors += check.need(part.get("name"), path.child(key, "name"))
            for position, entry in enumerate(part.get("items") or ()):
                errors += key_to_path(entry, path.child(key, "items").index(position))
                errors += _take(entry.get("path", ""), part.get("name", ""), volume, seen)
    if (part := item.get("downwardAPI")) is not None:
        for entry in part.get("items") or ():
            errors += downward_file(entry, path.child("downwardAPI"))
            errors += _take(entry.get("path", ""), entry.get("path", ""), volume, seen)
    if (part := item.get("serviceAccountToken")) is not None:
        errors += _token(part, path.child("serviceAccountToken"), volume)
    if (part := item.get("clusterTrustBundle")) is not None:
        errors += certificates.trust_bundle(part, path.child("clusterTrustBundlePEM"), volume, seen)
    if (part := item.get("podCertificate")) is not None:
        errors += certificates.certificate(part, path.child("podCertificate"), volume, seen)
    if sum(item.get(key) is not None for key in _SOURCES) > 1:
        errors.append(field.forbidden(path, "may not specify more than 1 volume type per source"))
    return errors


def _token(token: Object, path: Path, volume: Path) -> Errors:
    """The path of a token may be that of something else: upstream does not compare it."""
    errors: Errors = []
    expiration = token.get("expirationSeconds", 3600)
    at = path.child("expirationSeconds")
    if expiration < 600:
        errors.append(field.invalid(at, expiration, "may not specify a duration less than 10 minutes"))
    if expiration > 1 << 32:
        errors.append(field.invalid(at, expiration, "may not specify a duration larger than 2^32 seconds"))
    if not token.get("path"):
        errors.append(field.required(volume.child("path")))
    else:
        errors += check.non_reserved_path(token["path"], volume.child("path"))
    return errors


def _take(path: str, shown: str, volume: Path, seen: set[str]) -> Errors:
    """Marks a path of the volume as used."""
    if not path:
        return []
    if path in seen:
        return [field.invalid(volume, shown, "conflicting duplicate paths")]
    seen.add(path)
    return []


def ephemeral(source: Object, path: Path) -> Errors:
    from kubepy.apiserver.registry.core.claim_validation import claim_spec  # claims are a topic of their own

    at = path.child("volumeClaimTemplate")
    template = source.get("volumeClaimTemplate")
    if template is None:
        return [field.required(at)]
    metadata = template.get("metadata") or {}
    errors: Errors = []
    for key in sorted(metadata.get("annotations") or {}):
        errors += check.named(name.qualified, key.lower(), at.child("metadata", "annotations"))
    errors += check.labels(metadata.get("labels"), at.child("metadata", "labels"))
    errors += [field.forbidden(at.child("metadata", shown), "cannot be set") for key, shown in _META_FIELDS if metadata.get(key)]
    return errors + claim_spec(template.get("spec") or {}, at.child("spec"))
