"""From a parsed request to the verb that serves it: dictionary lookups by group, version and resource; no routing table is walked.

What is not there is answered as Kubernetes does: an unknown group with a text, anything below a known group with a Status.
"""
from __future__ import annotations

from collections.abc import Awaitable, Callable

from kubepy.api.errors import ApiError, MethodNotAllowed, NotFound
from kubepy.apiserver.aggregation.layer import Aggregation
from kubepy.apiserver.discovery import Discovery
from kubepy.apiserver.exchange import Exchange
from kubepy.apiserver.openapi import OpenApi
from kubepy.apiserver.registry.kind import Kind, Subresource
from kubepy.apiserver.representation import is_custom
from kubepy.apiserver.request import Context, RequestInfo
from kubepy.apiserver.server import Server
from kubepy.apiserver.stream.message import asked_for, watch_messages
from kubepy.apiserver.verbs import binding, component, virtual
from kubepy.apiserver.verbs.connect import Connector
from kubepy.apiserver.verbs.create import create
from kubepy.apiserver.verbs.delete import delete, delete_collection
from kubepy.apiserver.verbs.get import get, list_objects
from kubepy.apiserver.verbs.patch import patch
from kubepy.apiserver.verbs.subresource import serve as serve_subresource
from kubepy.apiserver.verbs.update import update
from kubepy.apiserver.verbs.watch import watch
from kubepy.base.http.cycle import App, Receive, Scope, Send

Verb = Callable[[Server, Exchange, Context], Awaitable[None]]
_COLLECTION: dict[str, tuple[str, Verb]] = {"POST": ("create", create), "DELETE": ("deletecollection", delete_collection)}
_ITEM: dict[str, tuple[str, Verb]] = {"GET": ("get", get), "PUT": ("update", update), "PATCH": ("patch", patch),
                                      "DELETE": ("delete", delete)}
_ITEM_VERBS = frozenset(("get", "update", "patch", "delete"))
_METHODS = {"GET": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
DEPRECATED = {
    ("", "v1", "componentstatuses"): "v1 ComponentStatus is deprecated in v1.19+",
    ("", "v1", "endpoints"): "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice",
}
"""What every request for a kind is warned of (upstream's APILifecycleDeprecated)."""
CONNECTS = frozenset(("attach", "exec", "log", "portforward", "proxy"))


def not_found() -> NotFound:
    return NotFound("the server could not find the requested resource", {})


def not_allowed() -> MethodNotAllowed:
    return MethodNotAllowed("the server does not allow this method on the requested resource", {})


def unsupported(kind: Kind, verb: str) -> MethodNotAllowed:
    """Upstream's NewMethodNotSupported, which custom resources answer."""
    resource = kind.resource
    return MethodNotAllowed(f'{verb} is not supported on resources of kind "{resource.group_resource}"',
                            {"group": resource.group, "kind": resource.plural})


class Dispatcher:
    """The application behind the filters: resources here, discovery beside them, everything else to the shell."""

    def __init__(self, server: Server, shell: App) -> None:
        self.server = server
        self.shell = shell
        self.discovery = Discovery(server)
        self.openapi = OpenApi(server)
        self.connector = Connector(server)
        self.aggregation = Aggregation(server)
        self.aggregation.start()
        server.stopping.append(self.connector.close)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = Exchange.of(scope)
        info = exchange.info
        if self.server.remotes.remotes and await self.aggregation.serve(exchange):
            return
        if not info.is_resource or info.path[:2] == "//":
            if await self.discovery.serve(exchange) or await self.openapi.serve(exchange):
                return
            await self.shell(scope, receive, send)
            return
        kind = self.server.kinds.by_path.get((info.group, info.version, info.resource))
        if kind is None:
            if info.group not in self.server.kinds.versions or info.group in self.server.kinds.custom_groups:
                await exchange.answer_text(404, "404 page not found\n")
                return
            raise not_found()
        if (text := DEPRECATED.get((info.group, info.version, info.resource))) is not None:
            exchange.warnings.append(text)
        if custom := getattr(kind, "warning", ""):
            exchange.warnings.append(custom)
        context = Context(exchange.user, info, kind, exchange.query, exchange.user_agent, warnings=exchange.warnings,
                          audit_annotations=exchange.annotations)
        await self._serve(exchange, context)

    async def _serve(self, exchange: Exchange, context: Context) -> None:
        kind, info, method = context.kind, context.info, exchange.method
        check_scope(kind, info)
        server = self.server
        if info.subresource:
            sub = find_subresource(kind, info, method)
            if sub.name in CONNECTS:
                await self.connector.serve(exchange, context, sub)
            else:
                await serve_subresource(server, exchange, context, sub)
            return
        if ".." in (info.namespace, info.name) or "." in (info.namespace, info.name):
            key = "/".join(("", info.resource, *(part for part in (info.namespace, info.name) if part)))
            raise ApiError(f'invalid key: "{key}"', reason="")
        if info.verb == "watch" and method != "GET":
            raise not_allowed()
        if info.verb == "watch":
            if "watch" not in kind.verbs:
                raise not_allowed()
            if asked_for(exchange):
                await watch_messages(exchange, lambda: watch(server, exchange, context))
            else:
                await watch(server, exchange, context)
            return
        if len(info.parts) > 1 and info.parts[1]:
            if not _ITEM_VERBS.intersection(kind.verbs):
                raise not_found()
            name, verb = _ITEM.get(method, ("", get))
        elif method == "GET":
            name, verb = "list", list_objects
        else:
            name, verb = _COLLECTION.get(method, ("", create))
            if kind.resource.namespaced and not info.namespace:
                raise not_allowed()
        if name not in kind.verbs:
            if name == "create" and getattr(kind, "terminating", False):
                raise MethodNotAllowed("create not allowed while custom resource definition is terminating",
                                       {"group": kind.resource.group, "kind": kind.resource.plural})
            raise not_allowed()
        if kind.resource.plural == "bindings" and not kind.resource.group:
            await binding.serve(server, exchange, context)
            return
        if kind.resource.plural == "componentstatuses" and not kind.resource.group:
            await component.serve(server, exchange, context)
            return
        if kind.handler is not None:
            await virtual.serve(server, exchange, context)
            return
        if kind.stored_as is None:
            await verb(server, exchange, context)
            return
        try:
            await verb(server, exchange, context)
        except NotFound as error:
            if (error.details or {}).get("kind") != kind.stored_as.plural:
                raise
            raise NotFound.of(kind.resource, info.name) from error


def check_scope(kind: Kind, info: RequestInfo) -> None:
    """A namespaced object needs its namespace, a cluster-scoped one has none. Raises NotFound."""
    depth = len(info.parts)
    if kind.resource.namespaced:
        if depth > 1 and not info.namespace:
            raise not_found()
    elif info.namespace and not (info.resource == "namespaces" and not info.group and info.namespace == (info.name or info.namespace)):
        raise not_found()
    if depth > 3 and info.subresource != "proxy":
        raise not_found()
    if any(not part for part in info.parts[:-1]):
        raise not_found()


def find_subresource(kind: Kind, info: RequestInfo, method: str) -> Subresource:
    for sub in kind.subresources:
        if sub.name == info.subresource:
            if _METHODS.get(method) not in sub.verbs and is_custom(kind):
                raise unsupported(kind, _METHODS.get(method) or method.lower())
            if _METHODS.get(method) not in sub.verbs and not (sub.name == "proxy" and method in ("HEAD", "OPTIONS")):
                raise not_allowed()
            return sub
    if is_custom(kind):
        raise NotFound.of(kind.resource, info.name)
    raise not_found()
