"""Validation of environment variables and of references to fields and resources (env, envFrom, the downward API)."""
from __future__ import annotations

import re

from kubepy.api import field, name
from kubepy.api.field import Errors, Path
from kubepy.api.quantity import QuantityError, parse_quantity
from kubepy.api.types import Object
from kubepy.apiserver.registry import check

FIELDS_OF_ENV = ("metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName", "status.hostIP",
                 "status.hostIPs", "status.podIP", "status.podIPs")
FIELDS_OF_VOLUMES = ("metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid")
_KNOWN_FIELDS = {*FIELDS_OF_ENV, *FIELDS_OF_VOLUMES, "spec.restartPolicy", "spec.schedulerName", "status.phase", "spec.host"}
_SUBSCRIPT = re.compile(r"(.*)\['(.*)'\]")
_RESOURCES = ("limits.cpu", "limits.ephemeral-storage", "limits.memory", "requests.cpu", "requests.ephemeral-storage", "requests.memory")
_SIZES = ("1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei")
_SOURCES = ("fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef")


def env(variables: list[Object], path: Path) -> Errors:
    """ValidateEnv."""
    errors: Errors = []
    for position, variable in enumerate(variables):
        at = path.index(position)
        errors += check.need_named(name.env_var, variable.get("name", ""), at.child("name"))
        if variable.get("valueFrom") is not None:
            errors += _value_from(variable, at.child("valueFrom"))
    return errors


def _value_from(variable: Object, path: Path) -> Errors:
    source = variable["valueFrom"]
    given = [key for key in _SOURCES if source.get(key) is not None]
    errors: Errors = []
    for key in given:
        at, value = path.child(key), source[key]
        if key == "fieldRef":
            errors += field_reference(value, FIELDS_OF_ENV, at)
        elif key == "resourceFieldRef":
            errors += resource_reference(value, at, volume=False)
        elif key == "fileKeyRef":
            errors += _file_key(value, at)
        else:
            errors += _key_selector(value, at)
    if not given:
        errors.append(field.invalid(path, "", "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` "
                                              "or `fileKeyRef`"))
    elif variable.get("value"):
        errors.append(field.invalid(path, "", "may not be specified when `value` is not empty"))
    elif len(given) > 1:
        errors.append(field.invalid(path, "", "may not have more than one field specified at a time"))
    return errors


def _key_selector(selector: Object, path: Path) -> Errors:
    errors = check.named(name.subdomain, selector.get("name", ""), path.child("name"))
    if not selector.get("key"):
        return [*errors, field.required(path.child("key"))]
    return errors + check.named(name.config_key, selector["key"], path.child("key"))


def _file_key(selector: Object, path: Path) -> Errors:
    errors = check.need_named(name.env_var, selector.get("key", ""), path.child("key"))
    errors += check.need(selector.get("volumeName"), path.child("volumeName"))
    if not selector.get("path"):
        return [*errors, field.required(path.child("path"))]
    return errors + check.non_reserved_path(selector["path"], path.child("path"))


def env_from(sources: list[Object], path: Path) -> Errors:
    """ValidateEnvFrom."""
    errors: Errors = []
    for position, source in enumerate(sources):
        at = path.index(position)
        if source.get("prefix"):
            errors += check.named(name.env_var, source["prefix"], at.child("prefix"))
        given = [key for key in ("configMapRef", "secretRef") if source.get(key) is not None]
        for key in given:
            errors += check.need_named(name.subdomain, source[key].get("name", ""), at.child(key, "name"))
        if not given:
            errors.append(field.invalid(path, "", "must specify one of: `configMapRef` or `secretRef`"))
        elif len(given) > 1:
            errors.append(field.invalid(path, "", "may not have more than one field specified at a time"))
    return errors


def field_reference(reference: Object, allowed: tuple[str, ...], path: Path) -> Errors:
    """validateObjectFieldSelector."""
    version, text = reference.get("apiVersion", ""), reference.get("fieldPath", "")
    at = path.child("fieldPath")
    if not version:
        return [field.required(path.child("apiVersion"))]
    if not text:
        return [field.required(at)]
    match = _SUBSCRIPT.fullmatch(text)
    key, subscript = (match[1], match[2]) if match else (text, None)
    if version != "v1":
        return [field.invalid(at, text, f"error converting fieldPath: unsupported pod version: {version}")]
    if subscript is not None and key not in ("metadata.annotations", "metadata.labels"):
        return [field.invalid(at, text, f"error converting fieldPath: field label does not support subscript: {text}")]
    if key not in _KNOWN_FIELDS:
        return [field.invalid(at, text, f"error converting fieldPath: field label not supported: {text}")]
    if key == "spec.host":
        key = "spec.nodeName"
    if subscript is not None:
        return check.named(name.qualified, subscript.lower() if key == "metadata.annotations" else subscript, path)
    return check.one_of(key, at, allowed)


def resource_reference(reference: Object, path: Path, *, volume: bool) -> Errors:
    """validateContainerResourceFieldSelector."""
    resource = reference.get("resource", "")
    if volume and not reference.get("containerName"):
        return [field.required(path.child("containerName"))]
    if not resource:
        return [field.required(path.child("resource"))]
    hugepages = resource.startswith(("limits.hugepages-", "requests.hugepages-"))
    errors = [] if hugepages else check.one_of(resource, path.child("resource"), _RESOURCES)
    return errors + _divisor(resource, str(reference.get("divisor", "0")), path)


def _divisor(resource: str, divisor: str, path: Path) -> Errors:
    try:
        amount = parse_quantity(divisor)
    except QuantityError:
        return []
    if not amount.sign():
        return []
    _, _, what = resource.partition(".")
    if what == "cpu":
        allowed: tuple[str, ...] = ("1m", "1")
        listed = "1m and 1"
    elif what in ("memory", "ephemeral-storage") or what.startswith("hugepages-"):
        allowed, listed = _SIZES, ", ".join(_SIZES)
    else:
        return []
    if str(amount) in allowed:
        return []
    title = {"ephemeral-storage": "local ephemeral storage"}.get(what, "hugepages" if what.startswith("hugepages-") else what)
    return [field.invalid(path.child("divisor"), resource, f"only divisor's values {listed} are supported with the {title} resource")]
