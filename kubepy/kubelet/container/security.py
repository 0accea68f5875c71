"""Security contexts: the pod's and the container's become the runtime's. Pure."""
from __future__ import annotations

from typing import Any

from kubepy.api.types import Object
from kubepy.kubelet.cri import runtime_pb2 as pb

MASKED = ("/proc/asound", "/proc/acpi", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
          "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware", "/sys/devices/virtual/powercap")
READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")


class SecurityError(Exception):
    """The container may not run as its image and its security context say."""


def effective(pod: Object, container: Object, field: str) -> Any:
    """A field of the container's security context, or else of the pod's."""
    own = (container.get("securityContext") or {}).get(field)
    return own if own is not None else (pod["spec"].get("securityContext") or {}).get(field)


def namespaces(pod: Object, *, target_id: str = "") -> pb.NamespaceOption:
    spec = pod["spec"]
    option = pb.NamespaceOption(network=pb.NODE if spec.get("hostNetwork") else pb.POD, ipc=pb.NODE if spec.get("hostIPC") else pb.POD)
    if spec.get("hostPID"):
        option.pid = pb.NODE
    elif target_id:
        option.pid, option.target_id = pb.TARGET, target_id
    else:
        option.pid = pb.POD if spec.get("shareProcessNamespace") else pb.CONTAINER
    return option


def seccomp(pod: Object, container: Object | None, *, root: str, default: bool) -> pb.SecurityProfile:
    profile = effective(pod, container or {}, "seccompProfile") or {}
    kind = profile.get("type") or ("RuntimeDefault" if default else "Unconfined")
    if kind == "Localhost":
        return pb.SecurityProfile(profile_type=pb.SecurityProfile.Localhost,
                                  localhost_ref=f"{root}/seccomp/{profile.get('localhostProfile', '')}")
    return pb.SecurityProfile(profile_type=kind)


def apparmor(pod: Object, container: Object) -> pb.SecurityProfile | None:
    profile = effective(pod, container, "appArmorProfile")
    if profile is None:
        text = (pod["metadata"].get("annotations") or {}).get(f"container.apparmor.security.beta.kubernetes.io/{container['name']}", "")
        if not text:
            return None
        kind = {"runtime/default": "RuntimeDefault", "unconfined": "Unconfined"}.get(text, "Localhost")
        profile = {"type": kind, "localhostProfile": text.removeprefix("localhost/")}
    if profile["type"] == "Localhost":
        return pb.SecurityProfile(profile_type=pb.SecurityProfile.Localhost, localhost_ref=profile.get("localhostProfile", ""))
    return pb.SecurityProfile(profile_type=profile["type"])


def groups(pod: Object) -> list[int]:
    context = pod["spec"].get("securityContext") or {}
    result = [context["fsGroup"]] if context.get("fsGroup") is not None else []
    return result + list(context.get("supplementalGroups") or ())


def verify_non_root(pod: Object, container: Object, image: pb.Image | None) -> None:
    """Upstream's verifyRunAsNonRoot; raises SecurityError with its message."""
    if not effective(pod, container, "runAsNonRoot"):
        return
    where = f'(pod: "{pod["metadata"]["name"]}_{pod["metadata"].get("namespace", "default")}({pod["metadata"]["uid"]})", container: ' \
            f'{container["name"]})'
    user = effective(pod, container, "runAsUser")
    if user is not None:
        if user == 0:
            raise SecurityError(f"container's runAsUser breaks non-root policy {where}")
        return
    if image is None:
        return
    if image.HasField("uid") or not image.username:  # an image that names no user runs as root
        if image.uid.value == 0:
            raise SecurityError(f"container has runAsNonRoot and image will run as root {where}")
    elif image.username:
        raise SecurityError(f"container has runAsNonRoot and image has non-numeric user ({image.username}), cannot verify user is non-root "
                            f"{where}")


def container_context(pod: Object, container: Object, image: pb.Image | None, *, root: str, seccomp_default: bool,
                      target_id: str = "") -> pb.LinuxContainerSecurityContext:
    """`image` gives the user where neither pod nor container names one."""
    own = container.get("securityContext") or {}
    context = pb.LinuxContainerSecurityContext(
        privileged=bool(own.get("privileged")), namespace_options=namespaces(pod, target_id=target_id),
        readonly_rootfs=bool(own.get("readOnlyRootFilesystem")), supplemental_groups=groups(pod),
        no_new_privs=own.get("allowPrivilegeEscalation") is False,
        seccomp=seccomp(pod, container, root=root, default=seccomp_default))
    policy = (pod["spec"].get("securityContext") or {}).get("supplementalGroupsPolicy")
    if policy == "Strict":
        context.supplemental_groups_policy = pb.Strict
    user = effective(pod, container, "runAsUser")
    if user is not None:
        context.run_as_user.value = user
    elif image is not None and image.HasField("uid"):
        context.run_as_user.value = image.uid.value
    elif image is not None and image.username:
        context.run_as_username = image.username
    group = effective(pod, container, "runAsGroup")
    if group is not None:
        context.run_as_group.value = group
    capabilities = own.get("capabilities") or {}
    if capabilities:
        context.capabilities.CopyFrom(pb.Capability(add_capabilities=capabilities.get("add") or [],
                                                    drop_capabilities=capabilities.get("drop") or []))
    labels = effective(pod, container, "seLinuxOptions")
    if labels:
        context.selinux_options.CopyFrom(pb.SELinuxOption(**labels))
    profile = apparmor(pod, container)
    if profile is not None:
        context.apparmor.CopyFrom(profile)
    if own.get("procMount") != "Unmasked":
        context.masked_paths.extend(MASKED)
        context.readonly_paths.extend(READ_ONLY)
    return context


def sandbox_context(pod: Object) -> pb.LinuxSandboxSecurityContext:
    own = pod["spec"].get("securityContext") or {}
    context = pb.LinuxSandboxSecurityContext(
        namespace_options=namespaces(pod), supplemental_groups=groups(pod),
        privileged=any((container.get("securityContext") or {}).get("privileged")
                       for container in (*pod["spec"].get("containers", ()), *(pod["spec"].get("initContainers") or ()))),
        # The pause process needs nothing that the default profile forbids.
        seccomp=pb.SecurityProfile(profile_type=pb.SecurityProfile.RuntimeDefault))
    if own.get("runAsUser") is not None:
        context.run_as_user.value = own["runAsUser"]
        if own.get("runAsGroup") is not None:
            context.run_as_group.value = own["runAsGroup"]
    if own.get("seLinuxOptions"):
        context.selinux_options.CopyFrom(pb.SELinuxOption(**own["seLinuxOptions"]))
    return context
