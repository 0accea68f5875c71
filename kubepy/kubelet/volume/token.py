"""Service-account tokens for pods: asked for by TokenRequest bound to the pod, renewed before they expire."""
from __future__ import annotations

import random
from dataclasses import dataclass

from kubepy.api.resource import SERVICE_ACCOUNTS
from kubepy.api.types import Object
from kubepy.base.clock import Clock, format_time, parse_time
from kubepy.client.interface import Client

_DAY = 24 * 3600.0


@dataclass(slots=True)
class _Token:
    text: str
    renew_at: float
    expires: float


class Tokens:
    """Tokens by pod and audience, kept in memory until they want renewal: at 80% of their life or after a day."""

    def __init__(self, client: Client, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._tokens: dict[tuple[str, str, int, str], _Token] = {}

    async def get(self, pod: Object, source: Object) -> str:
        """The token for a `serviceAccountToken` projection. An old one is used while the server cannot give a new one."""
        return (await self._held(pod, source)).text

    async def with_expiry(self, pod: Object, source: Object) -> tuple[str, str]:
        """(token, when it ends)."""
        held = await self._held(pod, source)
        return held.text, format_time(held.expires)

    async def _held(self, pod: Object, source: Object) -> _Token:
        metadata, audience = pod["metadata"], source.get("audience") or ""
        seconds = int(source.get("expirationSeconds") or 3600)
        account = pod["spec"].get("serviceAccountName") or "default"
        key = (metadata["uid"], audience, seconds, account)
        now = self._clock.now()
        held = self._tokens.get(key)
        if held is not None and now < held.renew_at:
            return held
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "metadata": {}, "spec": {
            "audiences": [audience] if audience else None, "expirationSeconds": seconds,
            "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": metadata["name"], "uid": metadata["uid"]}}}
        if not audience:
            del request["spec"]["audiences"]  # type: ignore[attr-defined]
        try:
            made = await self._client.create(SERVICE_ACCOUNTS, request, metadata.get("namespace") or "default", name=account,
                                             subresource="token")
        except Exception:
            if held is not None and now < held.expires:
                return held
            raise
        status = made["status"]
        expires = parse_time(status["expirationTimestamp"])
        life = min((expires - now) * 0.8, _DAY)
        fresh = self._tokens[key] = _Token(str(status["token"]), now + life - random.random() * min(10.0, life / 10), expires)
        return fresh

    def forget(self, uid: str) -> None:
        for key in [key for key in self._tokens if key[0] == uid]:
            del self._tokens[key]
