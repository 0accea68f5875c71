"""Validation of security contexts, host namespaces and the operating system of a pod."""
from __future__ import annotations

import re
from collections.abc import Iterator

from kubepy.api import field
from kubepy.api.field import Errors, Path
from kubepy.api.types import Object
from kubepy.apiserver.registry import check
from kubepy.apiserver.registry.core.podspec_windows import windows_options

_SYSCTL = re.compile(r"[a-z0-9]([-_a-z0-9]*[a-z0-9])?([\./][a-z0-9]([-_a-z0-9]*[a-z0-9])?)*")
_SYSCTL_TEXT = r"^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$"
_NOT_ON_WINDOWS = ("appArmorProfile", "seLinuxOptions", "hostUsers", "hostPID", "hostIPC", "seccompProfile", "fsGroup",
                   "fsGroupChangePolicy", "sysctls", "shareProcessNamespace", "runAsUser", "runAsGroup", "supplementalGroups",
                   "supplementalGroupsPolicy", "seLinuxChangePolicy")
_OF_SPEC = ("hostUsers", "hostPID", "hostIPC", "shareProcessNamespace")
_NOT_ON_WINDOWS_CONTAINER = ("appArmorProfile", "seLinuxOptions", "seccompProfile", "capabilities", "readOnlyRootFilesystem", "privileged",
                             "allowPrivilegeEscalation", "procMount", "runAsUser", "runAsGroup")
_PROFILES = ("Localhost", "RuntimeDefault", "Unconfined")
_MAX_PATH = 4095
"""PATH_MAX - 1."""


class Capabilities:
    """What the server's flags allow (`pkg/capabilities`); set once, before it serves."""

    allow_privileged = True


capabilities = Capabilities()


def pod_security(spec: Object, path: Path) -> Errors:
    """validatePodSpecSecurityContext; `path` is that of the pod spec."""
    context = spec.get("securityContext") or {}
    at = path.child("securityContext")
    errors: Errors = []
    for key in ("fsGroup", "runAsUser", "runAsGroup"):
        errors += check.between(context.get(key), 0, check.MAX_INT32, at.child(key))
    for position, group in enumerate(context.get("supplementalGroups") or ()):
        errors += check.between(group, 0, check.MAX_INT32, at.child("supplementalGroups").index(position))
    if spec.get("shareProcessNamespace") and spec.get("hostPID"):
        errors.append(field.invalid(at.child("shareProcessNamespace"), True,
                                    "ShareProcessNamespace and HostPID cannot both be enabled"))
    errors += _sysctls(context.get("sysctls") or [], spec, at.child("sysctls"))
    if context.get("fsGroupChangePolicy") is not None:
        errors += check.one_of(context["fsGroupChangePolicy"], at.child("fsGroupChangePolicy"), ("Always", "OnRootMismatch"))
    errors += seccomp(context.get("seccompProfile"), at.child("seccompProfile"))
    errors += windows_options(context.get("windowsOptions"), at.child("windowsOptions"))
    errors += app_armor(context.get("appArmorProfile"), at.child("appArmorProfile"))
    if context.get("supplementalGroupsPolicy") is not None:
        errors += check.one_of(context["supplementalGroupsPolicy"], at.child("supplementalGroupsPolicy"), ("Merge", "Strict"))
    if context.get("seLinuxChangePolicy") is not None:
        errors += check.one_of(context["seLinuxChangePolicy"], at.child("seLinuxChangePolicy"), ("MountOption", "Recursive"))
    return errors


def host_network_ports(spec: Object, path: Path) -> Errors:
    """validatePodHostNetworkDeps; pods have got their host ports by now."""
    errors: Errors = []
    for place, container in enumerate((spec.get("containers") or ()) if spec.get("hostNetwork") else ()):
        for position, port in enumerate(container.get("ports") or ()):
            if port.get("hostPort") and port["hostPort"] != port.get("containerPort", 0):
                at = path.child("containers").index(place).child("ports").index(position).child("hostPort")
                errors.append(field.invalid(at, port["hostPort"], "must match `containerPort` when `hostNetwork` is true"))
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
    """validateSeccompProfileField."""
    if profile is None:
        return []
    kind, local = profile.get("type", ""), profile.get("localhostProfile")
    errors = check.need_one_of(kind, path.child("type"), _PROFILES, "type is required when seccompProfile is set")
    at = path.child("localhostProfile")
    if kind != "Localhost":
        if local is not None:
            shown = field.Struct(Type=kind, LocalhostProfile=local)
            errors.append(field.invalid(at, shown, "can only be set when seccomp type is Localhost"))
    elif local is None:
        errors.append(field.required(at, "must be set when seccomp type is Localhost"))
    else:
        errors += check.descending_path(local, at)
    return errors


def app_armor(profile: Object | None, path: Path) -> Errors:
    """ValidateAppArmorProfileField."""
    if profile is None:
        return []
    kind, local, at = profile.get("type", ""), profile.get("localhostProfile"), path.child("localhostProfile")
    if kind not in ("Localhost", "RuntimeDefault", "Unconfined"):
        return check.need_one_of(kind, path.child("type"), _PROFILES, "type is required when appArmorProfile is set")
    if kind != "Localhost":
        return [] if local is None else [field.invalid(at, local, "can only be set when AppArmor type is Localhost")]
    if not local:
        return [field.required(at, "must be set when AppArmor type is Localhost")]
    errors = [] if local == local.strip() else [field.invalid(at, local, "must not be padded with whitespace")]
    return errors + ([field.too_long(at, _MAX_PATH)] if len(local.encode()) > _MAX_PATH else [])


def container_security(context: Object | None, path: Path, *, user_namespace: bool = False) -> Errors:
    """ValidateSecurityContext."""
    if context is None:
        return []
    errors: Errors = []
    if context.get("privileged") and not capabilities.allow_privileged:
        errors.append(field.forbidden(path.child("privileged"), "disallowed by cluster policy"))
    for key in ("runAsUser", "runAsGroup"):
        errors += check.between(context.get(key), 0, check.MAX_INT32, path.child(key))
    mount = context.get("procMount")
    if mount is not None:
        errors += check.one_of(mount, path.child("procMount"), ("Default", "Unmasked"))
        if mount == "Unmasked" and not user_namespace:
            errors.append(field.invalid(path.child("procMount"), mount, "`hostUsers` must be false to use `Unmasked`"))
    errors += seccomp(context.get("seccompProfile"), path.child("seccompProfile"))
    if context.get("allowPrivilegeEscalation") is False:
        if context.get("privileged"):
            errors.append(field.invalid(path, _go_context(context),
                                        "cannot set `allowPrivilegeEscalation` to false and `privileged` to true"))
        for capability in (context.get("capabilities") or {}).get("add") or ():
            if capability == "CAP_SYS_ADMIN":
                errors.append(field.invalid(path, _go_context(context), "cannot set `allowPrivilegeEscalation` to false and "
                                                                        "`capabilities.Add` CAP_SYS_ADMIN"))
    errors += windows_options(context.get("windowsOptions"), path.child("windowsOptions"))
    return errors + app_armor(context.get("appArmorProfile"), path.child("appArmorProfile"))


def _go_context(context: Object) -> field.Struct:
    """A container's security context as Go prints it."""
    def struct(value: Object | None, **names: str) -> field.Struct | None:
        return None if value is None else field.Struct({shown: value.get(key) for shown, key in names.items()})

    linux = struct(context.get("seLinuxOptions"), User="user", Role="role", Type="type", Level="level")
    profiles = {key: struct(context.get(key), Type="type", LocalhostProfile="localhostProfile")
                for key in ("seccompProfile", "appArmorProfile")}
    return field.Struct(
        Capabilities=struct(context.get("capabilities"), Add="add", Drop="drop"), Privileged=context.get("privileged"),
        SELinuxOptions=linux and field.Struct({key: value or "" for key, value in linux.items()}),
        WindowsOptions=struct(context.get("windowsOptions"), GMSACredentialSpecName="gmsaCredentialSpecName",
                              GMSACredentialSpec="gmsaCredentialSpec", RunAsUserName="runAsUserName", HostProcess="hostProcess"),
        RunAsUser=context.get("runAsUser"), RunAsGroup=context.get("runAsGroup"), RunAsNonRoot=context.get("runAsNonRoot"),
        ReadOnlyRootFilesystem=context.get("readOnlyRootFilesystem"), AllowPrivilegeEscalation=context.get("allowPrivilegeEscalation"),
        ProcMount=context.get("procMount"), SeccompProfile=profiles["seccompProfile"], AppArmorProfile=profiles["appArmorProfile"])


def operating_system(spec: Object, path: Path) -> Errors:
    """validateOS and what a given system rules out."""
    system = spec.get("os")
    if system is None:
        return []
    title = system.get("name", "")
    if not title:
        return [field.required(path.child("os", "name"), "cannot be empty")]
    if title not in ("linux", "windows"):
        return [field.not_supported(path.child("os"), title, ("linux", "windows"))]
    return _linux(spec, path) if title == "linux" else _windows(spec, path)


def _contexts(spec: Object, path: Path) -> Iterator[tuple[Object, Path]]:
    """The security contexts of all containers, in the order in which upstream visits them."""
    for key in ("initContainers", "containers", "ephemeralContainers"):
        for position, container in enumerate(spec.get(key) or ()):
            if container.get("securityContext") is not None:
                yield container["securityContext"], path.child(key).index(position).child("securityContext")


def _linux(spec: Object, path: Path) -> Errors:
    every = [(spec.get("securityContext") or {}, path.child("securityContext")), *_contexts(spec, path)]
    return [field.forbidden(at.child("windowsOptions"), "windows options cannot be set for a linux pod")
            for context, at in every if context.get("windowsOptions") is not None]


def _windows(spec: Object, path: Path) -> Errors:
    detail = "cannot be set for a windows pod"
    own, errors = spec.get("securityContext") or {}, []
    for key in _NOT_ON_WINDOWS:
        given, at = (spec.get(key), path) if key in _OF_SPEC else (own.get(key), path.child("securityContext"))
        if given if key in ("hostPID", "hostIPC", "sysctls") else given is not None:
            errors.append(field.forbidden(at.child(key), detail))
    return errors + [field.forbidden(at.child(part), detail) for context, at in _contexts(spec, path)
                     for part in _NOT_ON_WINDOWS_CONTAINER if context.get(part) is not None]
