"""Admission webhooks, validating and mutating: defaults and validation (`pkg/apis/admissionregistration/validation`)."""
from __future__ import annotations

from urllib.parse import urlsplit

from kubepy.api import field, name, selector
from kubepy.api.field import Errors, Path
from kubepy.api.types import Object
from kubepy.apiserver.registry import check
from kubepy.apiserver.registry.admissionregistration.rule import (
    FAILURE_POLICIES,
    MATCH_POLICIES,
    default_rules,
    match_conditions,
    rule_with_operations,
)

_WEBHOOKS = Path("webhooks")
_VERSIONS = ("v1", "v1beta1")
_FORMAT = "desired format: https://host[/path]"


def default_webhooks(obj: Object, *, mutating: bool) -> None:
    for webhook in obj.get("webhooks") or ():
        webhook.setdefault("failurePolicy", "Fail")
        webhook.setdefault("matchPolicy", "Equivalent")
        webhook.setdefault("namespaceSelector", {})
        webhook.setdefault("objectSelector", {})
        webhook.setdefault("timeoutSeconds", 10)
        if mutating:
            webhook.setdefault("reinvocationPolicy", "Never")
        default_rules(webhook.get("rules"))
        service = (webhook.get("clientConfig") or {}).get("service")
        if service is not None:
            service.setdefault("port", 443)


def webhooks(obj: Object, *, mutating: bool) -> Errors:
    errors: Errors = []
    seen: set[str] = set()
    for position, webhook in enumerate(obj.get("webhooks") or ()):
        path = _WEBHOOKS.index(position)
        errors += _webhook(webhook, path, mutating)
        errors += _versions(webhook.get("admissionReviewVersions") or [], path.child("admissionReviewVersions"))
        title = webhook.get("name", "")
        if title:
            if title in seen:
                errors.append(field.duplicate(path.child("name"), title))
            seen.add(title)
    return errors


def _webhook(webhook: Object, path: Path, mutating: bool) -> Errors:
    errors = qualified_domain(webhook.get("name", ""), path.child("name"))
    for position, rule in enumerate(webhook.get("rules") or ()):
        errors += rule_with_operations(rule, path.child("rules").index(position))
    if webhook.get("failurePolicy") is not None:
        errors += check.one_of(webhook["failurePolicy"], path.child("failurePolicy"), FAILURE_POLICIES)
    if webhook.get("matchPolicy") is not None:
        errors += check.one_of(webhook["matchPolicy"], path.child("matchPolicy"), MATCH_POLICIES)
    effects = webhook.get("sideEffects")
    if not effects:
        errors.append(field.required(path.child("sideEffects"), "must specify one of None, NoneOnDryRun"))
    else:
        errors += check.one_of(effects, path.child("sideEffects"), ("None", "NoneOnDryRun"))
    timeout = webhook.get("timeoutSeconds")
    if timeout is not None and not 1 <= timeout <= 30:
        errors.append(field.invalid(path.child("timeoutSeconds"), timeout, "the timeout value must be between 1 and 30 seconds"))
    for key in ("namespaceSelector", "objectSelector"):
        errors += selector.validate_object(webhook.get(key), path.child(key))
    if mutating and webhook.get("reinvocationPolicy") is not None:
        errors += check.one_of(webhook["reinvocationPolicy"], path.child("reinvocationPolicy"), ("IfNeeded", "Never"))
    errors += client_config(webhook.get("clientConfig") or {}, path.child("clientConfig"))
    return errors + match_conditions(webhook.get("matchConditions") or [], path.child("matchConditions"))


def qualified_domain(text: str, path: Path) -> Errors:
    """IsFullyQualifiedName."""
    if not text:
        return [field.required(path)]
    errors = check.named(name.subdomain, text, path)
    if not errors and len(text.split(".")) < 3:
        errors.append(field.invalid(path, text, "should be a domain with at least three segments separated by dots"))
    return errors


def client_config(config: Object, path: Path) -> Errors:
    """Where a webhook is: a URL or a service."""
    url, service = config.get("url"), config.get("service")
    if (url is None) == (service is None):
        return [field.required(path, "exactly one of url or service is required")]
    if url is not None:
        return webhook_url(url, path.child("url"))
    return _service(service or {}, path.child("service"))


def webhook_url(text: str, path: Path) -> Errors:
    """ValidateWebhookURL."""
    try:
        url = urlsplit(text)
    except ValueError as error:
        return [field.required(path, f"url must be a valid URL: {error}; {_FORMAT}")]
    errors: Errors = []
    if url.scheme != "https":
        errors.append(field.invalid(path, url.scheme, f"'https' is the only allowed URL scheme; {_FORMAT}"))
    if not url.netloc:
        errors.append(field.invalid(path, url.netloc, f"host must be specified; {_FORMAT}"))
    if url.username is not None:
        errors.append(field.invalid(path, url.netloc.rpartition("@")[0], "user information is not permitted in the URL"))
    if url.fragment:
        errors.append(field.invalid(path, url.fragment, "fragments are not permitted in the URL"))
    if url.query:
        errors.append(field.invalid(path, url.query, "query parameters are not permitted in the URL"))
    return errors


def _service(service: Object, path: Path) -> Errors:
    # upstream hands its check the two names in the wrong order, so each is missed under the other's field
    errors = [field.required(path.child(other)) for other, key in (("name", "namespace"), ("namespace", "name")) if not service.get(key)]
    port, route = service.get("port"), service.get("path")
    if port is not None and (complaints := name.port_number(port)):
        errors.append(field.invalid(path.child("port"), port, f"port is not valid: {','.join(complaints)}"))
    return errors + (service_path(route, path.child("path")) if route is not None else [])


def service_path(route: str, path: Path) -> Errors:
    if route in ("/", ""):
        return []
    errors: Errors = []
    if not route.startswith("/"):
        errors.append(field.invalid(path, route, "must start with a '/'"))
    if route == "//":
        errors.append(field.invalid(path, route, "segment[0] may not be empty"))
        return errors
    segments = route[1:].removesuffix("/").split("/")
    for position, segment in enumerate(segments):
        if not segment:
            errors.append(field.invalid(path, route, f"segment[{position}] may not be empty"))
        else:
            errors += [field.invalid(path, route, f"segment[{position}]: {message}") for message in name.subdomain(segment)]
    return errors


def _versions(versions: list[str], path: Path) -> Errors:
    if not versions:
        return [field.required(path, "must specify one of v1, v1beta1")]
    errors: Errors = []
    seen: set[str] = set()
    known = False
    for position, version in enumerate(versions):
        here = path.index(position)
        if version in seen:
            errors.append(field.invalid(here, version, "duplicate version"))
            continue
        seen.add(version)
        errors += check.named(name.label_1035, version, here)
        known = known or version in _VERSIONS
    if not known:
        errors.append(field.invalid(path, versions, "must include at least one of v1, v1beta1"))
    return errors
