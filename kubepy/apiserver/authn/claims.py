"""From the claims of a token to a user: what an issuer's configuration says, by claim names or by CEL (`authenticator/token/oidc`).

Expressions see `claims` (and those about the user `user`); they are compiled once each.
"""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from kubepy.apiserver.authn.token import TokenError
from kubepy.apiserver.request import User

if TYPE_CHECKING:
    from kubepy.api.cel import Environment, Program

Claims = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Mapped:
    """Where a part of the identity comes from: a claim with a prefix, or an expression; neither: it is left out."""

    claim: str = ""
    prefix: str = ""
    expression: str = ""


@dataclass(frozen=True, slots=True)
class Rule:
    """A claim that must have a value, or an expression that must be true."""

    claim: str = ""
    value: str = ""
    expression: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Issuer:
    """One issuer of JWTs and what its tokens mean here."""

    url: str
    audiences: tuple[str, ...]
    """A token must be for any of these."""
    username: Mapped
    discovery_url: str = ""
    authority: str = ""
    """PEM; empty: the system's."""
    groups: Mapped = Mapped()
    uid: Mapped = Mapped()
    extra: tuple[tuple[str, str], ...] = ()
    """(key, expression)"""
    rules: tuple[Rule, ...] = ()
    user_rules: tuple[Rule, ...] = ()
    algorithms: tuple[str, ...] = ("RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "PS256", "PS384", "PS512")


@lru_cache(maxsize=1)
def _environments() -> dict[str, Environment]:
    from kubepy.api.cel import Environment  # the engine takes a while to load, and most servers need none
    from kubepy.api.cel.kind import struct_of

    user = struct_of("kubernetes.UserInfo", {
        "username": "string", "uid": "string", "groups": "list(string)", "extra": "map(string,list(string))"})
    return {"claims": Environment({"claims": "map(string,dyn)"}), "user": Environment({"user": user})}


@lru_cache(maxsize=1024)
def compiled(about: str, source: str) -> Program:
    """An expression about `claims` or the `user`; raises CompileError."""
    return _environments()[about].compile(source)


def user_of(issuer: Issuer, claims: Claims) -> User:
    """Raises TokenError for claims that do not make a user."""
    name = _username(issuer.username, claims)
    groups = _groups(issuer.groups, claims)
    uid = _uid(issuer.uid, claims)
    extra = {key: values for key, source in issuer.extra
             if (values := _texts(_evaluate("extra", source, claims), f"extra claim expression for key {key!r}"))}
    for rule in issuer.rules:
        _check(rule, claims)
    for rule in issuer.user_rules:
        shown = {"username": name, "uid": uid, "groups": groups, "extra": extra}
        _hold("user", rule, {"user": shown}, "oidc: error evaluating user info validation rule")
    if not name:
        raise TokenError("oidc: username must not be empty")
    return User(name, uid, tuple(groups), extra)


def _username(mapped: Mapped, claims: Claims) -> str:
    if mapped.expression:
        return _evaluated_text("username", mapped.expression, claims)
    found = _text(claims, mapped.claim, f'oidc: parse username claims "{mapped.claim}"')
    if mapped.claim == "email" and "email_verified" in claims:
        verified = claims["email_verified"]
        if not isinstance(verified, bool):
            raise TokenError("oidc: parse 'email_verified' claim: not a boolean")
        if not verified:
            raise TokenError("oidc: email not verified")
    return mapped.prefix + found if found else ""


def _evaluated_text(what: str, expression: str, claims: Claims) -> str:
    found = _evaluate(what, expression, claims)
    if not isinstance(found, str):
        raise TokenError(f"oidc: error evaluating {what} claim expression: {what} claim expression must return a string")
    return found


def _groups(mapped: Mapped, claims: Claims) -> list[str]:
    if mapped.expression:
        return _texts(_evaluate("groups", mapped.expression, claims), "group claim expression")
    found: Any = claims.get(mapped.claim) if mapped.claim else None
    groups = [found] if isinstance(found, str) else found or []
    if not isinstance(groups, list) or not all(isinstance(group, str) for group in groups):
        raise TokenError(f'oidc: parse groups claim "{mapped.claim}": not a string or a list of strings')
    return [mapped.prefix + group for group in groups]


def _uid(mapped: Mapped, claims: Claims) -> str:
    if mapped.expression:
        return _evaluated_text("uid", mapped.expression, claims)
    return _text(claims, mapped.claim, f'oidc: parse uid claim "{mapped.claim}"') if mapped.claim else ""


def _text(claims: Claims, claim: str, what: str) -> str:
    if claim not in claims:
        raise TokenError(f"{what}: claim not present")
    found = claims[claim]
    if not isinstance(found, str):
        raise TokenError(f"{what}: not a string")
    return found


def _texts(found: Any, what: str) -> list[str]:
    """A string or strings, without empty ones."""
    if found is None:
        return []
    values = [found] if isinstance(found, str) else found
    if not isinstance(values, (list, tuple)) or not all(isinstance(item, str) for item in values):
        raise TokenError(f"oidc: error evaluating {what}: expression must return a string or a list of strings")
    return [item for item in values if item]


def _evaluate(what: str, source: str, claims: Claims) -> Any:
    try:
        return compiled("claims", source).evaluate({"claims": claims})
    except ValueError as error:
        raise TokenError(f"oidc: error evaluating {what} claim expression: expression '{source}' resulted in error: {error}") from error


def _check(rule: Rule, claims: Claims) -> None:
    if rule.expression:
        _hold("claims", rule, {"claims": claims}, "oidc: error evaluating claim validation expression")
        return
    if rule.claim not in claims:
        raise TokenError(f"oidc: required claim {rule.claim} not present in ID token")
    found = _text(claims, rule.claim, f"oidc: parse claim {rule.claim}")
    if found != rule.value:
        raise TokenError(f"oidc: required claim {rule.claim} value does not match. Got = {found}, want = {rule.value}")


def _hold(about: str, rule: Rule, values: Mapping[str, Any], what: str) -> None:
    try:
        found = compiled(about, rule.expression).evaluate(values)
    except ValueError as error:
        raise TokenError(f"{what}: expression '{rule.expression}' resulted in error: {error}") from error
    if found is not True:
        raise TokenError(f"{what}: validation expression '{rule.expression}' failed: {rule.message}")
