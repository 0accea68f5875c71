"""Validation of probes and lifecycle hooks."""
from __future__ import annotations

from kubepy.api import field, name
from kubepy.api.field import Errors, Path
from kubepy.api.types import Object
from kubepy.apiserver.registry import check

_HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc", "sleep")
_SIGNALS_NEED = "must be set when stopSignal is set"


def probes(container: Object, path: Path, grace: int) -> Errors:
    """Liveness, readiness and startup."""
    errors: Errors = []
    for key in ("livenessProbe", "readinessProbe", "startupProbe"):
        probe = container.get(key)
        if probe is None:
            continue
        at = path.child(key)
        errors += _probe(probe, at, grace)
        if key == "readinessProbe":
            if probe.get("terminationGracePeriodSeconds") is not None:
                errors.append(field.invalid(at.child("terminationGracePeriodSeconds"), probe["terminationGracePeriodSeconds"],
                                            "must not be set for readinessProbes"))
        elif probe.get("successThreshold", 1) != 1:
            errors.append(field.invalid(at.child("successThreshold"), probe["successThreshold"], "must be 1"))
    return errors


def _probe(probe: Object, path: Path, grace: int) -> Errors:
    errors = handler(probe, path, grace)
    for key in ("initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"):
        errors += check.non_negative(probe.get(key), path.child(key))
    return errors + check.positive(probe.get("terminationGracePeriodSeconds"), path.child("terminationGracePeriodSeconds"))


def lifecycle(value: Object | None, path: Path, grace: int) -> Errors:
    """validateLifecycle."""
    errors: Errors = []
    for hook in ("postStart", "preStop"):
        if (value or {}).get(hook) is not None:
            errors += handler((value or {})[hook], path.child(hook), grace)
    return errors


def handler(value: Object, path: Path, grace: int) -> Errors:
    """Exactly one action, and that a good one."""
    errors: Errors = []
    count = 0
    for key in _HANDLERS:
        action = value.get(key)
        if action is None:
            continue
        at = path.child(key)
        if count:
            errors.append(field.forbidden(at, "may not specify more than 1 handler type"))
            continue
        count += 1
        if key == "exec":
            errors += check.need(action.get("command"), at.child("command"))
        elif key == "httpGet":
            errors += _http_get(action, at)
        elif key == "tcpSocket":
            errors += check.port_or_name(action.get("port"), at.child("port"))
        elif key == "grpc":
            errors += check.port(action.get("port", 0), at.child("port"))
        elif not 0 <= action.get("seconds", 0) <= grace:
            errors.append(field.invalid(at, action.get("seconds", 0),
                                        f"must be non-negative and less than terminationGracePeriodSeconds ({grace})"))
    if not count:
        errors.append(field.required(path, "must specify a handler type"))
    return errors


def _http_get(action: Object, path: Path) -> Errors:
    errors = check.need(action.get("path"), path.child("path"))
    errors += check.port_or_name(action.get("port"), path.child("port"))
    errors += check.one_of(action.get("scheme"), path.child("scheme"), ("HTTP", "HTTPS"))
    for header in action.get("httpHeaders") or ():
        errors += check.named(name.http_header, header.get("name", ""), path.child("httpHeaders"))
    return errors
