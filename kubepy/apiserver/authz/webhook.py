"""--authorization-mode=Webhook: another service decides, by SubjectAccessReview (`apiserver/plugin/pkg/authorizer/webhook`).

What it allowed is believed for --authorization-webhook-cache-authorized-ttl, what it did not for --…-unauthorized-ttl; a failure is no
opinion and is asked again.
"""
from __future__ import annotations

from kubepy.api.types import Object
from kubepy.apiserver.authn.webhook import Poster
from kubepy.apiserver.authz.interface import Access, Decision
from kubepy.apiserver.webhook.peer import PeerError
from kubepy.base.clock import Clock
from kubepy.base.log import get_logger

log = get_logger("authz")
MAX_CACHED = 8192
MAX_KEY = 10_000
"""Characters of a request that is still cached, as upstream."""


class WebhookAuthorizer:
    def __init__(self, peer: Poster, clock: Clock, *, allowed_seconds: float, denied_seconds: float, version: str = "v1beta1") -> None:
        self._peer = peer
        self._clock = clock
        self._seconds = (allowed_seconds, denied_seconds)
        self._version = f"authorization.k8s.io/{version}"
        self._cache: dict[str, tuple[float, Decision]] = {}

    async def authorize(self, access: Access) -> Decision:
        spec = spec_of(access)
        key = repr(spec)
        now = self._clock.monotonic()
        if (found := self._cache.get(key)) is not None and found[0] > now:
            return found[1]
        try:
            answer = await self._peer.post({"kind": "SubjectAccessReview", "apiVersion": self._version, "spec": spec})
        except PeerError as error:
            log.error("The authorization webhook failed", error)
            return Decision("no opinion", "")
        status = (answer or {}).get("status") or {}
        allowed, denied, reason = status.get("allowed") is True, status.get("denied") is True, str(status.get("reason") or "")
        if allowed and denied:
            log.error("The authorization webhook both allowed and denied a request")
            return Decision("deny", "webhook subject access review returned both allow and deny response")
        decision = Decision("allow" if allowed else "deny" if denied else "no opinion", reason)
        if len(key) <= MAX_KEY:
            if len(self._cache) >= MAX_CACHED:
                self._cache = {k: v for k, v in self._cache.items() if v[0] > now}
                while len(self._cache) >= MAX_CACHED:
                    self._cache.pop(next(iter(self._cache)))
            self._cache[key] = (now + self._seconds[0 if allowed else 1], decision)
        return decision

    async def ready(self) -> None: ...


def spec_of(access: Access) -> Object:
    user = access.user
    spec: Object = {"user": user.name, "groups": list(user.groups)}
    if user.uid:
        spec["uid"] = user.uid
    if user.extra:
        spec["extra"] = {key: list(values) for key, values in sorted(user.extra.items())}
    if not access.is_resource:
        return {**spec, "nonResourceAttributes": {"path": access.path, "verb": access.verb}}
    shown = {"namespace": access.namespace, "verb": access.verb, "group": access.group, "version": access.version,
             "resource": access.resource, "subresource": access.subresource, "name": access.name}
    return {**spec, "resourceAttributes": {key: value for key, value in shown.items() if value}}
