"""Who asks, and whether they may.

The API server's aggregator asks for a user: it shows a certificate of the front-proxy authority and names the user in
headers. Others show a client certificate of the cluster or a token, as with every component (`client.delegated`).
"""
from __future__ import annotations

import asyncio
from typing import Any

import orjson
from aiohttp import web
from cryptography import x509
from cryptography.exceptions import InvalidSignature

from kubepy.api.errors import ApiError
from kubepy.api.resource import CONFIGMAPS
from kubepy.base.clock import Clock
from kubepy.base.log import get_logger
from kubepy.client.delegated import Caller, Delegated, from_certificate
from kubepy.client.interface import Client
from kubepy.client.serving import ServingTls

log = get_logger("access")


class FrontProxy:
    """What the cluster publishes about its aggregator, in kube-system/extension-apiserver-authentication."""

    def __init__(self) -> None:
        self._authorities: list[x509.Certificate] = []
        self._names: list[str] = []
        self._user, self._group, self._extra = ["X-Remote-User"], ["X-Remote-Group"], ["X-Remote-Extra-"]

    async def learn(self, client: Client, tls: ServingTls, clock: Clock) -> None:
        """Keeps trusting what is published, also after the authorities change."""
        known: dict[str, str] = {}
        while True:
            try:
                found = await client.get(CONFIGMAPS, "extension-apiserver-authentication", "kube-system")
                data = found.get("data") or {}
                if data != known:
                    self.trust(data, tls)
                    known = data
            except (ApiError, ConnectionError, ValueError) as error:
                log.warning("The cluster's authorities are not known", err=error)
            await clock.sleep(60 if known else 2)

    def trust(self, data: dict[str, str], tls: ServingTls) -> None:
        for name in ("client-ca-file", "requestheader-client-ca-file"):
            if data.get(name):
                tls.trust(data[name].encode())
        bundle = data.get("requestheader-client-ca-file", "")
        self._authorities = x509.load_pem_x509_certificates(bundle.encode()) if bundle else []
        self._names = orjson.loads(data.get("requestheader-allowed-names") or "[]")
        self._user = orjson.loads(data.get("requestheader-username-headers") or '["X-Remote-User"]')
        self._group = orjson.loads(data.get("requestheader-group-headers") or '["X-Remote-Group"]')
        self._extra = orjson.loads(data.get("requestheader-extra-headers-prefix") or '["X-Remote-Extra-"]')

    def is_proxy(self, der: bytes | None) -> bool:
        """Whether a certificate (which TLS has verified against one of the authorities) is the aggregator's."""
        if not der or not self._authorities:
            return False
        certificate = x509.load_der_x509_certificate(der)
        for authority in self._authorities:
            try:
                certificate.verify_directly_issued_by(authority)
            except (ValueError, TypeError, InvalidSignature):
                continue
            names = [str(item.value) for item in certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)]
            return not self._names or any(name in self._names for name in names)
        return False

    def is_of_authority(self, der: bytes | None) -> bool:
        """Issued by the front-proxy authority at all: such a certificate is never a user's own identity."""
        if not der:
            return False
        certificate = x509.load_der_x509_certificate(der)
        return any(certificate.issuer == authority.subject for authority in self._authorities)

    def caller(self, request: web.Request) -> Caller | None:
        """The user that the aggregator speaks for."""
        name = next((value for header in self._user if (value := request.headers.get(header))), "")
        if not name:
            return None
        groups = tuple(value for header in self._group for value in request.headers.getall(header, []))
        extra: dict[str, list[str]] = {}
        for header, value in request.headers.items():
            for prefix in self._extra:
                if header.lower().startswith(prefix.lower()):
                    extra.setdefault(header[len(prefix):].lower(), []).append(value)
        return Caller(name, groups=groups, extra=extra)


class Access:
    def __init__(self, delegated: Delegated, proxy: FrontProxy) -> None:
        self._delegated, self._proxy = delegated, proxy

    async def caller(self, request: web.Request) -> Caller | None:
        """None: wrong credentials."""
        transport = request.transport
        channel = transport.get_extra_info("ssl_object") if transport is not None else None
        der: bytes | None = channel.getpeercert(binary_form=True) if channel is not None else None
        if await asyncio.to_thread(self._proxy.is_proxy, der) if der else False:
            return self._proxy.caller(request)
        peer: dict[str, Any] | None = channel.getpeercert() if channel is not None else None
        if self._proxy.is_of_authority(der):
            peer = None
        try:
            return await self._delegated.authenticate(request.headers.get("Authorization", ""), peer)
        except (ApiError, ConnectionError) as error:
            log.warning("Cannot review a token", err=error)
            return from_certificate(peer)

    async def allowed(self, caller: Caller, verb: str, resource: str, namespace: str, name: str) -> bool:
        attributes = {"group": "metrics.k8s.io", "version": "v1beta1", "resource": resource}
        if namespace:
            attributes["namespace"] = namespace
        if name:
            attributes["name"] = name
        return await self._delegated.allowed(caller, verb, resource=attributes)

    async def allowed_path(self, caller: Caller, path: str) -> bool:
        return self._delegated.open_to_all(path) or await self._delegated.allowed(caller, "get", path=path)
