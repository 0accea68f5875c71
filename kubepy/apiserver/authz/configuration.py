"""`--authorization-config`: AuthorizationConfiguration, checked as kube-apiserver checks it (`apis/apiserver/validation`)."""
from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import Any

from kubepy.api import name as names
from kubepy.api.field import Errors, Path, duplicate, invalid, not_supported, required, too_many
from kubepy.apiserver.authn.configuration import compile_error
from kubepy.apiserver.authz.condition import compiled
from kubepy.apiserver.configuration import ConfigurationError, read
from kubepy.base.flag import duration

VERSIONS = tuple(f"apiserver.config.k8s.io/{version}" for version in ("v1", "v1beta1", "v1alpha1"))
TYPES = ("AlwaysAllow", "AlwaysDeny", "Node", "RBAC", "Webhook")
_SHAPE = {"authorizers": [{"type": str, "name": str, "webhook": {
    "authorizedTTL": str, "cacheAuthorizedRequests": bool, "unauthorizedTTL": str, "cacheUnauthorizedRequests": bool, "timeout": str,
    "subjectAccessReviewVersion": str, "matchConditionSubjectAccessReviewVersion": str, "failurePolicy": str,
    "connectionInfo": {"type": str, "kubeConfigFile": str}, "matchConditions": [{"expression": str}]}}]}
_MAX = 64


@dataclass(frozen=True, slots=True)
class Webhook:
    """Times are in seconds."""

    kubeconfig: str
    version: str = "v1"
    timeout: float = 30.0
    allowed_seconds: float = 300.0
    denied_seconds: float = 30.0
    deny_on_failure: bool = False
    conditions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Entry:
    type: str
    name: str
    webhook: Webhook | None = None


def load(path: str) -> tuple[Entry, ...]:
    """The authorizers in order. Raises ConfigurationError or OSError."""
    document = read(path, VERSIONS, "AuthorizationConfiguration", _SHAPE)
    authorizers = document.get("authorizers") or []
    for item in authorizers:
        if item.get("webhook"):
            _default(item["webhook"])
    if errors := check(authorizers):
        raise ConfigurationError(f"{path}: " + ", ".join(map(str, errors)))
    return tuple(Entry(item["type"], item["name"], _webhook(item["webhook"]) if item.get("webhook") else None) for item in authorizers)


def _default(webhook: dict[str, Any]) -> None:
    if webhook.get("authorizedTTL") in (None, "", "0s"):
        webhook["authorizedTTL"] = "5m"
    if webhook.get("unauthorizedTTL") in (None, "", "0s"):
        webhook["unauthorizedTTL"] = "30s"


def _webhook(given: dict[str, Any]) -> Webhook:
    return Webhook(
        given["connectionInfo"]["kubeConfigFile"], given["subjectAccessReviewVersion"], duration(given["timeout"]),
        duration(given["authorizedTTL"]) if given.get("cacheAuthorizedRequests") is not False else 0.0,
        duration(given["unauthorizedTTL"]) if given.get("cacheUnauthorizedRequests") is not False else 0.0,
        given["failurePolicy"] == "Deny", tuple(item["expression"] for item in given.get("matchConditions") or ()))


def check(authorizers: list[dict[str, Any]]) -> Errors:
    """What is wrong with decoded and defaulted authorizers."""
    root, errors = Path("authorizers"), Errors()
    if not authorizers:
        return [required(root, "at least one authorization mode must be defined")]
    types, seen = set[str](), set[str]()
    for index, item in enumerate(authorizers):
        path, kind, name = root.index(index), item.get("type") or "", item.get("name") or ""
        if not kind:
            errors.append(required(path.child("type")))
            continue
        if kind not in TYPES:
            errors.append(not_supported(path.child("type"), kind, TYPES))
            continue
        if kind in types and kind != "Webhook":
            errors.append(duplicate(path.child("type"), kind))
            continue
        types.add(kind)
        if not name:
            errors.append(required(path.child("name")))
        elif name in seen:
            errors.append(duplicate(path.child("name"), name))
        elif problems := names.subdomain(name):
            errors.append(invalid(path.child("name"), name, f"authorizer name is invalid: {', '.join(problems)}"))
        seen.add(name)
        webhook = item.get("webhook")
        if kind != "Webhook":
            if webhook is not None:
                errors.append(invalid(path.child("webhook"), "non-null", "may only be specified when type=Webhook"))
        elif webhook is None:
            errors.append(required(path.child("webhook"), "required when type=Webhook"))
        else:
            errors += _check_webhook(webhook, path)
    return errors


def _check_webhook(webhook: dict[str, Any], path: Path) -> Errors:
    errors = Errors()
    for key, most in (("timeout", 30.0), ("authorizedTTL", 0.0), ("unauthorizedTTL", 0.0)):
        text = webhook.get(key) or ""
        try:
            seconds = duration(text) if text else 0.0
        except ValueError as error:
            errors.append(invalid(path.child(key), text, str(error)))
            continue
        if not seconds:
            errors.append(required(path.child(key)))
        elif seconds < 0 or (most and seconds > most):
            errors.append(invalid(path.child(key), text, "must be > 0s and <= 30s" if most else "must be > 0s"))
    conditions = webhook.get("matchConditions") or []
    errors += _choice(webhook.get("subjectAccessReviewVersion") or "", ("v1", "v1beta1"), path.child("subjectAccessReviewVersion"))
    version, where = webhook.get("matchConditionSubjectAccessReviewVersion") or "", path.child("matchConditionSubjectAccessReviewVersion")
    if not version and conditions:
        errors.append(required(where, "required if match conditions are specified"))
    elif version:
        errors += _choice(version, ("v1",), where)
    errors += _choice(webhook.get("failurePolicy") or "", ("NoOpinion", "Deny"), path.child("failurePolicy"))
    errors += _check_connection(webhook.get("connectionInfo") or {}, path.child("connectionInfo"))
    return errors + _check_conditions(conditions, path.child("matchConditions"))


def _choice(value: str, allowed: tuple[str, ...], path: Path) -> Errors:
    if not value:
        return [required(path)]
    return [] if value in allowed else [not_supported(path, value, allowed)]


def _check_connection(info: dict[str, Any], path: Path) -> Errors:
    kind, file, where = info.get("type") or "", info.get("kubeConfigFile") or "", path.child("kubeConfigFile")
    if kind == "InClusterConfig":
        return [invalid(path.child("type"), kind, "not supported: this server is no pod; use KubeConfigFile")]
    if kind != "KubeConfigFile":
        return [not_supported(path.child("type"), kind, ("InClusterConfig", "KubeConfigFile"))] if kind else [required(path.child("type"))]
    if not file:
        return [required(where)]
    if not os.path.isabs(file):
        return [invalid(where, file, "must be an absolute path")]
    try:
        regular = stat.S_ISREG(os.stat(file).st_mode)
    except OSError as error:
        return [invalid(where, file, f"error loading file: stat {file}: {(error.strerror or '').lower()}")]
    return [] if regular else [invalid(where, file, "must be a regular file")]


def _check_conditions(conditions: list[dict[str, Any]], path: Path) -> Errors:
    if len(conditions) > _MAX:
        return [too_many(path, len(conditions), _MAX)]
    errors, seen = Errors(), set[str]()
    for index, condition in enumerate(conditions):
        where, source = path.index(index).child("expression"), condition.get("expression") or ""
        if source in seen and source.strip():
            errors.append(duplicate(where, source))
            continue
        seen.add(source)
        errors += compile_error(compiled, source, where, boolean=True)
    return errors
