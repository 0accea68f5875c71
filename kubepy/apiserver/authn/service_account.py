"""Checks service-account tokens: signature, issuer, audience, times, and that what they are bound to still lives.

Source: `pkg/serviceaccount` (bound tokens, and legacy tokens kept in secrets).
"""
from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from joserfc import jws
from joserfc.errors import JoseError

from kubepy.api.errors import ApiError, NotFound
from kubepy.api.resource import NODES, PODS, SECRETS, SERVICE_ACCOUNTS, Resource
from kubepy.api.types import Object
from kubepy.apiserver.authn.certificate import CREDENTIAL_ID
from kubepy.apiserver.authn.issuer import VerificationKey
from kubepy.apiserver.authn.token import TokenError, TokenUser
from kubepy.apiserver.authz.rule import go_list
from kubepy.apiserver.request import User
from kubepy.apiserver.storage.interface import Entry, ResourceStore
from kubepy.base.clock import Clock, format_time, parse_time
from kubepy.base.log import get_logger

log = get_logger("legacy-token-tracking")

LAST_USED, INVALID_SINCE = "kubernetes.io/legacy-token-last-used", "kubernetes.io/legacy-token-invalid-since"
TRACKING = "kube-apiserver-legacy-service-account-token-tracking"
_ALGORITHMS = ("RS256", "ES256", "ES384", "ES512")
_LEEWAY = 60
_LEGACY_ISSUER = "kubernetes/serviceaccount"
_INVALIDATED = "service account token has been invalidated"
_MAX_TOKEN = 64 * 1024


class ServiceAccountTokens:
    """Tokens of our own issuers; the first issuer signs, others are accepted (a change of issuer)."""

    def __init__(self, issuers: Sequence[str], keys: Sequence[VerificationKey], stores: Mapping[Resource, ResourceStore], clock: Clock,
                 audiences: Sequence[str]) -> None:
        self._issuers = frozenset(issuers)
        self._keys = {key.kid: key for key in keys}
        self._stores = stores
        self._clock = clock
        self._audiences = tuple(audiences)

    async def check(self, token: str, audiences: Sequence[str]) -> TokenUser | None:
        payload = _peek(token)
        if payload is None:
            return None
        issuer = payload.get("iss")
        if issuer != _LEGACY_ISSUER and issuer not in self._issuers:
            return None
        claims = self._verify(token)
        if issuer == _LEGACY_ISSUER:
            return TokenUser(await self._legacy(token, claims), [item for item in audiences if item in self._audiences] or audiences)
        good = _audiences(claims, self._audiences)
        matching = [item for item in good if item in audiences]
        if not matching:
            raise TokenError(f"token audiences {go_list(good)} is invalid for the target audiences {go_list(list(audiences))}")
        return TokenUser(await self._bound(claims), matching)

    def _verify(self, token: str) -> Object:
        header = _decode_part(token.split(".", 1)[0]) or {}
        kid = header.get("kid")
        keys = [self._keys[kid]] if isinstance(kid, str) and kid in self._keys else list(self._keys.values())
        for key in keys:
            if header.get("alg") not in _ALGORITHMS or header.get("alg") != key.algorithm:
                continue
            try:
                claims = orjson.loads(jws.deserialize_compact(token, key.jwk, [key.algorithm]).payload)
            except (JoseError, ValueError):
                continue
            if isinstance(claims, dict):
                return claims
        raise TokenError("failed to verify signature with any of the known keys" if keys else "invalid signature, no keys found")

    async def _bound(self, claims: Object) -> User:
        now = self._clock.now()
        if not isinstance(claims.get("exp"), (int, float)) or now > claims["exp"] + _LEEWAY:
            raise TokenError("service account token has expired")
        if isinstance(claims.get("nbf"), (int, float)) and now < claims["nbf"] - _LEEWAY:
            raise TokenError("service account token is not valid yet")
        private = claims.get("kubernetes.io")
        if not isinstance(private, dict) or not isinstance(private.get("serviceaccount"), dict):
            raise TokenError("service account token claims could not be validated due to unexpected private claim")
        namespace, account = str(private.get("namespace", "")), private["serviceaccount"]
        name, uid = str(account.get("name", "")), str(account.get("uid", ""))
        if claims.get("sub") != f"system:serviceaccount:{namespace}:{name}":
            raise TokenError("service account token claims could not be validated due to unexpected subject")
        await self._check_account(namespace, name, uid)
        pod, secret, node = private.get("pod"), private.get("secret"), private.get("node")
        if secret is not None:
            await self._check_bound(SECRETS, namespace, secret)
        if pod is not None:
            await self._check_bound(PODS, namespace, pod)
        elif node is not None:
            await self._check_bound(NODES, "", node)
        return User(f"system:serviceaccount:{namespace}:{name}", uid, groups_of(namespace), _extra(claims, pod, node))

    async def _check_account(self, namespace: str, name: str, uid: str) -> None:
        account = await self._find(SERVICE_ACCOUNTS, namespace, name, uid)
        if account is None:
            raise TokenError(f'serviceaccounts "{name}" not found')
        metadata = account["metadata"]
        if self._is_gone(metadata):
            raise TokenError(f"service account {namespace}/{name} has been deleted")
        if metadata.get("uid") != uid:
            raise TokenError(f"service account UID ({metadata.get('uid')}) does not match claim ({uid})")

    async def _check_bound(self, resource: Resource, namespace: str, reference: Any) -> None:
        if not isinstance(reference, dict):
            raise TokenError(_INVALIDATED)
        found = await self._find(resource, namespace, str(reference.get("name", "")), str(reference.get("uid", "")))
        if found is None or found["metadata"].get("uid") != reference.get("uid") or self._is_gone(found["metadata"]):
            raise TokenError(_INVALIDATED)

    async def _legacy(self, token: str, claims: Object) -> User:
        prefix = "kubernetes.io/serviceaccount/"
        namespace, secret_name, name, uid = (str(claims.get(prefix + part, "")) for part in (
            "namespace", "secret.name", "service-account.name", "service-account.uid"))
        if not all((namespace, secret_name, name, uid)) or claims.get("sub") != f"system:serviceaccount:{namespace}:{name}":
            raise TokenError("service account token claims could not be validated")
        secret = await self._find(SECRETS, namespace, secret_name, "")
        if secret is None or self._is_gone(secret["metadata"], leeway=0):
            raise TokenError(_INVALIDATED)
        try:
            stored = base64.b64decode((secret.get("data") or {}).get("token", ""))
        except binascii.Error:
            stored = b""
        if not hmac.compare_digest(stored, token.encode()):
            raise TokenError(_INVALIDATED)
        await self._check_account(namespace, name, uid)
        labels = secret["metadata"].get("labels") or {}
        if labels.get(INVALID_SINCE):
            raise TokenError(f"the token in secret {namespace}/{secret_name} for service account {namespace}/{name} has been marked "
                             "invalid. Use tokens from the TokenRequest API or manually created secret-based tokens, or remove the "
                             f"'{INVALID_SINCE}' label from the secret to temporarily allow use of this token")
        await self._note_use(namespace, secret_name, labels.get(LAST_USED))
        return User(f"system:serviceaccount:{namespace}:{name}", uid, groups_of(namespace))

    async def _note_use(self, namespace: str, secret_name: str, before: str | None) -> None:
        """The day of the last use, for whoever cleans up what nobody uses; a token is not refused because it cannot be noted."""
        today = format_time(self._clock.now())[:10]
        if before == today:
            return

        async def noted(entry: Entry) -> Object:
            found = entry.decode()
            metadata = found["metadata"]
            return {**found, "metadata": {**metadata, "labels": {**(metadata.get("labels") or {}), LAST_USED: today}}}

        try:
            await self._stores[SECRETS].update(namespace, secret_name, noted)
        except (ApiError, ConnectionError) as error:
            log.warning("Cannot note the use of a token", secret=secret_name, namespace=namespace, err=error)

    async def _find(self, resource: Resource, namespace: str, name: str, uid: str) -> Object | None:
        """From the cache; asked again of etcd when the cache does not have what the token speaks of (it may lag behind)."""
        store = self._stores[resource]
        entry = store.cached(namespace, name)
        if entry is None or (uid and entry.uid != uid):
            try:
                entry = await store.get(namespace, name)
            except NotFound:
                return None
        return entry.decode()

    def _is_gone(self, metadata: Object, leeway: int = _LEEWAY) -> bool:
        deleted = metadata.get("deletionTimestamp")
        return isinstance(deleted, str) and self._clock.now() > parse_time(deleted) + leeway


def groups_of(namespace: str) -> tuple[str, str]:
    return ("system:serviceaccounts", f"system:serviceaccounts:{namespace}")


def split_user(name: str) -> tuple[str, str] | None:
    """(namespace, name) of a service account's user name, or None."""
    parts = name.split(":")
    if len(parts) == 4 and name.startswith("system:serviceaccount:") and parts[2] and parts[3]:
        return parts[2], parts[3]
    return None


def _extra(claims: Object, pod: Object | None, node: Object | None) -> dict[str, Sequence[str]]:
    extra: dict[str, Sequence[str]] = {}
    if isinstance(claims.get("jti"), str) and claims["jti"]:
        extra[CREDENTIAL_ID] = (f"JTI={claims['jti']}",)
    for title, reference in (("pod", pod), ("node", node)):
        for part in ("name", "uid"):
            if reference and reference.get(part):
                extra[f"authentication.kubernetes.io/{title}-{part}"] = (str(reference[part]),)
    return extra


def _audiences(claims: Object, default: Sequence[str]) -> list[str]:
    audiences = claims.get("aud")
    if isinstance(audiences, str):
        return [audiences]
    if isinstance(audiences, list) and audiences:
        return [str(item) for item in audiences]
    return list(default)


def _peek(token: str) -> Object | None:
    """The unverified claims of what looks like a JWT."""
    parts = token.split(".")
    return _decode_part(parts[1]) if len(parts) == 3 and len(token) <= _MAX_TOKEN else None


def _decode_part(part: str) -> Object | None:
    try:
        found = orjson.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (ValueError, binascii.Error):
        return None
    return found if isinstance(found, dict) else None
