"""The paths of `metrics.k8s.io`: discovery, nodes and pods, one or many, selected by label, as objects or as tables."""
from __future__ import annotations

from collections.abc import Callable, Sequence

import orjson
from aiohttp import web

from kubepy.api.errors import ApiError, BadRequest, Forbidden, MethodNotAllowed, NotFound, ServiceUnavailable, Unauthorized
from kubepy.api.resource import Resource
from kubepy.api.selector import parse_labels
from kubepy.api.types import Object
from kubepy.base import metrics
from kubepy.client.serving import Handler, Health
from kubepy.client.store import Lister
from kubepy.metricserver import present
from kubepy.metricserver.access import Access
from kubepy.metricserver.sample import Window

NODES = Resource("metrics.k8s.io", "v1beta1", "nodes", "NodeMetrics", False)
PODS = Resource("metrics.k8s.io", "v1beta1", "pods", "PodMetrics", True)
ROOT = f"/apis/{present.VERSION}"


class MetricsApi:
    """`synced` says whether nodes and pods are known at all."""

    def __init__(self, nodes: Lister, pods: Lister, window: Window, access: Access, health: Health, synced: Callable[[], bool]) -> None:
        self._nodes, self._pods, self._window = nodes, pods, window
        self._access, self._health, self._synced = access, health, synced

    def app(self) -> web.Application:
        app = web.Application(middlewares=[self._answer_errors])
        add = app.router.add_get
        for name in ("healthz", "livez", "readyz"):
            add(f"/{name}", self._answer_health)
        add("/metrics", self._answer_metrics)
        add("/apis", self._document({"kind": "APIGroupList", "apiVersion": "v1", "groups": [
            {key: value for key, value in present.GROUP.items() if key not in ("kind", "apiVersion")}]}))
        add("/apis/metrics.k8s.io", self._document(present.GROUP))
        add(ROOT, self._document(present.RESOURCES))
        for path in ("/nodes", "/nodes/{name}"):
            add(f"{ROOT}{path}", self._answer_nodes)
        for path in ("/pods", "/namespaces/{namespace}/pods", "/namespaces/{namespace}/pods/{name}"):
            add(f"{ROOT}{path}", self._answer_pods)
        return app

    def node_items(self, selector: str = "", name: str = "") -> list[Object]:
        labels = parse_labels(selector)
        return [present.node_metrics(node, usage) for node in sorted(self._nodes.list(), key=_name)
                if (not name or node["metadata"]["name"] == name) and labels.matches(node["metadata"].get("labels"))
                and (usage := self._window.node(node["metadata"]["name"])) is not None]

    def pod_items(self, namespace: str = "", selector: str = "", name: str = "") -> list[Object]:
        labels = parse_labels(selector)
        found = []
        for pod in sorted(self._pods.list(), key=_name):
            metadata = pod["metadata"]
            if (namespace and metadata["namespace"] != namespace) or (name and metadata["name"] != name):
                continue
            if not labels.matches(metadata.get("labels")) or (pod.get("status") or {}).get("phase") != "Running":
                continue
            usage = self._window.pod(pod["spec"].get("nodeName") or "", (metadata["namespace"], metadata["name"]))
            if usage is not None:
                found.append(present.pod_metrics(pod, usage))
        return found

    async def _answer_nodes(self, request: web.Request) -> web.Response:
        name = request.match_info.get("name", "")
        await self._permit(request, NODES, "", name)
        return self._many_or_one(request, NODES, self.node_items(self._selector(request), name), name)

    async def _answer_pods(self, request: web.Request) -> web.Response:
        namespace, name = request.match_info.get("namespace", ""), request.match_info.get("name", "")
        await self._permit(request, PODS, namespace, name)
        items = self.pod_items(namespace, self._selector(request), name)
        return self._many_or_one(request, PODS, items, f"{namespace}/{name}" if name else "")

    def _many_or_one(self, request: web.Request, resource: Resource, items: Sequence[Object], name: str) -> web.Response:
        if name and not items:
            raise NotFound.of(resource, name)
        if "as=Table" in request.headers.get("Accept", ""):
            return _json(present.table(items))
        return _json(items[0] if name else present.listed(resource.kind, items))

    def _selector(self, request: web.Request) -> str:
        text = request.query.get("labelSelector", "")
        try:
            parse_labels(text)
        except ValueError as error:
            raise BadRequest(f"unable to parse requirement: {error}") from error
        if request.query.get("watch") in ("1", "true"):
            raise MethodNotAllowed("the server does not allow this method on the requested resource")
        return text

    async def _permit(self, request: web.Request, resource: Resource, namespace: str, name: str) -> None:
        caller = await self._access.caller(request)
        if caller is None:
            raise Unauthorized("Unauthorized")
        verb = "get" if name else "list"
        if not await self._access.allowed(caller, verb, resource.plural, namespace, name):
            where = f' in the namespace "{namespace}"' if namespace else " at the cluster scope"
            what = f' "{name}"' if name else ""
            raise Forbidden(f'{resource.group_resource}{what} is forbidden: User "{caller.name}" cannot {verb} resource '
                            f'"{resource.plural}" in API group "metrics.k8s.io"{where}')
        if not self._synced():
            raise ServiceUnavailable("the metrics server has not read nodes and pods yet")

    def _document(self, content: Object) -> Handler:
        body = orjson.dumps(content)

        async def answer(request: web.Request) -> web.Response:
            await self._permit_path(request)
            return web.Response(body=body, content_type="application/json")

        return answer

    async def _permit_path(self, request: web.Request) -> None:
        caller = await self._access.caller(request)
        if caller is None:
            raise Unauthorized("Unauthorized")
        if not await self._access.allowed_path(caller, request.path):
            raise Forbidden(f'forbidden: User "{caller.name}" cannot get path "{request.path}"')

    async def _answer_health(self, request: web.Request) -> web.Response:
        code, text = self._health.report(request.path.strip("/"), "verbose" in request.query)
        return web.Response(status=code, text=text)

    async def _answer_metrics(self, request: web.Request) -> web.Response:
        await self._permit_path(request)
        return web.Response(body=metrics.render(), headers={"Content-Type": metrics.CONTENT_TYPE})

    @web.middleware
    async def _answer_errors(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except ApiError as error:
            return _json(error.status(), error.code)
        except web.HTTPNotFound:
            return _json(NotFound("the server could not find the requested resource").status(), 404)


def _name(obj: Object) -> tuple[str, str]:
    return obj["metadata"].get("namespace") or "", obj["metadata"]["name"]


def _json(content: Object, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(content), status=status, content_type="application/json")
