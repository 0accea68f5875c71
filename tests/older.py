"""A front that makes this project's API server look like one of v1.30: newer groups, resources, subresources and fields are not there.

    async with Older(server) as older:          # older.url speaks plain HTTP; requests without a token are the admin's
        HttpClient(Config(older.url))

What is newer is a table of facts. Unknown fields are dropped from what is written (as a server does that decodes into its own types) and
from what is read; `sendInitialEvents` is refused, as by a server without WatchList, and SuccessCriteriaMet of a Job without a success
policy (which is added behind the front, where Complete needs it). Upgrades (exec, port-forward) are not carried.
"""
from __future__ import annotations

import re
import ssl
from collections import Counter
from collections.abc import Iterable
from contextlib import AsyncExitStack
from typing import Any

import orjson
from aiohttp import ClientSession, TCPConnector, web

from tests.apiserver import ApiServer, free_port

GROUP_VERSIONS = frozenset({
    "resource.k8s.io/v1", "resource.k8s.io/v1beta1", "resource.k8s.io/v1beta2", "certificates.k8s.io/v1beta1",
    "storagemigration.k8s.io/v1beta1", "coordination.k8s.io/v1beta1", "coordination.k8s.io/v1alpha2"})
"""Of v1.31 to v1.36, or off by default."""
RESOURCES = {"networking.k8s.io/v1": {"servicecidrs", "ipaddresses"}, "storage.k8s.io/v1": {"volumeattributesclasses"},
             "admissionregistration.k8s.io/v1": {"mutatingadmissionpolicies", "mutatingadmissionpolicybindings"}, "v1": {"pods/resize"}}
FIELDS: dict[str, tuple[str, ...]] = {
    "Pod": ("metadata.generation", "spec.resources", "spec.hostnameOverride", "spec.workloadRef", "spec.containers.restartPolicyRules",
            "spec.containers.env.valueFrom.fileKeyRef", "status.observedGeneration", "status.conditions.observedGeneration",
            "status.resources", "status.allocatedResources", "status.resize",
            *(f"status.{kind}.{name}" for kind in ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses")
              for name in ("user", "volumeMounts", "allocatedResourcesStatus", "allocatedResources", "resources", "stopSignal"))),
    "Node": ("status.declaredFeatures", "status.features", "status.runtimeHandlers", "status.nodeInfo.swap"),
    "Deployment": ("status.terminatingReplicas",),
    "ReplicaSet": ("status.terminatingReplicas",),
    "Service": ("spec.trafficDistribution",),
    "EndpointSlice": ("endpoints.hints.forNodes",),
}
_PATH = re.compile(r"^/(?:api/(?P<core>v1)|apis/(?P<group>[^/]+/[^/]+))(?:/namespaces/[^/]+(?=/.))?/(?P<plural>[^/]+)"
                   r"(?:/(?P<name>[^/]+)(?:/(?P<sub>[^/]+))?)?$")
KINDS = {"pods": "Pod", "nodes": "Node", "deployments": "Deployment", "replicasets": "ReplicaSet", "services": "Service",
         "endpointslices": "EndpointSlice", "jobs": "Job"}
_DROPPED = {"content-length", "transfer-encoding", "connection", "host", "accept-encoding", "date", "server"}


class Older:
    """`asked` counts requests by method and path, `missed` those for what is not there."""

    def __init__(self, server: ApiServer) -> None:
        self._server = server
        self.url = ""
        self.asked: Counter[tuple[str, str]] = Counter()
        self.missed: Counter[str] = Counter()
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Older:
        trusted = ssl.create_default_context(cafile=self._server.ca)
        self._session = await self._stack.enter_async_context(ClientSession(
            self._server.url, connector=TCPConnector(ssl=trusted, limit=0), auto_decompress=False))
        app = web.Application(client_max_size=64 << 20)
        app.router.add_route("*", "/{path:.*}", self._answer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        port = free_port()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        self.url = f"http://127.0.0.1:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        path = request.path
        self.asked[request.method, path] += 1
        if path == "/version":
            return web.json_response({"major": "1", "minor": "30", "gitVersion": "v1.30.0", "platform": "linux/amd64"})
        if newer(path):
            self.missed[path] += 1
            return web.Response(status=404, text="404 page not found\n")
        if "sendInitialEvents" in request.query:
            return _invalid("sendInitialEvents: Forbidden: sendInitialEvents is forbidden for watch unless the WatchList feature gate is "
                            "enabled")
        matched = _PATH.match(path)
        kind = KINDS.get(matched["plural"], "") if matched else ""
        body = await request.read()
        if body and kind and kind != "Job" and "json" in request.headers.get("Content-Type", ""):
            body = orjson.dumps(without(orjson.loads(body), kind))
        if matched and matched["plural"] == "jobs" and matched["sub"] == "status":
            job = orjson.loads(body)
            if _without_criteria(job) != job:
                return _invalid("status.conditions: Invalid value: cannot set SuccessCriteriaMet=True for Job without SuccessPolicy")
            body = orjson.dumps(_with_criteria(job))
        headers = {key: value for key, value in request.headers.items() if key.lower() not in _DROPPED}
        if "apidiscovery" in headers.get("Accept", ""):
            headers["Accept"] = "application/json"  # the document for each group is what is rewritten here
        headers.setdefault("Authorization", f"Bearer {self._server.token}")
        async with self._session.request(request.method, request.rel_url, headers=headers, data=body or None) as answer:
            kept = {key: value for key, value in answer.headers.items() if key.lower() not in _DROPPED}
            if request.query.get("watch") != "true":
                content = await answer.read()
                if content and (kind or path.startswith("/apis")) and "json" in answer.headers.get("Content-Type", ""):
                    content = orjson.dumps(shown(orjson.loads(content), kind))
                return web.Response(status=answer.status, body=content, headers=kept)
            stream = web.StreamResponse(status=answer.status, headers=kept)
            await stream.prepare(request)
            async for line in answer.content:
                if kind and line.strip():
                    event = orjson.loads(line)
                    line = orjson.dumps({**event, "object": without(event["object"], kind)}) + b"\n"
                await stream.write(line)
            return stream


def newer(path: str) -> bool:
    """Whether v1.30 answers this path with 404."""
    parts = path.strip("/").split("/")
    version = "v1" if parts[0] == "api" else "/".join(parts[1:3])
    if version in GROUP_VERSIONS:
        return True
    matched = _PATH.match(path)
    if matched is None:
        return False
    plural, sub = matched["plural"], matched["sub"]
    return bool({plural, f"{plural}/{sub}"} & RESOURCES.get(version, set()))


def shown(found: dict[str, Any], kind: str) -> dict[str, Any]:
    """An answer as v1.30 gives it: discovery, one object or a list."""
    match found.get("kind"):
        case "APIGroupList":
            return {**found, "groups": [group for group in map(_group, found["groups"]) if group["versions"]]}
        case "APIGroup":
            return _group(found)
        case "APIResourceList":
            hidden = RESOURCES.get(found["groupVersion"], set())
            return {**found, "resources": [entry for entry in found["resources"] if entry["name"] not in hidden
                                           and entry["name"].partition("/")[0] not in hidden]}
    if not kind or found.get("kind") == "Status":
        return found
    if "items" in found:
        return {**found, "items": [without(item, kind) for item in found["items"]]}
    return without(found, kind)


def _group(group: dict[str, Any]) -> dict[str, Any]:
    versions = [version for version in group["versions"] if version["groupVersion"] not in GROUP_VERSIONS]
    return {**group, "versions": versions, "preferredVersion": versions[0] if versions else None}


def without(obj: Any, kind: str) -> Any:
    """The object, or a merge patch of it, without the kind's newer fields."""
    for path in FIELDS.get(kind, ()):
        _drop(obj, path.split("."))
    if kind == "Job":
        return _without_criteria(obj)
    if kind in ("Deployment", "ReplicaSet") and isinstance(obj, dict):
        for path in FIELDS["Pod"]:
            _drop(obj, ["spec", "template", *path.split(".")])
    return obj


def _without_criteria(job: dict[str, Any]) -> dict[str, Any]:
    conditions = (job.get("status") or {}).get("conditions")
    if not conditions or job["spec"].get("successPolicy"):
        return job
    return {**job, "status": {**job["status"], "conditions": [item for item in conditions if item["type"] != "SuccessCriteriaMet"]}}


def _with_criteria(job: dict[str, Any]) -> dict[str, Any]:
    conditions = (job.get("status") or {}).get("conditions") or []
    more = [{**item, "type": "SuccessCriteriaMet"} for item in conditions if item["type"] == "Complete"]
    return {**job, "status": {**job["status"], "conditions": [*more, *conditions]}} if more else job


def _drop(value: Any, path: list[str]) -> None:
    head, *rest = path
    for entry in value if isinstance(value, list) else (value,):
        if not isinstance(entry, dict):
            continue
        if rest:
            _drop(entry.get(head), rest)
        else:
            entry.pop(head, None)


def _invalid(message: str) -> web.Response:
    return web.json_response({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": "Invalid",
                              "message": f"it is invalid: {message}", "code": 422}, status=422)


def repeated(counts: Counter[str], most: int) -> Iterable[str]:
    """What was asked for more often than that."""
    return [f"{path}: {count}" for path, count in counts.items() if count > most]
