"""Validation of the containers of a pod: regular, init, sidecar and ephemeral ones, with ports and mounts."""
from __future__ import annotations

from dataclasses import dataclass

from kubepy.api import field, name
from kubepy.api.field import Errors, Path
from kubepy.api.types import Object
from kubepy.apiserver.registry import check
from kubepy.apiserver.registry.core import podspec_probes as probes
from kubepy.apiserver.registry.core.podspec_env import env, env_from
from kubepy.apiserver.registry.core.podspec_resources import requirements, resize_policies
from kubepy.apiserver.registry.core.podspec_security import container_security

PROTOCOLS = ("SCTP", "TCP", "UDP")
_PULL_POLICIES = ("Always", "IfNotPresent", "Never")
_RESTART_POLICIES = ("Always", "Never", "OnFailure")
_PROPAGATIONS = ("Bidirectional", "HostToContainer", "None")
_RECURSIVE = ("Disabled", "Enabled", "IfPossible")
_NOT_EPHEMERAL = ("ports", "resources", "resizePolicy", "restartPolicy", "restartPolicyRules", "livenessProbe", "readinessProbe",
                  "startupProbe", "lifecycle")
"""In the order of Go's fields, as upstream reports them."""
_ONLY_SIDECARS = "may not be set for init containers without restartPolicy=Always"


@dataclass(frozen=True)
class Surroundings:
    """What containers are judged by: the pod's valid volumes, its resource claims, its grace period and restart policy."""

    volumes: dict[str, Object]
    claims: tuple[str, ...]
    grace: int
    restart_policy: str
    user_namespace: bool


def containers(items: list[Object], path: Path, pod: Surroundings) -> Errors:
    """validateContainers."""
    if not items:
        return [field.required(path)]
    errors: Errors = []
    names: set[str] = set()
    for position, container in enumerate(items):
        at = path.index(position)
        errors += _common(container, at, pod)
        title = container.get("name", "")
        if title in names:
            errors.append(field.duplicate(at.child("name"), title))
        names.add(title)
        errors += probes.lifecycle(container.get("lifecycle"), at.child("lifecycle"), pod.grace)
        errors += probes.probes(container, at, pod.grace)
        errors += _restart_policy(container, at)
    return errors + _host_port_conflicts(items, path)


def init_containers(items: list[Object], regular: list[Object], path: Path, pod: Surroundings) -> Errors:
    """validateInitContainers."""
    errors: Errors = []
    names = {container.get("name", "") for container in regular}
    for position, container in enumerate(items):
        at = path.index(position)
        errors += _common(container, at, pod)
        errors += _restart_policy(container, at)
        title = container.get("name", "")
        if title in names:
            errors.append(field.duplicate(at.child("name"), title))
        elif title:
            names.add(title)
        errors += _host_port_conflicts([container], path)
        if container.get("restartPolicy") == "Always":
            errors += probes.lifecycle(container.get("lifecycle"), at.child("lifecycle"), pod.grace)
            errors += probes.probes(container, at, pod.grace)
        else:
            errors += [field.forbidden(at.child(key), _ONLY_SIDECARS)
                       for key in ("lifecycle", "livenessProbe", "readinessProbe", "startupProbe") if container.get(key) is not None]
    return errors


def ephemeral_containers(items: list[Object], others: list[Object], path: Path, pod: Surroundings) -> Errors:
    """validateEphemeralContainers."""
    errors: Errors = []
    other_names = {container.get("name", "") for container in others}
    names = set(other_names)
    for position, container in enumerate(items):
        at = path.index(position)
        errors += _common(container, at, pod)
        errors += padded_image(container, at)
        title, target = container.get("name", ""), container.get("targetContainerName", "")
        if title in names:
            errors.append(field.duplicate(at.child("name"), title))
        names.add(title)
        if target and target not in other_names:
            errors.append(field.not_found(at.child("targetContainerName"), target))
        errors += [field.forbidden(at.child(key), "cannot be set for an Ephemeral Container") for key in _NOT_EPHEMERAL
                   if container.get(key) or (key == "restartPolicy" and container.get(key) is not None)]
        for place, mount in enumerate(container.get("volumeMounts") or ()):
            errors += [field.forbidden(at.child("volumeMounts").index(place).child(key), "cannot be set for an Ephemeral Container")
                       for key in ("subPath", "subPathExpr") if mount.get(key)]
    return errors


def padded_image(container: Object, path: Path) -> Errors:
    """Only pods are refused such images, templates are not."""
    image = container.get("image", "")
    return [] if image == image.strip() else [field.invalid(path.child("image"), image, "must not have leading or trailing whitespace")]


def _common(container: Object, path: Path, pod: Surroundings) -> Errors:
    """validateContainerCommon."""
    errors = check.need_named(name.label, container.get("name", ""), path.child("name"))
    image = container.get("image", "")
    if not image:
        errors.append(field.required(path.child("image")))
    errors += check.need_one_of(container.get("terminationMessagePolicy"), path.child("terminationMessagePolicy"),
                                ("FallbackToLogsOnError", "File"))
    errors += ports(container.get("ports") or [], path.child("ports"))
    errors += env(container.get("env") or [], path.child("env"))
    errors += env_from(container.get("envFrom") or [], path.child("envFrom"))
    errors += _mounts(container, path.child("volumeMounts"), pod.volumes)
    errors += _devices(container, path.child("volumeDevices"), pod.volumes)
    errors += check.need_one_of(container.get("imagePullPolicy"), path.child("imagePullPolicy"), _PULL_POLICIES)
    errors += requirements(container.get("resources") or {}, pod.claims, path.child("resources"))
    errors += resize_policies(container.get("resizePolicy") or [], path.child("resizePolicy"), pod.restart_policy)
    return errors + container_security(container.get("securityContext"), path.child("securityContext"), user_namespace=pod.user_namespace)


def _restart_policy(container: Object, path: Path) -> Errors:
    policy, rules = container.get("restartPolicy"), container.get("restartPolicyRules") or []
    errors = check.one_of(policy, path.child("restartPolicy"), _RESTART_POLICIES) if policy is not None else []
    if rules and policy is None:
        errors.append(field.required(path.child("restartPolicy"), "must specify restartPolicy when restart rules are used"))
    if len(rules) > 20:
        errors.append(field.too_many(path.child("restartPolicyRules"), len(rules), 20))
    for position, rule in enumerate(rules):
        at = path.child("restartPolicyRules").index(position)
        errors += check.one_of(rule.get("action", ""), at.child("action"), ("Restart", "RestartAllContainers"))
        codes = rule.get("exitCodes")
        if codes is None:
            errors.append(field.required(at.child("exitCodes"), "must be specified"))
            continue
        errors += check.one_of(codes.get("operator", ""), at.child("exitCodes", "operator"), ("In", "NotIn"))
        values = codes.get("values") or []
        if not values:
            errors.append(field.invalid(at.child("exitCodes", "values"), values, "must not be empty"))
        if len(values) > 255:
            errors.append(field.too_many(at.child("exitCodes", "values"), len(values), 255))
    return errors


def ports(items: list[Object], path: Path) -> Errors:
    """ValidateContainerPorts."""
    errors: Errors = []
    names: set[str] = set()
    for position, port in enumerate(items):
        at = path.index(position)
        title = port.get("name", "")
        if title:
            complaints = check.named(name.port_name, title, at.child("name"))
            if complaints:
                errors += complaints
            elif title in names:
                errors.append(field.duplicate(at.child("name"), title))
            else:
                names.add(title)
        if not port.get("containerPort"):
            errors.append(field.required(at.child("containerPort")))
        else:
            errors += check.port(port["containerPort"], at.child("containerPort"))
        if port.get("hostPort"):
            errors += check.port(port["hostPort"], at.child("hostPort"))
        errors += check.need_one_of(port.get("protocol"), at.child("protocol"), PROTOCOLS)
    return errors


def _host_port_conflicts(items: list[Object], path: Path) -> Errors:
    errors: Errors = []
    taken: set[str] = set()
    for place, container in enumerate(items):
        for position, port in enumerate(container.get("ports") or ()):
            if not port.get("hostPort"):
                continue
            key = f"{port.get('protocol', '')}/{port.get('hostIP', '')}/{port['hostPort']}"
            if key in taken:
                errors.append(field.duplicate(path.index(place).child("ports").index(position).child("hostPort"), key))
            taken.add(key)
    return errors


def _mounts(container: Object, path: Path, volumes: dict[str, Object]) -> Errors:
    """ValidateVolumeMounts; sub paths, propagation and recursion are reported at the list, as upstream does."""
    errors: Errors = []
    paths: set[str] = set()
    devices = container.get("volumeDevices") or []
    for position, mount in enumerate(container.get("volumeMounts") or ()):
        at = path.index(position)
        title, where = mount.get("name", ""), mount.get("mountPath", "")
        errors += check.need(title, at.child("name"))
        if title not in volumes:
            errors.append(field.not_found(at.child("name"), title))
        errors += check.need(where, at.child("mountPath"))
        if where in paths:
            errors.append(field.invalid(at.child("mountPath"), where, "must be unique"))
        paths.add(where)
        if any(device.get("name") == title for device in devices):
            errors.append(field.invalid(at.child("name"), title, "must not already exist in volumeDevices"))
        if any(device.get("devicePath") == where for device in devices):
            errors.append(field.invalid(at.child("mountPath"), where, "must not already exist as a path in volumeDevices"))
        if mount.get("subPath"):
            errors += check.descending_path(mount["subPath"], path.child("subPath"))
        if mount.get("subPathExpr"):
            if mount.get("subPath"):
                errors.append(field.invalid(at.child("subPathExpr"), mount["subPathExpr"],
                                            "subPathExpr and subPath are mutually exclusive"))
            errors += check.descending_path(mount["subPathExpr"], path.child("subPathExpr"))
        errors += _propagation(mount, container, path)
        errors += _recursive(mount, path.child("recursiveReadOnly"))
    return errors


def _propagation(mount: Object, container: Object, path: Path) -> Errors:
    propagation = mount.get("mountPropagation")
    if propagation is None:
        return []
    at = path.child("mountPropagation")
    errors = check.one_of(propagation, at, _PROPAGATIONS)
    if propagation == "Bidirectional" and not (container.get("securityContext") or {}).get("privileged"):
        errors.append(field.forbidden(at, "Bidirectional mount propagation is available only to privileged containers"))
    return errors


def _recursive(mount: Object, path: Path) -> Errors:
    mode = mount.get("recursiveReadOnly")
    if mode is None or mode == "Disabled":
        return []
    if mode not in _RECURSIVE:
        return [field.not_supported(path, mode, _RECURSIVE)]
    errors = [] if mount.get("readOnly") else [field.forbidden(path, "may only be specified when readOnly is true")]
    if mount.get("mountPropagation") not in (None, "None"):
        errors.append(field.forbidden(path, "may only be specified when mountPropagation is None or not specified"))
    return errors


def _devices(container: Object, path: Path, volumes: dict[str, Object]) -> Errors:
    """ValidateVolumeDevices."""
    errors: Errors = []
    names: set[str] = set()
    paths: set[str] = set()
    mounts = {mount.get("name", ""): mount.get("mountPath", "") for mount in container.get("volumeMounts") or ()}
    for position, device in enumerate(container.get("volumeDevices") or ()):
        at = path.index(position)
        title, where = device.get("name", ""), device.get("devicePath", "")
        errors += check.need(title, at.child("name"))
        if title in names:
            errors.append(field.invalid(at.child("name"), title, "must be unique"))
        volume = volumes.get(title)
        if volume is None:
            errors.append(field.not_found(at.child("name"), title))
        elif not ({"persistentVolumeClaim", "ephemeral"} & volume.keys()):
            errors.append(field.invalid(at.child("name"), title,
                                        "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode"))
        errors += check.need(where, at.child("devicePath"))
        if where in paths:
            errors.append(field.invalid(at.child("devicePath"), where, "must be unique"))
        if check.no_backsteps(where, at):
            errors.append(field.invalid(at.child("devicePath"), where, "can not contain backsteps ('..')"))
        else:
            paths.add(where)
        if title in mounts:
            errors.append(field.invalid(at.child("name"), title, "must not already exist in volumeMounts"))
        if where in mounts.values():
            errors.append(field.invalid(at.child("devicePath"), where, "must not already exist as a path in volumeMounts"))
        if title:
            names.add(title)
    return errors
