"""The checks of the Pod Security Standards. Each takes a pod and gives a violation or None; wording is `k8s.io/pod-security-admission`'s.

A check is known by its upstream id, which also orders the violations. `since` is the minor version it (or this form of it) came with.
"""
from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from kubepy.api.types import Object
from kubepy.apiserver.authz.message import quote


class Violation(NamedTuple):
    reason: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.reason} ({self.detail})" if self.detail else self.reason


Run = Callable[[Object, Object], Violation | None]
"""Takes a pod's metadata and spec."""


class Check(NamedTuple):
    id: str
    level: str
    since: int
    run: Run
    replaces: str = ""
    """The baseline check that this restricted one makes needless."""


def containers(spec: Object) -> Iterator[Object]:
    for field in ("initContainers", "containers", "ephemeralContainers"):
        yield from spec.get(field) or ()


def bad_containers(spec: Object, is_bad: Callable[[Object], bool]) -> list[str]:
    """Names of the containers whose securityContext is bad."""
    return [container.get("name", "") for container in containers(spec) if is_bad(container.get("securityContext") or {})]


def named(names: Sequence[str], singular: str = "container") -> str:
    """`container "a"`, `containers "a", "b"`."""
    return f"{plural(singular, names)} {quoted(names)}"


def plural(singular: str, items: Sequence[object]) -> str:
    return singular if len(items) == 1 else f"{singular}s"


def quoted(values: Iterable[str]) -> str:
    return ", ".join(map(quote, values))


def _context(spec: Object) -> Object:
    found: Object = spec.get("securityContext") or {}
    return found


def _is_windows(spec: Object) -> bool:
    return bool((spec.get("os") or {}).get("name") == "windows")


def _own_users(spec: Object) -> bool:
    return spec.get("hostUsers") is False


def _unless_windows(run: Run) -> Run:
    return lambda metadata, spec: None if _is_windows(spec) else run(metadata, spec)


def _allow_privilege_escalation(metadata: Object, spec: Object) -> Violation | None:
    bad = bad_containers(spec, lambda context: context.get("allowPrivilegeEscalation") is not False)
    if not bad:
        return None
    return Violation("allowPrivilegeEscalation != false", f"{named(bad)} must set securityContext.allowPrivilegeEscalation=false")


_APPARMOR = "container.apparmor.security.beta.kubernetes.io/"


def _apparmor(metadata: Object, spec: Object) -> Violation | None:
    def value(context: Object) -> str | None:
        profile = context.get("appArmorProfile")
        return None if profile is None else profile.get("type", "")

    allowed = (None, "RuntimeDefault", "Localhost")
    setters, values = _setters(spec, value, lambda found: found not in allowed)
    details = [f"{' and '.join(setters)} must not set AppArmor profile type to {quoted(values)}"] if setters else []
    bad = sorted((key, text) for key, text in (metadata.get("annotations") or {}).items()
                 if key.startswith(_APPARMOR) and text not in ("", "runtime/default") and not text.startswith("localhost/"))
    if bad:
        details.append(f"{plural('annotation', bad)} must not set AppArmor profile: " + ", ".join(f'"{key}"="{text}"' for key, text in bad))
    return Violation(plural("forbidden AppArmor profile", [*values, *bad]), "; ".join(details)) if details else None


_DEFAULT_CAPABILITIES = frozenset({
    "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "SETFCAP", "SETGID", "SETPCAP",
    "SETUID", "SYS_CHROOT"})


def _added(spec: Object, allowed: frozenset[str]) -> tuple[list[str], list[str]]:
    """Containers that add capabilities beyond the allowed, and which."""
    names, found = [], set()
    for container in containers(spec):
        extra = set(((container.get("securityContext") or {}).get("capabilities") or {}).get("add") or ()) - allowed
        if extra:
            names.append(container.get("name", ""))
            found |= extra
    return names, sorted(found)


def _capabilities_baseline(metadata: Object, spec: Object) -> Violation | None:
    names, extra = _added(spec, _DEFAULT_CAPABILITIES)
    if not names:
        return None
    return Violation("non-default capabilities", f"{named(names)} must not include {quoted(extra)} in securityContext.capabilities.add")


def _capabilities_restricted(metadata: Object, spec: Object) -> Violation | None:
    details = []
    keep = bad_containers(spec, lambda context: "ALL" not in ((context.get("capabilities") or {}).get("drop") or ()))
    if keep:
        details.append(f'{named(keep)} must set securityContext.capabilities.drop=["ALL"]')
    names, extra = _added(spec, frozenset({"NET_BIND_SERVICE"}))
    if names:
        details.append(f"{named(names)} must not include {quoted(extra)} in securityContext.capabilities.add")
    return Violation("unrestricted capabilities", "; ".join(details)) if details else None


def _host_namespaces(metadata: Object, spec: Object) -> Violation | None:
    found = [f"{field}=true" for field in ("hostNetwork", "hostPID", "hostIPC") if spec.get(field)]
    return Violation("host namespaces", ", ".join(found)) if found else None


def _host_path(metadata: Object, spec: Object) -> Violation | None:
    names = [volume.get("name", "") for volume in spec.get("volumes") or () if "hostPath" in volume]
    return Violation("hostPath volumes", named(names, "volume")) if names else None


def _host_ports(metadata: Object, spec: Object) -> Violation | None:
    names, ports = [], set()
    for container in containers(spec):
        found = {port["hostPort"] for port in container.get("ports") or () if port.get("hostPort")}
        if found:
            names.append(container.get("name", ""))
            ports |= found
    if not names:
        return None
    listed = sorted(map(str, ports))
    verb = "uses" if len(names) == 1 else "use"
    return Violation(plural("hostPort", listed), f"{named(names)} {verb} {plural('hostPort', listed)} {', '.join(listed)}")


def _host_probes(metadata: Object, spec: Object) -> Violation | None:
    names: list[str] = []
    hosts: set[str] = set()
    for container in containers(spec):
        handlers = [container.get(field) or {} for field in ("livenessProbe", "readinessProbe", "startupProbe")]
        handlers += [(container.get("lifecycle") or {}).get(field) or {} for field in ("postStart", "preStop")]
        given = [(handler.get(kind) or {}).get("host") for handler in handlers for kind in ("httpGet", "tcpSocket")]
        found = {str(host) for host in given if host}
        if found:
            names.append(container.get("name", ""))
            hosts |= found
    if not names:
        return None
    verb = "uses" if len(names) == 1 else "use"
    title = plural("host", list(hosts))
    return Violation("probe or lifecycle host", f"{named(names)} {verb} probe or lifecycle {title} {quoted(sorted(hosts))}")


def _privileged(metadata: Object, spec: Object) -> Violation | None:
    bad = bad_containers(spec, lambda context: context.get("privileged") is True)
    return Violation("privileged", f"{named(bad)} must not set securityContext.privileged=true") if bad else None


def _proc_mount(metadata: Object, spec: Object) -> Violation | None:
    names, values = [], set()
    for container in containers(spec):
        value = (container.get("securityContext") or {}).get("procMount")
        if value not in (None, "Default"):
            names.append(container.get("name", ""))
            values.add(value)
    return Violation("procMount", f"{named(names)} must not set securityContext.procMount to {quoted(sorted(values))}") if names else None


def _proc_mount_baseline(metadata: Object, spec: Object) -> Violation | None:
    return None if _own_users(spec) else _proc_mount(metadata, spec)


_VOLUMES = frozenset({"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image", "persistentVolumeClaim", "projected", "secret"})


def _restricted_volumes(metadata: Object, spec: Object) -> Violation | None:
    names, kinds = [], set()
    for volume in spec.get("volumes") or ():
        found = {key for key, value in volume.items() if key != "name" and value is not None} or {"unknown"}
        if not found & _VOLUMES:
            names.append(volume.get("name", ""))
            kinds |= found
    if not names:
        return None
    verb = "uses" if len(names) == 1 else "use"
    title = plural("restricted volume type", list(kinds))
    return Violation("restricted volume types", f"{named(names, 'volume')} {verb} {title} {quoted(sorted(kinds))}")


def _run_as_non_root(metadata: Object, spec: Object) -> Violation | None:
    if _own_users(spec):
        return None
    pod = _context(spec).get("runAsNonRoot")
    setters = ["pod"] if pod is False else []
    explicit = bad_containers(spec, lambda context: context.get("runAsNonRoot") is False)
    if explicit:
        setters.append(named(explicit))
    if setters:
        return Violation("runAsNonRoot != true", f"{' and '.join(setters)} must not set securityContext.runAsNonRoot=false")
    implicit = [] if pod else bad_containers(spec, lambda context: context.get("runAsNonRoot") is None)
    if implicit:
        return Violation("runAsNonRoot != true", f"pod or {named(implicit)} must set securityContext.runAsNonRoot=true")
    return None


def _run_as_user(metadata: Object, spec: Object) -> Violation | None:
    if _own_users(spec):
        return None
    setters, _ = _setters(spec, lambda context: context.get("runAsUser"), lambda value: value == 0)
    return Violation("runAsUser=0", f"{' and '.join(setters)} must not set runAsUser=0") if setters else None


_SELINUX_TYPES = ("", None, "container_t", "container_init_t", "container_kvm_t")


def _selinux(engine: bool) -> Run:
    allowed = (*_SELINUX_TYPES, "container_engine_t") if engine else _SELINUX_TYPES

    def run(metadata: Object, spec: Object) -> Violation | None:
        types: set[str] = set()
        user = role = False

        def is_bad(options: Any) -> bool:
            nonlocal user, role
            options = options or {}
            bad = False
            if options.get("type") not in allowed:
                types.add(options["type"])
                bad = True
            if options.get("user"):
                user = bad = True
            if options.get("role"):
                role = bad = True
            return bad

        setters, _ = _setters(spec, lambda context: context.get("seLinuxOptions"), is_bad)
        if not setters:
            return None
        data = [f"{plural('type', list(types))} {quoted(sorted(types))}"] if types else []
        data += ["user may not be set"] * user + ["role may not be set"] * role
        return Violation("seLinuxOptions", f"{' and '.join(setters)} set forbidden securityContext.seLinuxOptions: {'; '.join(data)}")

    return run


def _seccomp_type(context: Object) -> Any:
    profile = context.get("seccompProfile")
    return None if profile is None else profile.get("type", "")


def _seccomp_baseline(metadata: Object, spec: Object) -> Violation | None:
    setters, values = _setters(spec, _seccomp_type, lambda value: value not in (None, "RuntimeDefault", "Localhost"))
    if not setters:
        return None
    return Violation("seccompProfile", f"{' and '.join(setters)} must not set securityContext.seccompProfile.type to {quoted(values)}")


def _seccomp_restricted(metadata: Object, spec: Object) -> Violation | None:
    if violation := _seccomp_baseline(metadata, spec):
        return violation
    implicit = [] if _seccomp_type(_context(spec)) else bad_containers(spec, lambda context: _seccomp_type(context) is None)
    if not implicit:
        return None
    return Violation("seccompProfile",
                     f'pod or {named(implicit)} must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost"')


_SYSCTLS = ("kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.ip_unprivileged_port_start", "net.ipv4.ping_group_range",
            "net.ipv4.tcp_syncookies")
_SYSCTLS_27 = (*_SYSCTLS, "net.ipv4.ip_local_reserved_ports")
_SYSCTLS_29 = (*_SYSCTLS_27, "net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_keepalive_intvl", "net.ipv4.tcp_keepalive_probes",
               "net.ipv4.tcp_keepalive_time")
_SYSCTLS_32 = (*_SYSCTLS_29, "net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem")


def _sysctls(allowed: tuple[str, ...]) -> Run:
    def run(metadata: Object, spec: Object) -> Violation | None:
        found = [item.get("name", "") for item in _context(spec).get("sysctls") or () if item.get("name") not in allowed]
        return Violation("forbidden sysctls", ", ".join(found)) if found else None

    return run


def _host_process(metadata: Object, spec: Object) -> Violation | None:
    setters, _ = _setters(spec, lambda context: (context.get("windowsOptions") or {}).get("hostProcess"), lambda value: value is True)
    if not setters:
        return None
    return Violation("hostProcess", f"{' and '.join(setters)} must not set securityContext.windowsOptions.hostProcess=true")


def _setters(spec: Object, value: Callable[[Object], Any], is_bad: Callable[[Any], bool]) -> tuple[list[str], list[str]]:
    """Who sets a bad value (`pod`, `containers "a", "b"`), and the bad values that are texts, sorted."""
    values: set[str] = set()
    setters: list[str] = []
    if is_bad(found := value(_context(spec))):
        setters.append("pod")
        values.add(found) if isinstance(found, str) else None
    names = []
    for container in containers(spec):
        if is_bad(found := value(container.get("securityContext") or {})):
            names.append(container.get("name", ""))
            values.add(found) if isinstance(found, str) else None
    if names:
        setters.append(named(names))
    return setters, sorted(values)


CHECKS: tuple[Check, ...] = (
    Check("appArmorProfile", "baseline", 0, _apparmor),
    Check("capabilities_baseline", "baseline", 0, _capabilities_baseline),
    Check("hostNamespaces", "baseline", 0, _host_namespaces),
    Check("hostPathVolumes", "baseline", 0, _host_path),
    Check("hostPorts", "baseline", 0, _host_ports),
    Check("hostProbesAndHostLifecycle", "baseline", 34, _host_probes),
    Check("privileged", "baseline", 0, _privileged),
    Check("procMount", "baseline", 0, _proc_mount_baseline),
    Check("seLinuxOptions", "baseline", 0, _selinux(False)),
    Check("seLinuxOptions", "baseline", 31, _selinux(True)),
    Check("seccompProfile_baseline", "baseline", 19, _seccomp_baseline),
    Check("sysctls", "baseline", 0, _sysctls(_SYSCTLS)),
    Check("sysctls", "baseline", 27, _sysctls(_SYSCTLS_27)),
    Check("sysctls", "baseline", 29, _sysctls(_SYSCTLS_29)),
    Check("sysctls", "baseline", 32, _sysctls(_SYSCTLS_32)),
    Check("windowsHostProcess", "baseline", 0, _host_process),
    Check("allowPrivilegeEscalation", "restricted", 8, _allow_privilege_escalation),
    Check("allowPrivilegeEscalation", "restricted", 25, _unless_windows(_allow_privilege_escalation)),
    Check("capabilities_restricted", "restricted", 22, _capabilities_restricted, "capabilities_baseline"),
    Check("capabilities_restricted", "restricted", 25, _unless_windows(_capabilities_restricted), "capabilities_baseline"),
    Check("procMount_restricted", "restricted", 0, _proc_mount, "procMount"),
    Check("restrictedVolumes", "restricted", 0, _restricted_volumes, "hostPathVolumes"),
    Check("runAsNonRoot", "restricted", 0, _run_as_non_root),
    Check("runAsUser", "restricted", 23, _run_as_user),
    Check("seccompProfile_restricted", "restricted", 19, _seccomp_restricted, "seccompProfile_baseline"),
    Check("seccompProfile_restricted", "restricted", 25, _unless_windows(_seccomp_restricted), "seccompProfile_baseline"),
)
"""Of checks with the same id the latest that a version knows counts."""
