"""`--authentication-config`: AuthenticationConfiguration, checked as kube-apiserver checks it (`apis/apiserver/validation`).

Known difference: `egressSelectorType` is refused, as there are no egress proxies.
"""
from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from cryptography import x509

from kubepy.api import name as names
from kubepy.api.field import Errors, Path, duplicate, invalid, required, too_many
from kubepy.apiserver.authn.claims import Issuer, Mapped, Rule, compiled
from kubepy.apiserver.configuration import ConfigurationError, read

VERSIONS = tuple(f"apiserver.config.k8s.io/{version}" for version in ("v1", "v1beta1", "v1alpha1"))
_MAPPED = {"claim": str, "prefix": str, "expression": str}
_SHAPE = {
    "jwt": [{
        "issuer": {"url": str, "discoveryURL": str, "certificateAuthority": str, "audiences": [str], "audienceMatchPolicy": str,
                   "egressSelectorType": str},
        "claimValidationRules": [{"claim": str, "requiredValue": str, "expression": str, "message": str}],
        "claimMappings": {"username": _MAPPED, "groups": _MAPPED, "uid": {"claim": str, "expression": str},
                          "extra": [{"key": str, "valueExpression": str}]},
        "userValidationRules": [{"expression": str, "message": str}]}],
    "anonymous": {"enabled": bool, "conditions": [{"path": str}]},
}
_EMAIL, _VERIFIED = re.compile(r"\bclaims\.\??email\b"), re.compile(r"\bclaims\.\??email_verified\b")
_MAX = 64


@dataclass(frozen=True, slots=True)
class Anonymous:
    enabled: bool
    paths: tuple[str, ...] = ()
    """Where it is enabled; none: everywhere."""


@dataclass(frozen=True, slots=True)
class Configuration:
    issuers: tuple[Issuer, ...] = ()
    anonymous: Anonymous | None = None
    """None: the flag decides."""


def load(path: str, disallowed: Sequence[str] = ()) -> Configuration:
    """Reads the file; `disallowed` are the service accounts' issuers. Raises ConfigurationError or OSError."""
    document = read(path, VERSIONS, "AuthenticationConfiguration", _SHAPE)
    if errors := check(document, disallowed):
        raise ConfigurationError(f"{path}: " + ", ".join(map(str, errors)))
    given = document.get("anonymous")
    anonymous = None
    if given is not None:
        anonymous = Anonymous(given.get("enabled") is True, tuple(item.get("path", "") for item in given.get("conditions") or ()))
    return Configuration(tuple(map(_issuer, document.get("jwt") or ())), anonymous)


def _issuer(jwt: dict[str, Any]) -> Issuer:
    issuer, mappings = jwt["issuer"], jwt.get("claimMappings") or {}

    def mapped(part: str) -> Mapped:
        found = mappings.get(part) or {}
        return Mapped(found.get("claim") or "", found.get("prefix") or "", found.get("expression") or "")

    rules = tuple(Rule(item.get("claim") or "", item.get("requiredValue") or "", item.get("expression") or "", item.get("message") or "")
                  for item in jwt.get("claimValidationRules") or ())
    user_rules = tuple(Rule(expression=item["expression"], message=item.get("message") or "")
                       for item in jwt.get("userValidationRules") or ())
    return Issuer(issuer["url"], tuple(issuer["audiences"]), mapped("username"), issuer.get("discoveryURL") or "",
                  issuer.get("certificateAuthority") or "", mapped("groups"), mapped("uid"),
                  tuple((item["key"], item["valueExpression"]) for item in mappings.get("extra") or ()), rules, user_rules)


def check(document: dict[str, Any], disallowed: Sequence[str] = ()) -> Errors:
    """What is wrong with a decoded configuration."""
    root = Path("jwt")
    authenticators = document.get("jwt") or []
    if len(authenticators) > _MAX:
        return [too_many(root, len(authenticators), _MAX)]
    errors: Errors = []
    seen: tuple[set[str], set[str]] = (set(), set())
    for index, jwt in enumerate(authenticators):
        path = root.index(index)
        issuer = jwt.get("issuer") or {}
        errors += _check_issuer(issuer, path.child("issuer"), disallowed)
        errors += _check_rules(jwt.get("claimValidationRules") or [], path.child("claimValidationRules"))
        errors += _check_mappings(jwt, jwt.get("claimMappings") or {}, path.child("claimMappings"))
        errors += _check_user_rules(jwt.get("userValidationRules") or [], path.child("userValidationRules"))
        for key, known in zip(("url", "discoveryURL"), seen, strict=True):
            value = issuer.get(key) or ""
            if value in known and (value or key == "url"):
                errors.append(duplicate(path.child("issuer", key), value))
            known.add(value)
    anonymous = document.get("anonymous")
    if anonymous is not None and anonymous.get("enabled") is not True and anonymous.get("conditions"):
        errors.append(invalid(Path("anonymous.conditions"), [{"Path": item.get("path", "")} for item in anonymous["conditions"]],
                              "enabled should be set to true when conditions are defined"))
    return errors


def _check_issuer(issuer: dict[str, Any], path: Path, disallowed: Sequence[str]) -> Errors:
    url, discovery = issuer.get("url") or "", issuer.get("discoveryURL") or ""
    errors: Errors = _check_url(url, path.child("url"), disallowed) if url else [required(path.child("url"))]
    if discovery:
        if url and url.rstrip("/") == discovery.rstrip("/"):
            errors.append(invalid(path.child("discoveryURL"), discovery, "discoveryURL must be different from URL"))
        errors += _check_url(discovery, path.child("discoveryURL"), ())
    errors += _check_audiences(issuer.get("audiences") or [], issuer.get("audienceMatchPolicy") or "", path)
    authority = issuer.get("certificateAuthority") or ""
    if authority:
        try:
            x509.load_pem_x509_certificates(authority.encode())
        except ValueError:
            errors.append(invalid(path.child("certificateAuthority"), "<omitted>",
                                  "data does not contain any valid RSA or ECDSA certificates"))
    if selector := issuer.get("egressSelectorType"):
        errors.append(invalid(path.child("egressSelectorType"), selector, "egress selectors are not supported"))
    return errors


def _check_url(url: str, path: Path, disallowed: Sequence[str]) -> Errors:
    errors: Errors = []
    if url in disallowed:
        errors.append(invalid(path, url, f"URL must not overlap with disallowed issuers: [{' '.join(sorted(disallowed))}]"))
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  # refuses what is no port
    except ValueError as error:
        return [*errors, invalid(path, url, str(error))]
    for wrong, why in ((parts.scheme != "https", "URL scheme must be https"),
                       ("@" in parts.netloc, "URL must not contain a username or password"),
                       (bool(parts.query), "URL must not contain a query"), (bool(parts.fragment), "URL must not contain a fragment")):
        if wrong:
            errors.append(invalid(path, url, why))
    return errors


def _check_audiences(audiences: list[str], policy: str, path: Path) -> Errors:
    where, match, errors = path.child("audiences"), path.child("audienceMatchPolicy"), Errors()
    if not audiences:
        return [required(where, f"at least one {where} is required")]
    for index, audience in enumerate(audiences):
        if not audience:
            errors.append(required(where.index(index)))
        if audience in audiences[:index]:
            errors.append(duplicate(where.index(index), audience))
    if len(audiences) > 1 and policy != "MatchAny":
        errors.append(invalid(match, policy, "audienceMatchPolicy must be MatchAny for multiple audiences"))
    if len(audiences) == 1 and policy not in ("", "MatchAny"):
        errors.append(invalid(match, policy, "audienceMatchPolicy must be empty or MatchAny for single audience"))
    return errors


def compile_error(compile_: Callable[[str], Any], source: str, path: Path, *, boolean: bool) -> Errors:
    """What is wrong with an expression, as the API server words it."""
    if not source.strip():
        return [required(path)]
    try:
        found = compile_(source).type
    except ValueError as error:
        return [invalid(path, source, f"compilation failed: {error}")]
    return [invalid(path, source, "must evaluate to bool")] if boolean and found != "bool" else []


def _expression(about: str, source: str, path: Path, *, boolean: bool = False) -> Errors:
    return compile_error(lambda text: compiled(about, text), source, path, boolean=boolean)


def _check_rules(rules: list[dict[str, Any]], path: Path) -> Errors:
    errors, claims, sources = Errors(), set[str](), set[str]()
    for index, rule in enumerate(rules):
        where = path.index(index)
        claim, source = rule.get("claim") or "", rule.get("expression") or ""
        if claim and source:
            errors.append(invalid(where, claim, "claim and expression can't both be set"))
        elif claim:
            if rule.get("message"):
                errors.append(invalid(where.child("message"), rule["message"], "may not be specified when claim is set"))
            if claim in claims:
                errors.append(duplicate(where.child("claim"), claim))
            claims.add(claim)
        elif source:
            if rule.get("requiredValue"):
                errors.append(invalid(where.child("requiredValue"), rule["requiredValue"], "may not be specified when expression is set"))
            if source in sources:
                errors.append(duplicate(where.child("expression"), source))
                continue
            sources.add(source)
            errors += _expression("claims", source, where.child("expression"), boolean=True)
        else:
            errors.append(required(where, "claim or expression is required"))
    return errors


def _check_mappings(jwt: dict[str, Any], mappings: dict[str, Any], path: Path) -> Errors:
    username, uid = mappings.get("username") or {}, mappings.get("uid") or {}
    errors = _check_mapped(username, path.child("username"), needed=True)
    errors += _check_mapped(mappings.get("groups") or {}, path.child("groups"))
    if uid.get("claim") and uid.get("expression"):
        errors.append(invalid(path.child("uid"), "", "claim and expression can't both be set"))
    elif uid.get("expression"):
        errors += _expression("claims", uid["expression"], path.child("uid", "expression"))
    seen: set[str] = set()
    for index, extra in enumerate(mappings.get("extra") or ()):
        errors += _check_extra(extra, path.child("extra").index(index), seen)
    source = username.get("expression") or ""
    if _EMAIL.search(source):
        sources = [source, *(item.get("valueExpression") or "" for item in mappings.get("extra") or ()),
                   *(item.get("expression") or "" for item in jwt.get("claimValidationRules") or ())]
        if not any(map(_VERIFIED.search, sources)):
            errors.append(invalid(path.child("username", "expression"), source, "claims.email_verified must be used in "
                                  "claimMappings.username.expression or claimMappings.extra[*].valueExpression or "
                                  "claimValidationRules[*].expression when claims.email is used in claimMappings.username.expression"))
    return errors


def _check_mapped(mapped: dict[str, Any], path: Path, *, needed: bool = False) -> Errors:
    claim, source = mapped.get("claim") or "", mapped.get("expression") or ""
    if claim and source:
        return [invalid(path, "", "claim and expression can't both be set")]
    if source:
        errors: Errors = []
        if mapped.get("prefix") is not None:
            errors.append(invalid(path.child("prefix"), mapped["prefix"], "may not be specified when expression is set"))
        return errors + _expression("claims", source, path.child("expression"))
    if claim and mapped.get("prefix") is None:
        return [required(path.child("prefix"),
                         "prefix is required when claim is set. It can be set to an empty string to disable prefixing")]
    return [required(path, "claim or expression is required")] if needed and not claim else []


def _check_extra(extra: dict[str, Any], path: Path, seen: set[str]) -> Errors:
    key, source = extra.get("key") or "", extra.get("valueExpression") or ""
    where = path.child("key")
    errors: Errors = [invalid(where, part, message) for part, message in names.domain_prefixed_path(key)] if key else [required(where)]
    if key != key.lower():
        errors.append(invalid(where, key, "must be lowercase"))
    domain = f".{key.partition('/')[0]}" if "/" in key else ""
    if domain.endswith((".kubernetes.io", ".k8s.io")):
        errors.append(invalid(where, key, "k8s.io, kubernetes.io and their subdomains are reserved for Kubernetes use"))
    if key in seen:
        return [*errors, duplicate(where, key)]
    seen.add(key)
    if not source:
        return [*errors, required(path.child("valueExpression"))]
    return errors + _expression("claims", source, path.child("valueExpression"))


def _check_user_rules(rules: list[dict[str, Any]], path: Path) -> Errors:
    errors, seen = Errors(), set[str]()
    for index, rule in enumerate(rules):
        where, source = path.index(index).child("expression"), rule.get("expression") or ""
        if not source:
            errors.append(required(where))
        elif source in seen:
            errors.append(duplicate(where, source))
        else:
            seen.add(source)
            errors += _expression("user", source, where, boolean=True)
    return errors
