"""--authorization-mode=Webhook: another service decides, by SubjectAccessReview (`apiserver/plugin/pkg/authorizer/webhook`).

What it allowed is believed for a while (--authorization-webhook-cache-authorized-ttl), what it did not for a shorter one. A failure is
no opinion, or where its configuration says so a denial, and is asked again. Requests that do not meet its match conditions are not asked.
"""
from __future__ import annotations

from collections.abc import Sequence

from kubepy.api.selector import SelectorError, parse_fields, parse_labels
from kubepy.api.types import Object
from kubepy.apiserver.authn.webhook import Poster
from kubepy.apiserver.authz.condition import ConditionFailed, matches
from kubepy.apiserver.authz.interface import Access, Decision
from kubepy.apiserver.webhook.peer import PeerError
from kubepy.base.clock import Clock
from kubepy.base.log import get_logger
from kubepy.base.metrics import counter, histogram

log = get_logger("authz")
MAX_CACHED = 8192
MAX_KEY = 10_000
"""Characters of a request that is still cached, as upstream."""
_LABEL_OPERATORS = {"=": "In", "in": "In", "!=": "NotIn", "notin": "NotIn", "exists": "Exists", "!": "DoesNotExist"}
_EVALUATIONS = counter("apiserver_authorization_webhook_evaluations_total",
                       "Round-trips to authorization webhooks.", ("name", "result"))
_SECONDS = histogram("apiserver_authorization_webhook_duration_seconds", "Request latency in seconds.", ("name", "result"))
_FAIL_OPEN = counter("apiserver_authorization_webhook_evaluations_fail_open_total",
                     "NoOpinion results due to webhook timeout or error.", ("name", "result"))
_EXCLUSIONS = counter("apiserver_authorization_match_condition_exclusions_total",
                      "Total number of exclusions when an authorization webhook is skipped because match conditions exclude it.",
                      ("type", "name"))
_CONDITION_ERRORS = counter("apiserver_authorization_match_condition_evaluation_errors_total",
                            "Total number of errors when an authorization webhook encounters a match condition error split by "
                            "authorizer type and name.", ("type", "name"))


class WebhookAuthorizer:
    """TTLs are in seconds; 0 keeps nothing."""

    def __init__(self, peer: Poster, clock: Clock, *, allowed_seconds: float, denied_seconds: float, version: str = "v1beta1",
                 name: str = "default", conditions: Sequence[str] = (), deny_on_failure: bool = False) -> None:
        self._peer = peer
        self._clock = clock
        self._seconds = (allowed_seconds, denied_seconds)
        self._version = f"authorization.k8s.io/{version}"
        self._name, self._conditions = name, tuple(conditions)
        self._on_failure: Decision = Decision("deny" if deny_on_failure else "no opinion")
        self._cache: dict[str, tuple[float, Decision]] = {}

    async def authorize(self, access: Access) -> Decision:
        spec = spec_of(access)
        if self._conditions:
            try:
                if not matches(self._conditions, spec):
                    _EXCLUSIONS.labels("Webhook", self._name).inc()
                    return Decision("no opinion")
            except ConditionFailed as error:
                _CONDITION_ERRORS.labels("Webhook", self._name).inc()
                return self._on_failure._replace(error=str(error))
        key = repr(spec)
        now = self._clock.monotonic()
        if (found := self._cache.get(key)) is not None and found[0] > now:
            return found[1]
        decision = await self._ask(spec)
        seconds = self._seconds[0 if decision.allowed else 1]
        if not decision.error and seconds and len(key) <= MAX_KEY:
            self._remember(key, now, seconds, decision)
        return decision

    async def _ask(self, spec: Object) -> Decision:
        began = self._clock.monotonic()
        result = "error"
        try:
            answer = await self._peer.post({"kind": "SubjectAccessReview", "apiVersion": self._version, "spec": spec})
            result = "success"
        except PeerError as error:
            log.error("The authorization webhook failed", error, webhook=self._name)
            result = "timeout" if error.timeout else "error"
            if self._on_failure.verdict != "deny":
                _FAIL_OPEN.labels(self._name, result).inc()
            return self._on_failure._replace(error=str(error))
        finally:
            _EVALUATIONS.labels(self._name, result).inc()
            _SECONDS.labels(self._name, result).observe(self._clock.monotonic() - began)
        status = (answer or {}).get("status") or {}
        allowed, denied, reason = status.get("allowed") is True, status.get("denied") is True, str(status.get("reason") or "")
        if allowed and denied:
            log.error("The authorization webhook both allowed and denied a request", webhook=self._name)
            return Decision("deny", reason, "webhook subject access review returned both allow and deny response")
        return Decision("allow" if allowed else "deny" if denied else "no opinion", reason)

    def _remember(self, key: str, now: float, seconds: float, decision: Decision) -> None:
        if len(self._cache) >= MAX_CACHED:
            self._cache = {k: v for k, v in self._cache.items() if v[0] > now}
            while len(self._cache) >= MAX_CACHED:
                self._cache.pop(next(iter(self._cache)))
        self._cache[key] = (now + seconds, decision)

    async def ready(self) -> None: ...


def spec_of(access: Access) -> Object:
    """A SubjectAccessReview's spec for a question."""
    user = access.user
    spec: Object = {"user": user.name, "groups": list(user.groups)}
    if user.uid:
        spec["uid"] = user.uid
    if user.extra:
        spec["extra"] = {key: list(values) for key, values in sorted(user.extra.items())}
    if not access.is_resource:
        return {**spec, "nonResourceAttributes": {"path": access.path, "verb": access.verb}}
    shown: Object = {"namespace": access.namespace, "verb": access.verb, "group": access.group, "version": access.version,
                     "resource": access.resource, "subresource": access.subresource, "name": access.name,
                     "fieldSelector": _fields(access.field_selector), "labelSelector": _labels(access.label_selector)}
    return {**spec, "resourceAttributes": {key: value for key, value in shown.items() if value}}


def _fields(text: str) -> Object | None:
    """A field selector's requirements; one that cannot be read is left out, which only widens the question."""
    try:
        found = [{"key": item.field, "operator": "In" if item.operator == "=" else "NotIn", "values": [item.value]}
                 for item in parse_fields(text).requirements] if text else []
    except SelectorError:
        return None
    return {"requirements": found} if found else None


def _labels(text: str) -> Object | None:
    try:
        parsed = parse_labels(text).requirements if text else ()
    except SelectorError:
        return None
    found = [{"key": item.key, "operator": _LABEL_OPERATORS[item.operator], **({"values": sorted(item.values)} if item.values else {})}
             for item in parsed if item.operator in _LABEL_OPERATORS]
    return {"requirements": found} if found else None
