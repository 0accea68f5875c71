"""Validation of the annotations that mean something for a pod: mirrors, deletion costs, and the profiles that fields have replaced.

Source: `ValidatePodSpecificAnnotations` and kin in `k8s.io/kubernetes/pkg/apis/core/validation`.
"""
from __future__ import annotations

import re
from collections.abc import Iterator

from kubepy.api import field
from kubepy.api.field import Errors, Path
from kubepy.api.types import Object
from kubepy.apiserver.registry import check

MIRROR = "kubernetes.io/config.mirror"
APP_ARMOR = "container.apparmor.security.beta.kubernetes.io/"
_SECCOMP_POD = "seccomp.security.alpha.kubernetes.io/pod"
_SECCOMP = "container.seccomp.security.alpha.kubernetes.io/"
_DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
_LOCALHOST = "localhost/"
_FIELD_TYPES = {"unconfined": "Unconfined", "runtime/default": "RuntimeDefault", "docker/default": "RuntimeDefault"}


def pod_annotations(annotations: Object, spec: Object, path: Path) -> Errors:
    """ValidatePodSpecificAnnotations."""
    errors: Errors = []
    if MIRROR in annotations and not spec.get("nodeName"):
        errors.append(field.invalid(path.key(MIRROR), annotations[MIRROR], "must set spec.nodeName if mirror pod annotation is set"))
    cost = annotations.get(_DELETION_COST)
    if cost is not None and not _is_int32(cost):
        errors.append(field.invalid(path.key(_DELETION_COST), cost, "must be a 32bit integer"))
    for key in sorted(annotations):
        if key == _SECCOMP_POD or key.startswith(_SECCOMP):
            errors += _seccomp(annotations[key], path.child(key))
    names = {container.get("name", "") for container, _ in _containers(spec, path)}
    for key in sorted(annotations):
        if key.startswith(APP_ARMOR):
            title, profile = key.removeprefix(APP_ARMOR), annotations[key]
            if title not in names:
                errors.append(field.invalid(path.key(key), title, "container not found"))
            if profile not in ("", "runtime/default", "unconfined") and not profile.startswith(_LOCALHOST):
                errors.append(field.invalid(path.key(key), profile, f'invalid AppArmor profile name: "{profile}"'))
    return errors


def _is_int32(text: str) -> bool:
    """A number as Go's ParseInt takes it, without a plus and leading zeros."""
    return re.fullmatch(r"-?(0|[1-9][0-9]{0,9})", text) is not None and -(2**31) <= int(text) < 2**31


def _seccomp(profile: str, path: Path) -> Errors:
    if profile in _FIELD_TYPES:
        return []
    if profile.startswith(_LOCALHOST):
        return check.descending_path(profile.removeprefix(_LOCALHOST), path)
    return [field.invalid(path, profile, "must be a valid seccomp profile")]


def annotation_changes(new: Object, old: Object, path: Path) -> Errors:
    """ValidatePodSpecificAnnotationUpdates: mirrors stay mirrors, AppArmor annotations stay as they are."""
    errors: Errors = []
    for key in sorted(old):
        if new.get(key) != old[key]:
            if key.startswith(APP_ARMOR):
                errors.append(field.forbidden(path.key(key), "may not remove or update AppArmor annotations"))
            if key == MIRROR:
                errors.append(field.forbidden(path.key(key), "may not remove or update mirror pod annotation"))
    for key in sorted(new.keys() - old.keys()):
        if key.startswith(APP_ARMOR):
            errors.append(field.forbidden(path.key(key), "may not add AppArmor annotations"))
        if key == MIRROR:
            errors.append(field.forbidden(path.key(key), "may not add mirror pod annotation"))
    return errors


def profiles_match(annotations: Object, spec: Object, path: Path) -> Errors:
    """Where a profile is given as an annotation and as a field, both say the same."""
    own = spec.get("securityContext") or {}
    errors: Errors = []
    if own.get("seccompProfile") is not None and _SECCOMP_POD in annotations:
        errors += _matches(annotations[_SECCOMP_POD], own["seccompProfile"], path.child("securityContext", "seccompProfile"), "seccomp")
    contexts = [(container.get("name", ""), container.get("securityContext") or {}, at.child("securityContext"))
                for container, at in _containers(spec, path)]
    for title, context, at in contexts:
        if context.get("seccompProfile") is not None and f"{_SECCOMP}{title}" in annotations:
            errors += _matches(annotations[f"{_SECCOMP}{title}"], context["seccompProfile"], at.child("seccompProfile"), "seccomp")
    if (spec.get("os") or {}).get("name") == "windows":
        return errors
    for title, context, at in contexts:
        profile = context.get("appArmorProfile") or own.get("appArmorProfile")
        if profile is not None and f"{APP_ARMOR}{title}" in annotations:
            errors += _matches(annotations[f"{APP_ARMOR}{title}"], profile, at.child("appArmorProfile"), "apparmor")
    return errors


def _matches(annotation: str, profile: Object, path: Path, what: str) -> Errors:
    kind = profile.get("type")
    if kind == "Localhost" and annotation.startswith(_LOCALHOST):
        if annotation.removeprefix(_LOCALHOST) != profile.get("localhostProfile"):
            return [field.forbidden(path.child("localhostProfile"), f"{what} profile in annotation and field must match")]
        return []
    means = "" if what == "apparmor" and annotation == "docker/default" else _FIELD_TYPES.get(annotation, "")
    if kind in ("Unconfined", "RuntimeDefault", "Localhost") and kind != means:
        return [field.forbidden(path.child("type"), f"{what} type in annotation and field must match")]
    return []


def app_armor_fields(annotations: Object, spec: Object) -> list[str]:
    """applyAppArmorVersionSkew: an annotation becomes a container's field where there is none; the annotations to warn about."""
    if (spec.get("os") or {}).get("name") == "windows":
        return []
    warned: list[str] = []
    pod_profile = (spec.get("securityContext") or {}).get("appArmorProfile")
    for container, _ in _containers(spec, Path()):
        key = f"{APP_ARMOR}{container.get('name', '')}"
        if key not in annotations or (container.get("securityContext") or {}).get("appArmorProfile") is not None:
            continue
        profile = _profile(annotations[key])
        if profile is None or profile != pod_profile:
            warned.append(key)
        if profile is not None and profile != pod_profile:
            container["securityContext"] = {**(container.get("securityContext") or {}), "appArmorProfile": profile}
    return warned


def _profile(annotation: str) -> Object | None:
    if annotation in ("runtime/default", "unconfined"):
        return {"type": _FIELD_TYPES[annotation]}
    local = annotation.removeprefix(_LOCALHOST)
    if annotation.startswith(_LOCALHOST) and local and local == local.strip():
        return {"type": "Localhost", "localhostProfile": local}
    return None


def _containers(spec: Object, path: Path) -> Iterator[tuple[Object, Path]]:
    for key in ("initContainers", "containers", "ephemeralContainers"):
        for position, container in enumerate(spec.get(key) or ()):
            yield container, path.child(key).index(position)
