"""--authentication-token-webhook-config-file: another service says whose a token is, by TokenReview.

Source: `apiserver/plugin/pkg/authenticator/token/webhook`. Answers are kept for --authentication-token-webhook-cache-ttl, failures are not.
"""
from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Protocol

from kubepy.api.types import Object
from kubepy.apiserver.authn.token import TokenError, TokenUser
from kubepy.apiserver.request import User
from kubepy.apiserver.webhook.peer import PeerError
from kubepy.base.clock import Clock, SystemClock

MAX_CACHED = 4096


class Poster(Protocol):
    async def post(self, obj: Object) -> Object | None: ...


class WebhookTokens:
    def __init__(self, peer: Poster, audiences: Sequence[str], version: str = "v1beta1", *, clock: Clock | None = None,
                 seconds: float = 0.0) -> None:
        """What was answered is believed for `seconds`, whether the token held or not; failures are asked again."""
        self._peer = peer
        self._clock, self._seconds = clock or SystemClock(), seconds
        self._cache: dict[bytes, tuple[float, TokenUser | None]] = {}
        self._audiences = tuple(audiences)
        self._version = f"authentication.k8s.io/{version}"

    async def check(self, token: str, audiences: Sequence[str]) -> TokenUser | None:
        key, now = hashlib.sha256("\0".join((token, *audiences)).encode("utf-8", "surrogatepass")).digest(), self._clock.monotonic()
        if (cached := self._cache.get(key)) is not None and cached[0] > now:
            return cached[1]
        found = await self._ask(token, audiences)
        if self._seconds:
            self._cache.pop(key, None)
            while len(self._cache) >= MAX_CACHED:
                self._cache.pop(next(iter(self._cache)))  # the oldest
            self._cache[key] = (now + self._seconds, found)
        return found

    async def _ask(self, token: str, audiences: Sequence[str]) -> TokenUser | None:
        review = {"kind": "TokenReview", "apiVersion": self._version, "spec": {"token": token, "audiences": list(audiences)}}
        try:
            answer = await self._peer.post(review)
        except PeerError as error:
            raise TokenError(str(error)) from error
        status = (answer or {}).get("status")
        if not isinstance(status, dict):
            raise TokenError("webhook answered no status")
        if status.get("authenticated") is not True:
            if status.get("error"):
                raise TokenError(str(status["error"]))
            return None
        told = status.get("audiences") or self._audiences  # a webhook that knows no audiences speaks for the server's own
        good = [audience for audience in audiences if audience in told]
        if audiences and not good:
            return None
        user = status.get("user") or {}
        extra = {str(key): [str(item) for item in values] for key, values in (user.get("extra") or {}).items()}
        groups = tuple(map(str, user.get("groups") or ()))
        return TokenUser(User(str(user.get("username") or ""), str(user.get("uid") or ""), groups, extra), good)
