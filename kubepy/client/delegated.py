"""Who may ask a component: delegated authentication and authorization (`k8s.io/apiserver`'s delegating options).

Bearer tokens are reviewed by the API server (TokenReview), client certificates are checked against the cluster's client
CA by TLS itself, and every request that is not always allowed is put to a SubjectAccessReview. Answers are kept briefly.
"""
from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

from kubepy.api.errors import ApiError
from kubepy.api.resource import SUBJECT_ACCESS_REVIEWS, TOKEN_REVIEWS
from kubepy.api.types import Object
from kubepy.base.clock import Clock
from kubepy.base.log import get_logger
from kubepy.client.interface import Client

log = get_logger("delegated")

CACHE_SIZE = 1024


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """Seconds for which answers are kept."""

    token: float = 10.0
    allowed: float = 10.0
    denied: float = 10.0


KEEP = Lifetimes()


@dataclass(frozen=True, slots=True)
class Caller:
    name: str
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: dict[str, list[str]] = field(default_factory=dict)


ANONYMOUS = Caller("system:anonymous", groups=("system:unauthenticated",))


def from_certificate(peer: dict[str, Any] | None) -> Caller | None:
    """The identity of a verified peer certificate as `ssl` describes it: CN is the user, O the groups."""
    names = [pair for rdn in (peer or {}).get("subject", ()) for pair in rdn]
    user = next((value for key, value in names if key == "commonName"), "")
    if not user:
        return None
    groups = tuple(value for key, value in names if key == "organizationName")
    return Caller(user, groups=(*groups, "system:authenticated"))


class Delegated:
    """`always_allow` are paths, or prefixes ending in `*`, that anyone may get."""

    def __init__(self, authentication: Client, authorization: Client, clock: Clock,
                 always_allow: tuple[str, ...] = ("/healthz", "/readyz", "/livez"), keep: Lifetimes = KEEP) -> None:
        self._authentication, self._authorization = authentication, authorization
        self._lifetimes = keep
        self._clock = clock
        self._always_allow = always_allow
        self._cache: OrderedDict[tuple[Any, ...], tuple[float, Any]] = OrderedDict()

    def open_to_all(self, path: str) -> bool:
        return any(path == item or path.startswith(item + "/") or (item.endswith("*") and path.startswith(item[:-1]))
                   for item in self._always_allow)

    async def authenticate(self, authorization: str, peer: dict[str, Any] | None, audiences: tuple[str, ...] = ()) -> Caller | None:
        """None: credentials were given and are wrong (401). Without any, the caller is anonymous."""
        if (caller := from_certificate(peer)) is not None:
            return caller
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            return ANONYMOUS if not authorization else None
        key = ("token", hashlib.sha256(token.encode()).digest(), audiences)
        if (known := self._known(key)) is not None:
            return known[0]  # type: ignore[no-any-return]
        spec: Object = {"token": token.strip(), **({"audiences": list(audiences)} if audiences else {})}
        review = await self._authentication.create(TOKEN_REVIEWS, {
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "metadata": {}, "spec": spec})
        status = review.get("status") or {}
        caller = None
        if status.get("authenticated"):
            user = status.get("user") or {}
            caller = Caller(user.get("username", ""), user.get("uid", ""), tuple(user.get("groups") or ()), user.get("extra") or {})
        self._keep(key, (caller,), self._lifetimes.token)
        return caller

    async def allowed(self, caller: Caller, verb: str, *, path: str = "", resource: Object | None = None) -> bool:
        """For a non-resource path or `resourceAttributes` (without the verb). An unreachable API server means no."""
        try:
            return await self.review(caller, verb, path=path, resource=resource)
        except (ApiError, ConnectionError) as error:
            log.warning("Cannot review access", user=caller.name, path=path, err=error)
            return False

    async def review(self, caller: Caller, verb: str, *, path: str = "", resource: Object | None = None) -> bool:
        """The same for who wants to know of an unreachable API server. Raises ApiError, ConnectionError."""
        attributes = tuple(sorted((resource or {}).items()))
        key = ("access", caller.name, caller.groups, verb, path, attributes)
        if (known := self._known(key)) is not None:
            return bool(known)
        spec: Object = {"user": caller.name, "groups": list(caller.groups), "uid": caller.uid, "extra": caller.extra}
        if resource is not None:
            spec["resourceAttributes"] = {**resource, "verb": verb}
        else:
            spec["nonResourceAttributes"] = {"path": path, "verb": verb}
        review = await self._authorization.create(SUBJECT_ACCESS_REVIEWS, {
            "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "metadata": {}, "spec": spec})
        answer = bool((review.get("status") or {}).get("allowed"))
        self._keep(key, answer, self._lifetimes.allowed if answer else self._lifetimes.denied)
        return answer

    def _known(self, key: tuple[Any, ...]) -> Any:
        found = self._cache.get(key)
        if found is None or found[0] < self._clock.monotonic():
            return None
        self._cache.move_to_end(key)
        return found[1]

    def _keep(self, key: tuple[Any, ...], value: Any, ttl: float) -> None:
        self._cache[key] = (self._clock.monotonic() + ttl, value)
        self._cache.move_to_end(key)
        while len(self._cache) > CACHE_SIZE:
            self._cache.popitem(last=False)
