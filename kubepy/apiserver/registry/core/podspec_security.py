"""Validation of security contexts, host namespaces and the operating system of a pod."""
from __future__ import annotations

import re

from kubepy.api import field
from kubepy.api.field import Errors, Path
from kubepy.api.types import Object
from kubepy.apiserver.registry import check
from kubepy.apiserver.registry.core.podspec_windows import windows_options

_SYSCTL = re.compile(r"[a-z0-9]([-_a-z0-9]*[a-z0-9])?([\./][a-z0-9]([-_a-z0-9]*[a-z0-9])?)*")
_SYSCTL_TEXT = r"^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$"
_NOT_ON_WINDOWS = ("appArmorProfile", "seLinuxOptions", "seccompProfile", "fsGroup", "fsGroupChangePolicy", "sysctls", "runAsUser",
                   "runAsGroup", "supplementalGroups", "supplementalGroupsPolicy")
_NOT_ON_WINDOWS_CONTAINER = ("seLinuxOptions", "appArmorProfile", "seccompProfile", "capabilities", "readOnlyRootFilesystem", "privileged",
                             "allowPrivilegeEscalation", "procMount", "runAsUser", "runAsGroup")


class Capabilities:
    """What the server's flags allow (`pkg/capabilities`); set once, before it serves."""

    allow_privileged = True


capabilities = Capabilities()


def pod_security(spec: Object, path: Path) -> Errors:
    """validatePodSpecSecurityContext; `path` is that of the pod spec."""
    context = spec.get("securityContext") or {}
    at = path.child("securityContext")
    errors: Errors = []
    if spec.get("hostNetwork"):
        errors += _host_ports(spec, path)
    if spec.get("shareProcessNamespace") and spec.get("hostPID"):
        errors.append(field.invalid(at.child("shareProcessNamespace"), True,
                                    "ShareProcessNamespace and HostPID cannot both be enabled"))
    for key in ("fsGroup", "runAsUser", "runAsGroup"):
        errors += check.between(context.get(key), 0, check.MAX_INT32, at.child(key))
    for position, group in enumerate(context.get("supplementalGroups") or ()):
        errors += check.between(group, 0, check.MAX_INT32, at.child("supplementalGroups").index(position))
    errors += _sysctls(context.get("sysctls") or [], spec, at.child("sysctls"))
    if context.get("fsGroupChangePolicy") is not None:
        errors += check.one_of(context["fsGroupChangePolicy"], at.child("fsGroupChangePolicy"), ("Always", "OnRootMismatch"))
    errors += seccomp(context.get("seccompProfile"), at.child("seccompProfile"))
    errors += windows_options(context.get("windowsOptions"), at.child("windowsOptions"))
    if context.get("supplementalGroupsPolicy") is not None:
        errors += check.one_of(context["supplementalGroupsPolicy"], at.child("supplementalGroupsPolicy"), ("Merge", "Strict"))
    if context.get("seLinuxChangePolicy") is not None:
        errors += check.one_of(context["seLinuxChangePolicy"], at.child("seLinuxChangePolicy"), ("MountOption", "Recursive"))
    errors += app_armor(context.get("appArmorProfile"), at.child("appArmorProfile"))
    return errors


def _host_ports(spec: Object, path: Path) -> Errors:
    errors: Errors = []
    for place, container in enumerate(spec.get("containers") or ()):
        for position, port in enumerate(container.get("ports") or ()):
            if port.get("hostPort") and port["hostPort"] != port.get("containerPort", 0):
                at = path.child("containers").index(place).child("ports").index(position).child("hostPort")
                errors.append(field.invalid(at, port.get("hostPort", 0), "must match `containerPort` when `hostNetwork` is true"))
    return errors


def _host_sysctl(title: str, spec: Object, path: Path) -> Errors:
    """Settings of a namespace that the pod shares with the host are not the pod's to set."""
    dotted = title.replace("/", ".")
    if spec.get("hostNetwork") and dotted.startswith("net."):
        return [field.invalid(path, title, "may not be specified when 'hostNetwork' is true")]
    if spec.get("hostIPC") and (dotted == "kernel.sem" or dotted.startswith(("kernel.shm", "kernel.msg", "fs.mqueue."))):
        return [field.invalid(path, title, "may not be specified when 'hostIPC' is true")]
    return []


def _sysctls(items: list[Object], spec: Object, path: Path) -> Errors:
    errors: Errors = []
    seen: set[str] = set()
    for position, item in enumerate(items):
        title = item.get("name", "")
        at = path.index(position).child("name")
        if not title:
            errors.append(field.required(at))
        elif len(title) > 253 or not _SYSCTL.fullmatch(title):
            errors.append(field.invalid(at, title, f"must have at most 253 characters and match regex {_SYSCTL_TEXT}"))
        elif title.replace("/", ".") in seen:
            errors.append(field.duplicate(at, title))
        errors += _host_sysctl(title, spec, at)
        seen.add(title.replace("/", "."))
    return errors


def seccomp(profile: Object | None, path: Path) -> Errors:
    if profile is None:
        return []
    kind, local = profile.get("type", ""), profile.get("localhostProfile")
    if not kind:
        return [field.required(path.child("type"), "type is required when seccompProfile is set")]
    if kind == "Localhost":
        if local is None:
            return [field.required(path.child("localhostProfile"), "must be set when seccomp type is Localhost")]
        return check.descending_path(local, path.child("localhostProfile"))
    errors: Errors = []
    if local is not None:
        errors.append(field.invalid(path.child("localhostProfile"), local, "can only be set when seccomp type is Localhost"))
    return errors + check.one_of(kind, path.child("type"), ("Localhost", "RuntimeDefault", "Unconfined"))


def app_armor(profile: Object | None, path: Path) -> Errors:
    if profile is None:
        return []
    kind, local = profile.get("type", ""), profile.get("localhostProfile")
    if not kind:
        return [field.required(path.child("type"), "type is required when appArmorProfile is set")]
    if kind == "Localhost":
        if not (local or "").strip():
            return [field.required(path.child("localhostProfile"), "must be set when AppArmor type is Localhost")]
        return []
    errors: Errors = []
    if local is not None:
        errors.append(field.invalid(path.child("localhostProfile"), local, "can only be set when AppArmor type is Localhost"))
    return errors + check.one_of(kind, path.child("type"), ("Localhost", "RuntimeDefault", "Unconfined"))


def container_security(context: Object | None, path: Path, *, user_namespace: bool = False) -> Errors:
    """ValidateSecurityContext."""
    if context is None:
        return []
    errors: Errors = []
    for key in ("runAsUser", "runAsGroup"):
        errors += check.between(context.get(key), 0, check.MAX_INT32, path.child(key))
    mount = context.get("procMount")
    if mount is not None:
        errors += check.one_of(mount, path.child("procMount"), ("Default", "Unmasked"))
        if mount == "Unmasked" and not user_namespace:
            errors.append(field.invalid(path.child("procMount"), mount, "`hostUsers` must be false to use `Unmasked`"))
    errors += seccomp(context.get("seccompProfile"), path.child("seccompProfile"))
    if context.get("privileged") and not capabilities.allow_privileged:
        errors.append(field.forbidden(path.child("privileged"), "disallowed by cluster policy"))
    if context.get("allowPrivilegeEscalation") is False:
        if context.get("privileged"):
            errors.append(field.invalid(path, context, "cannot set `allowPrivilegeEscalation` to false and `privileged` to true"))
        for capability in (context.get("capabilities") or {}).get("add") or ():
            if capability == "CAP_SYS_ADMIN":
                errors.append(field.invalid(path, context, "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` "
                                                           "CAP_SYS_ADMIN"))
    errors += windows_options(context.get("windowsOptions"), path.child("windowsOptions"))
    return errors + app_armor(context.get("appArmorProfile"), path.child("appArmorProfile"))


def operating_system(spec: Object, path: Path) -> Errors:
    """validateOS and what a given system rules out."""
    system = spec.get("os")
    if system is None:
        return []
    title = system.get("name", "")
    if not title:
        return [field.required(path.child("os", "name"))]
    if title not in ("linux", "windows"):
        return [field.not_supported(path.child("os"), title, ("linux", "windows"))]
    if title == "linux":
        return _linux(spec, path)
    return _windows(spec, path)


def _linux(spec: Object, path: Path) -> Errors:
    errors: Errors = []
    if (spec.get("securityContext") or {}).get("windowsOptions") is not None:
        errors.append(field.forbidden(path.child("securityContext", "windowsOptions"),
                                      "windows options cannot be set for a linux pod"))
    for key in ("containers", "initContainers"):
        for position, container in enumerate(spec.get(key) or ()):
            if (container.get("securityContext") or {}).get("windowsOptions") is not None:
                errors.append(field.forbidden(path.child(key).index(position).child("securityContext", "windowsOptions"),
                                              "windows options cannot be set for a linux pod"))
    return errors


def _windows(spec: Object, path: Path) -> Errors:
    detail = "cannot be set for a windows pod"
    errors: Errors = []
    context = spec.get("securityContext") or {}
    at = path.child("securityContext")
    errors += [field.forbidden(at.child(key), detail) for key in _NOT_ON_WINDOWS if context.get(key) is not None]
    for key in ("hostPID", "hostIPC", "hostUsers", "shareProcessNamespace"):
        if spec.get(key):
            errors.append(field.forbidden(path.child(key) if key == "hostUsers" else at.child(key), detail))
    for key in ("initContainers", "containers"):
        for position, container in enumerate(spec.get(key) or ()):
            own = container.get("securityContext") or {}
            place = path.child(key).index(position).child("securityContext")
            errors += [field.forbidden(place.child(part), detail) for part in _NOT_ON_WINDOWS_CONTAINER if own.get(part) is not None]
    return errors
