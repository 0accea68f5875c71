"""Audit events (`audit.k8s.io/v1`). Pure but for the clock the caller reads."""
from __future__ import annotations

import gzip
import zlib
from datetime import UTC, datetime
from typing import Any

import orjson
import yaml

from kubepy.api.types import Object
from kubepy.apiserver.audit.policy import Wanted
from kubepy.apiserver.authn.review import user_info
from kubepy.apiserver.exchange import Exchange
from kubepy.apiserver.request import RequestInfo, User


def micro_time(now: float) -> str:
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class Record:
    """What is known of one audited request."""

    def __init__(self, exchange: Exchange, wanted: Wanted, now: float) -> None:
        self.exchange = exchange
        self.wanted = wanted
        self.began = micro_time(now)
        self.user: User | None = None
        """Who sent it; the exchange's own user is whom it was impersonated as by the end."""
        self.sent = b""
        self.answered = b""
        self.answer_encoding = b""
        self.code = 0
        self.status: Object | None = None

    def event(self, stage: str, now: float) -> Object:
        exchange, info = self.exchange, self.exchange.info
        query = exchange.scope["query_string"].decode("latin-1")
        event: dict[str, Any] = {
            "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": self.wanted.level, "auditID": exchange.audit_id.decode("latin-1"),
            "stage": stage, "requestURI": str(exchange.scope["path"]) + (f"?{query}" if query else ""), "verb": info.verb,
            "user": user_info(self.user) if self.user is not None else {}}
        acting = getattr(exchange, "user", None)
        if self.user is not None and acting is not None and acting != self.user:
            event["impersonatedUser"] = user_info(acting)
        event["sourceIPs"] = source_ips(exchange)
        if exchange.user_agent:
            event["userAgent"] = exchange.user_agent[:1024]
        if info.is_resource:
            event["objectRef"] = reference(info)
        if stage != "RequestReceived":
            event["responseStatus"] = self._status()
            if self.wanted.request and (sent := self._decode(self.sent, "yaml" in exchange.header(b"content-type"))) is not None:
                event["requestObject"] = sent
            if self.wanted.response and stage == "ResponseComplete" and (answer := self._decode(self._plain(), False)) is not None:
                event["responseObject"] = answer
        event["requestReceivedTimestamp"], event["stageTimestamp"] = self.began, micro_time(now)
        if exchange.annotations and stage != "RequestReceived":
            event["annotations"] = dict(exchange.annotations)
        return event

    def _status(self) -> Object:
        status: Object = {"metadata": {}}
        if self.status is not None:
            status |= {key: self.status[key] for key in ("status", "message", "reason", "details") if self.status.get(key)}
        return {**status, "code": self.code}

    def _plain(self) -> bytes:
        if b"gzip" not in self.answer_encoding:
            return self.answered
        try:
            return gzip.decompress(self.answered)
        except (OSError, EOFError, zlib.error):
            return b""

    def _decode(self, data: bytes, is_yaml: bool) -> Any:
        if not data or not self.exchange.info.is_resource:
            return None
        try:
            value = yaml.load(data, Loader=yaml.CSafeLoader) if is_yaml else orjson.loads(data)
        except (orjson.JSONDecodeError, yaml.YAMLError):
            return None
        if not isinstance(value, (dict, list)):
            return None
        if not self.wanted.managed_fields and isinstance(value, dict):
            for item in (value, *(found for found in value.get("items") or () if isinstance(found, dict))):
                if isinstance(item.get("metadata"), dict):
                    item["metadata"].pop("managedFields", None)
        return value


def reference(info: RequestInfo) -> Object:
    shown = {"resource": info.resource, "namespace": info.namespace, "name": info.name or info.named, "apiGroup": info.group,
             "apiVersion": info.version,
             "subresource": info.subresource}
    return {key: value for key, value in shown.items() if value}


def source_ips(exchange: Exchange) -> list[str]:
    """The proxies' word first, then the connection's own address."""
    found = [part.strip() for part in exchange.header(b"x-forwarded-for").split(",") if part.strip()]
    found = found or [part for part in (exchange.header(b"x-real-ip").strip(),) if part]
    client = exchange.scope.get("client")
    if client and (not found or found[-1] != client[0]):
        found.append(str(client[0]))
    return found[:32]
