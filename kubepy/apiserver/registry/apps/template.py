"""What controllers of pods have in common: a selector that must match the template, and a template whose pods always restart."""
from __future__ import annotations

from kubepy.api import field, selector
from kubepy.api.field import Errors, Path
from kubepy.api.types import Object
from kubepy.apiserver.registry import check
from kubepy.apiserver.registry.core.podspec_validation import pod_template


def workload_selector(spec: Object, path: Path, what: str, *, required: bool = True) -> Errors:
    """The selector: there, well-formed, not empty (`what` names the kind in the complaint)."""
    value = spec.get("selector")
    at = path.child("selector")
    if value is None:
        return [field.required(at)] if required else []
    errors = selector.validate_object(value, at)
    if not value.get("matchLabels") and not value.get("matchExpressions"):
        errors.append(field.invalid(at, {}, f"empty selector is invalid for {what}"))
    return errors


def matching_template(spec: Object, path: Path, what: str) -> Errors:
    """The template of a workload whose pods run until they are deleted."""
    template, value = spec.get("template") or {}, spec.get("selector")
    if value is not None and selector.validate_object(value, path):
        why = "" if what == "StatefulSet" else "invalid label selector"
        return [field.invalid(path.child("selector"), check.selector_value(value), why)]
    errors = matches(spec.get("selector"), template, path)
    at = path.child("template")
    errors += pod_template(template, at)
    pod = template.get("spec") or {}
    if pod.get("restartPolicy") != "Always":
        errors.append(field.not_supported(at.child("spec", "restartPolicy"), pod.get("restartPolicy", ""), ("Always",)))
    if pod.get("activeDeadlineSeconds") is not None:
        errors.append(field.forbidden(at.child("spec", "activeDeadlineSeconds"), f"activeDeadlineSeconds in {what} is not Supported"))
    return errors


def matches(value: Object | None, template: Object, path: Path) -> Errors:
    """The labels of the template are selected."""
    if value is not None and not value.get("matchLabels") and not value.get("matchExpressions"):
        return []
    labels = (template.get("metadata") or {}).get("labels")
    if value is not None and selector.validate_object(value, path):
        return []
    if value is not None and selector.from_object(value).matches(labels):
        return []
    return [field.invalid(path.child("template", "metadata", "labels"), labels, "`selector` does not match template `labels`")]


def rolling_update(value: Object, path: Path) -> Errors:
    """maxUnavailable and maxSurge of a Deployment."""
    unavailable, surge = value.get("maxUnavailable", 0), value.get("maxSurge", 0)
    errors = check.int_or_percent(unavailable, path.child("maxUnavailable"))
    errors += check.int_or_percent(surge, path.child("maxSurge"))
    if not amount(unavailable) and not amount(surge):
        errors.append(field.invalid(path.child("maxUnavailable"), unavailable, "may not be 0 when `maxSurge` is 0"))
    return errors + check.not_over_100_percent(unavailable, path.child("maxUnavailable"))


def amount(value: object) -> int:
    """The number in an int-or-percent."""
    return value if isinstance(value, int) else check.percent_or_int(value) or 0
