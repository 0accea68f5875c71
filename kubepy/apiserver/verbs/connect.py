"""Subresources that connect a client with a node or a pod: log, exec, attach, portforward, proxy."""
from __future__ import annotations

import ssl
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import quote

from kubepy.api.resource import PODS
from kubepy.api.types import Object
from kubepy.apiserver.authz.interface import Access
from kubepy.apiserver.authz.message import forbidden
from kubepy.apiserver.exchange import Exchange
from kubepy.apiserver.info import Query, first, true
from kubepy.apiserver.registry.kind import Subresource
from kubepy.apiserver.request import Attributes, Context, RequestInfo
from kubepy.apiserver.server import Server
from kubepy.apiserver.stream import pod as pods
from kubepy.apiserver.stream.dial import Target
from kubepy.apiserver.stream.location import Location, pod_location, service_location, split_name
from kubepy.apiserver.stream.message import asked_for, log_messages
from kubepy.apiserver.stream.node import Kubelets
from kubepy.apiserver.stream.serve import pass_through, serve_stream

if TYPE_CHECKING:
    from kubepy.apiserver.stream.forward import Forwarder

_SPECIAL = frozenset(("exec", "attach", "portforward", "proxy"))
_SAFE = "/:@!$&'()*+,;=~"
"""What Go leaves as it is in a path."""


class Connector:
    """One for the process: the connections to kubelets and to what is proxied."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._kubelets = Kubelets(server.options)
        self._opened: Forwarder | None = None

    @property
    def _forwarder(self) -> Forwarder:
        """Made when it is first needed: the HTTP client takes a while to load."""
        if self._opened is None:
            from kubepy.apiserver.stream.forward import Forwarder

            self._opened = Forwarder()
        return self._opened

    async def close(self) -> None:
        if self._opened is not None:
            await self._opened.close()

    async def serve(self, exchange: Exchange, context: Context, sub: Subresource) -> None:
        if sub.name in _SPECIAL:
            await self._admit(context, sub.name)
        if sub.name == "proxy":
            await self._proxy(exchange, context)
        elif sub.name == "log":
            await self._log(exchange, context)
        else:
            await self._stream(exchange, context, sub.name)

    async def _log(self, exchange: Exchange, context: Context) -> None:
        pod = await self._pod(context)
        path = pods.log_path(pod, context.query)
        if not pod["spec"].get("nodeName"):
            await exchange.answer(204, b"")
            return
        target = await self._kubelets.target(self._server.services, pod["spec"]["nodeName"], path)
        if asked_for(exchange):
            await log_messages(exchange, lambda: self._forwarder.forward(exchange, target, error_as_status=True))
        else:
            await self._forwarder.forward(exchange, target, error_as_status=True)

    async def _stream(self, exchange: Exchange, context: Context, name: str) -> None:
        if exchange.method == "GET":
            # A WebSocket handshake is a GET, but runs a command all the same (AuthorizePodWebsocketUpgradeCreatePermission, v1.35).
            access = replace(Access.of(context.user, context.info), verb="create")
            decision = await self._server.authorizer.authorize(access)
            if not decision.allowed:
                raise forbidden(access, decision.reason)
        pod = await self._pod(context)
        path = pods.port_forward_path(pod, context.query) if name == "portforward" else pods.exec_path(pod, context.query, name)
        target = await self._kubelets.target(self._server.services, pods.check_assigned(pod), path)
        await serve_stream(exchange, target, "portforward" if name == "portforward" else "exec")

    async def _proxy(self, exchange: Exchange, context: Context) -> None:
        info = context.info
        path = "/" + "/".join(info.parts[3:])
        if exchange.scope["path"].endswith("/") and not path.endswith("/"):
            path += "/"
        prefix = exchange.scope["path"]
        query = exchange.scope["query_string"].decode("latin-1")
        if path == "/":
            if not prefix.endswith("/") and exchange.method in ("GET", "HEAD"):
                located = await self._locate(context)  # what is not there is said before anything is redirected
                assert located
                await exchange.answer(301, b"", extra=[(b"Location", f"{quote(prefix, safe=_SAFE)}/{query and '?' + query}".encode())])
                return
            prefix = prefix.rstrip("/")
        else:
            prefix = prefix[:len(prefix) - len(path)]
        target = await self._locate(context)
        target = replace(target, path=quote(path, safe="/:@!$&'()*+,;=~%") + (f"?{query}" if query else ""))
        if exchange.scope.get("upgrade"):
            await pass_through(exchange, target)
        else:
            await self._forwarder.forward(exchange, target, prefix=quote(prefix, safe=_SAFE))

    async def _locate(self, context: Context) -> Target:
        info, services = context.info, self._server.services
        if info.resource == "nodes":
            _, name, port = split_name(info.name, "node")
            return await self._kubelets.target(services, name, "/", int(port) if port.isdigit() else None)
        locate = pod_location if info.resource == "pods" else service_location
        return self._target(await locate(services, info.namespace, info.name))

    @staticmethod
    def _target(location: Location) -> Target:
        context: ssl.SSLContext | None = None
        if location.scheme == "https":
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # as upstream: pods' certificates are their own
        return Target(location.host, location.port, context, "/")

    async def _pod(self, context: Context) -> Object:
        return (await self._server.services.store(PODS).get(context.info.namespace, context.info.name)).decode()

    async def _admit(self, context: Context, name: str) -> None:
        info = context.info
        attributes = Attributes(context, "CONNECT", connect_options(info, context.query), None, {}, name, info.namespace, info.name)
        await self._server.admission.admit(attributes)
        await self._server.admission.admit_valid(attributes)


_CONNECT_KINDS = {"exec": "PodExecOptions", "attach": "PodAttachOptions", "portforward": "PodPortForwardOptions"}
_PROXY_KINDS = {"pods": "PodProxyOptions", "services": "ServiceProxyOptions", "nodes": "NodeProxyOptions"}


def connect_options(info: RequestInfo, query: Query) -> Object:
    """What admission sees of a connection: its query as PodExecOptions and the like."""
    options: Object = {"kind": _CONNECT_KINDS.get(info.subresource) or _PROXY_KINDS[info.resource], "apiVersion": "v1"}
    if info.subresource == "proxy":
        path = "/".join(info.parts[3:])
        return {**options, "path": path} if path else options
    if info.subresource == "portforward":
        ports = [int(port) for text in query.get("ports", ()) for port in text.split(",") if port.isdigit()]
        return {**options, "ports": ports} if ports else options
    options |= {flag: True for flag in ("stdin", "stdout", "stderr", "tty") if true(query, flag)}
    if container := first(query, "container"):
        options["container"] = container
    if command := query.get("command"):
        options["command"] = list(command)
    return options
