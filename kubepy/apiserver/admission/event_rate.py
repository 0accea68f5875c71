"""EventRateLimit: bounds how many events are written, by server, namespace, user, or source and object. Off by default.

Source: `plugin/pkg/admission/eventratelimit`. Each worker process counts for itself."""
from __future__ import annotations

from collections import OrderedDict
from typing import Any

from kubepy.api.errors import TooManyRequests
from kubepy.api.resource import Resource
from kubepy.api.types import Object
from kubepy.apiserver.admission.interface import Plugin
from kubepy.apiserver.request import Attributes, Operation
from kubepy.apiserver.services import Services

_TYPES = ("Server", "Namespace", "User", "SourceAndObject")
_CACHE = 4096


class _Limit:
    """Token buckets of one type, the least recently used forgotten."""

    def __init__(self, given: dict[str, Any]) -> None:
        self.type = str(given.get("type") or "")
        self._rate, self._burst = float(given.get("qps") or 0), float(given.get("burst") or 0)
        if self.type not in _TYPES or self._rate <= 0 or self._burst <= 0:
            raise ValueError(f"EventRateLimit: a limit needs a type ({', '.join(_TYPES)}) and qps and burst above zero")
        self._size = 1 if self.type == "Server" else int(given.get("cacheSize") or _CACHE)
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key: str, now: float) -> bool:
        left, since = self._buckets.pop(key, (self._burst, now))
        left = min(self._burst, left + (now - since) * self._rate)
        allowed = left >= 1
        self._buckets[key] = (left - 1 if allowed else left, now)
        while len(self._buckets) > self._size:
            self._buckets.popitem(last=False)
        return allowed


class EventRateLimit(Plugin):
    name = "EventRateLimit"
    validates = True

    def __init__(self, services: Services) -> None:
        super().__init__(services)
        given = services.admission.get(self.name)
        if not given or not given.get("limits"):
            raise ValueError("admission plugin EventRateLimit needs limits in --admission-control-config-file")
        self._limits = [_Limit(item) for item in given["limits"]]

    def applies(self, resource: Resource, subresource: str, operation: Operation) -> bool:
        return resource.plural == "events" and resource.group in ("", "events.k8s.io") and operation in ("CREATE", "UPDATE")

    async def admit_valid(self, attributes: Attributes) -> None:
        refused = ""
        for limit in self._limits:
            key = _key(limit.type, attributes, attributes.obj or {})
            if not limit.take(key, self.services.clock.monotonic()):
                refused = f"limit reached on type {limit.type} for key {key}"
        if refused:
            raise TooManyRequests(refused)


def _key(kind: str, attributes: Attributes, event: Object) -> str:
    if kind == "Namespace":
        return attributes.namespace
    if kind == "User":
        return attributes.context.user.name
    if kind == "Server":
        return ""
    source = event.get("source") or event.get("deprecatedSource") or {}
    about = event.get("involvedObject") or event.get("regarding") or {}
    return "".join(str(part or "") for part in (
        source.get("component"), source.get("host"), about.get("kind"), about.get("namespace"), about.get("name"), about.get("uid"),
        about.get("apiVersion")))
