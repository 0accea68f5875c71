"""The kubelet's HTTP API as one ASGI application."""
from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import orjson
from prometheus_client import generate_latest

from kubepy import KUBERNETES_VERSION
from kubepy.base import metrics, slis, zpage
from kubepy.base.clock import Clock, format_time
from kubepy.base.http.cycle import Receive, Scope, Send
from kubepy.base.log import get_logger
from kubepy.kubelet import metric
from kubepy.kubelet.configuration import document_of
from kubepy.kubelet.cri import runtime_pb2 as pb
from kubepy.kubelet.cri.interface import CriError, Runtime
from kubepy.kubelet.pod.manager import Pods
from kubepy.kubelet.pod.observed import RUNNING, ContainerView
from kubepy.kubelet.pod.worker import Worker
from kubepy.kubelet.server import files, nodelog
from kubepy.kubelet.server.access import Access
from kubepy.kubelet.server.log import OptionsError, options_of, read_log
from kubepy.kubelet.server.stat import Statistics
from kubepy.kubelet.server.stream import join
from kubepy.kubelet.settings import Settings
from kubepy.kubelet.volume import localpath

log = get_logger("server")
_LOGS = Path("/var/log")
_TEXT = "text/plain; charset=utf-8"


class Refused(Exception):
    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code, self.text = code, text


class App:
    """`access` None lets everyone in: the read-only port, which serves only what is not secret, and tests."""

    def __init__(self, settings: Settings, pods: Pods, runtime: Runtime, statistics: Statistics, clock: Clock, access: Access | None, *,
                 read_only: bool = False) -> None:
        self._settings = settings
        self._pods = pods
        self._runtime = runtime
        self._statistics = statistics
        self._clock = clock
        self._access = access
        self._read_only = read_only
        self._local_volumes = localpath.LocalVolumes()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            if self._access is not None:
                authorization = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"authorization"), "")
                problem = await self._access.check(scope["method"], scope["path"], scope["client_chain"], authorization)
                if problem is not None:
                    raise Refused(*problem)
            await self._route(scope, send)
        except Refused as refused:
            await _answer(send, refused.code, refused.text.encode())
        except CriError as error:
            await _answer(send, 404 if error.not_found else 500, error.go().encode())

    async def _route(self, scope: Scope, send: Send) -> None:
        method, path = scope["method"], scope["path"].rstrip("/") or "/"
        parts = path.strip("/").split("/")
        query = parse_qs(scope["query_string"].decode(), keep_blank_values=True)
        match parts:
            case ["healthz"] | ["healthz", "ping" | "log" | "syncloop"]:
                for name in parts[1:] or ("ping", "log", "syncloop"):
                    slis.observe(name, "healthz", True)
                await _answer(send, 200, b"ok")
            case ["pods"]:
                items = [_shown(pod, self._pods) for pod in self._pods.all()]
                await _json(send, {"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items})
            case ["metrics"]:
                await _answer(send, 200, metrics.render(), metrics.CONTENT_TYPE)
            case ["metrics", "slis"]:
                await _answer(send, 200, slis.render(), metrics.CONTENT_TYPE)
            case ["metrics", "resource"]:
                await _answer(send, 200, (await self._statistics.resource_metrics()).encode(), metrics.CONTENT_TYPE)
            case ["metrics", "cadvisor"]:
                await _answer(send, 200, (await self._statistics.cadvisor_metrics()).encode(), metrics.CONTENT_TYPE)
            case ["metrics", "probes"]:
                await _answer(send, 200, generate_latest(metric.PROBE_REGISTRY), metrics.CONTENT_TYPE)
            case ["stats", "summary"]:
                await _json(send, await self._statistics.summary())
            case _ if self._read_only:
                raise Refused(404, "404 page not found\n")
            case ["configz"]:
                await _json(send, {"kubeletconfig": document_of(self._settings)})
            case ["statusz" | "flagz" as page]:
                await self._zpage(scope, send, page)
            case ["localVolumes", name] if method == "DELETE":
                await self._remove_local_volume(send, name, query)
            case _ if not self._settings.debugging_handlers:
                raise Refused(405, "Debug endpoints are disabled.\n")
            case ["logs", *rest] if method in ("GET", "HEAD"):
                await self._node_logs(send, rest, query, directory=scope["path"].endswith("/"))
            case ["runningpods"]:
                await self._running_pods(send)
            case ["containerLogs", namespace, name, container] if method in ("GET", "HEAD"):
                await self._logs(send, namespace, name, container, query)
            case ["exec", namespace, name, container] | ["exec", namespace, name, _, container]:
                await self._exec(scope, namespace, name, container, query)
            case ["attach", namespace, name, container] | ["attach", namespace, name, _, container]:
                await self._attach(scope, namespace, name, container, query)
            case ["portForward", namespace, name] | ["portForward", namespace, name, _]:
                await self._port_forward(scope, namespace, name, query)
            case ["run", namespace, name, container] if method == "POST":
                await self._run(send, namespace, name, container, query)
            case ["checkpoint", namespace, name, container] if method == "POST":
                await self._checkpoint(send, namespace, name, container, query)
            case _:
                raise Refused(404, "404 page not found\n")

    async def _zpage(self, scope: Scope, send: Send, page: str) -> None:
        accept = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"accept"), "")
        if page == "statusz":
            paths = ("/configz", "/healthz", "/metrics", "/pods")
            code, kind, body = zpage.statusz("kubelet", KUBERNETES_VERSION[1:], paths, accept, self._clock.now())
        else:
            flags = {one.name: getattr(self._settings, one.name) for one in fields(self._settings)}
            code, kind, body = zpage.flagz("kubelet", flags, accept)
        await _answer(send, code, body, kind)

    # --- logs ---

    async def _logs(self, send: Send, namespace: str, name: str, container: str, query: Mapping[str, list[str]]) -> None:
        worker = self._worker(namespace, name, code=404)
        try:
            options = options_of(dict(query), self._clock.now())
        except OptionsError as error:
            raise Refused(400, str(error)) from error
        view = await self._log_instance(worker, name, container, previous=options.previous)
        path = f"{worker_log_directory(self._pods, worker)}/{container}/{view.attempt}.log"

        async def running() -> bool:
            try:
                status = (await self._runtime.container_status(view.id)).status
            except CriError:
                return False
            return status.state == pb.CONTAINER_RUNNING

        started = False
        try:
            async for piece in read_log(path, options, running, self._clock):
                if not started:
                    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
                    started = True
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        except FileNotFoundError as error:
            raise Refused(500, f'failed to try resolving symlinks in path "{path}": lstat {path}: no such file or directory') from error
        if not started:
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
        await send({"type": "http.response.body", "body": b""})

    async def _log_instance(self, worker: Worker, name: str, container: str, *, previous: bool) -> ContainerView:
        assert self._pods.shared is not None
        view = await self._pods.shared.actor.observer.observe(worker.uid)
        instances = view.instances(container)
        where = f'container "{container}" in pod "{name}"'
        if previous:
            last = ((self._entry(worker, container).get("lastState") or {}).get("terminated") or {}).get("containerID", "")
            found = next((instance for instance in instances if last.endswith(f"//{instance.id}")), None)
            if found is None:
                raise Refused(400, f"previous terminated {where} not found")
            return found
        if not instances:
            reason, known = self._waiting(worker, container), self._known(worker, container)
            if not known:
                raise Refused(400, f"{where} is not available")
            text = {"ErrImagePull": "trying and failing to pull image", "ImagePullBackOff": "image can't be pulled"}.get(reason, reason)
            raise Refused(400, f"{where} is waiting to start: {text or 'ContainerCreating'}")
        return instances[0]

    def _entry(self, worker: Worker, container: str) -> dict[str, Any]:
        assert self._pods.shared is not None
        status = self._pods.shared.reporter.status(worker.uid) or {}
        every = [entry for key in ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses")
                 for entry in status.get(key, ())]
        return next((entry for entry in every if entry["name"] == container), {})

    def _known(self, worker: Worker, container: str) -> bool:
        return bool(self._entry(worker, container))

    def _waiting(self, worker: Worker, container: str) -> str:
        return str(((self._entry(worker, container).get("state") or {}).get("waiting") or {}).get("reason") or "")

    async def _node_logs(self, send: Send, parts: list[str], query: Mapping[str, list[str]], *, directory: bool) -> None:
        if not self._settings.system_log_handler:
            raise Refused(405, "logs endpoint is disabled.\n")
        try:
            wanted = nodelog.query_of(query) if self._settings.system_log_query else None
        except nodelog.QueryError as error:
            raise Refused(error.code, f"{error}\n") from error
        if wanted is not None:
            if parts:
                raise Refused(406, "path not allowed in query mode\n")
            if wanted.services:
                await _pieces(send, nodelog.read(wanted, _LOGS), _TEXT)
                return
            parts, directory = [part for part in wanted.files[0].replace("\\", "/").split("/") if part] if wanted.files else [], True
        await _files(send, parts, directory=directory)

    # --- streams ---

    async def _exec(self, scope: Scope, namespace: str, name: str, container: str, query: Mapping[str, list[str]]) -> None:
        view = await self._running(namespace, name, container)
        streams = _streams(query)
        request = pb.ExecRequest(container_id=view.id, cmd=query.get("command") or [], **streams)
        if not request.cmd:
            raise Refused(400, "you must specify at least one command")
        _check_streams(streams)
        await self._join(scope, await self._runtime.exec(request))

    async def _attach(self, scope: Scope, namespace: str, name: str, container: str, query: Mapping[str, list[str]]) -> None:
        view = await self._running(namespace, name, container)
        streams = _streams(query)
        _check_streams(streams)
        await self._join(scope, await self._runtime.attach(pb.AttachRequest(container_id=view.id, **streams)))

    async def _port_forward(self, scope: Scope, namespace: str, name: str, query: Mapping[str, list[str]]) -> None:
        worker = self._worker(namespace, name, code=404)
        assert self._pods.shared is not None
        sandbox = (await self._pods.shared.actor.observer.observe(worker.uid)).sandbox
        if sandbox is None or not sandbox.ready:
            raise Refused(500, f"failed to find sandbox for pod {name}_{namespace}")
        ports = [int(port) for text in [*query.get("port", ()), *query.get("ports", ())] for port in text.split(",") if port.isdigit()]
        url = await self._runtime.port_forward(pb.PortForwardRequest(pod_sandbox_id=sandbox.id, port=ports))
        await self._join(scope, url, query="&".join(f"port={port}" for port in ports))

    async def _join(self, scope: Scope, url: str, query: str = "") -> None:
        if not scope["upgrade"]:
            raise Refused(400, "Upgrade request required")
        try:
            await join(scope, url, query=query)
        except OSError as error:
            raise Refused(502, f"cannot reach the runtime's streaming server: {error}") from error

    async def _run(self, send: Send, namespace: str, name: str, container: str, query: Mapping[str, list[str]]) -> None:
        view = await self._running(namespace, name, container)
        command = (query.get("cmd") or [""])[0].split(" ")
        done = await self._runtime.exec_sync(view.id, command, 0)
        await _answer(send, 200 if done.exit_code == 0 else 500, done.stdout + done.stderr)

    async def _checkpoint(self, send: Send, namespace: str, name: str, container: str, query: Mapping[str, list[str]]) -> None:
        view = await self._running(namespace, name, container)
        text = (query.get("timeout") or ["0"])[-1]
        try:
            timeout = int(text)
        except ValueError as error:
            raise Refused(404, "cannot parse value of timeout parameter") from error
        directory = Path(self._settings.root_dir, "checkpoints")
        await asyncio.to_thread(directory.mkdir, mode=0o700, parents=True, exist_ok=True)
        path = str(directory / f"checkpoint-{name}_{namespace}-{container}-{format_time(self._clock.now())}.tar")
        try:
            await self._runtime.checkpoint(view.id, path, timeout)
        except CriError as error:
            raise Refused(500, f"checkpointing of {namespace}/{name}/{container} failed ({error.go()})") from error
        await _json(send, {"items": [path]})

    async def _remove_local_volume(self, send: Send, name: str, query: Mapping[str, list[str]]) -> None:
        """Ours: upstream's kubelet leaves it to a pod of the provisioner's."""
        assert self._pods.shared is not None
        try:
            removed = await self._local_volumes.remove(name, (query.get("path") or [""])[0], self._pods.shared.volumes.every_path())
        except localpath.NotAllowed as error:
            raise Refused(400, str(error)) from error
        except localpath.InUse as error:
            raise Refused(409, str(error)) from error
        except OSError as error:
            raise Refused(500, str(error)) from error
        log.info("Local volume removed", volume=name, found=removed)
        await _json(send, {"removed": removed})

    # --- finding ---

    def _worker(self, namespace: str, name: str, *, code: int) -> Worker:
        worker = self._pods.find(namespace, name)
        if worker is None:
            raise Refused(code, f'pod "{name}" does not exist' if code == 400 else f"pod {name}_{namespace} not found")
        return worker

    async def _running(self, namespace: str, name: str, container: str) -> ContainerView:
        worker = self._worker(namespace, name, code=404)
        assert self._pods.shared is not None
        view = (await self._pods.shared.actor.observer.observe(worker.uid)).newest(container)
        if view is None or view.state != RUNNING:
            raise Refused(404 if view is None else 500, f"container not found (\"{container}\")")
        return view

    async def _running_pods(self, send: Send) -> None:
        by_pod: dict[str, dict[str, Any]] = {}
        for sandbox in await self._runtime.list_sandboxes():
            if sandbox.state == pb.SANDBOX_READY:
                by_pod[sandbox.id] = {"metadata": {"name": sandbox.metadata.name, "namespace": sandbox.metadata.namespace,
                                                   "uid": sandbox.metadata.uid}, "spec": {"containers": []}, "status": {}}
        for container in await self._runtime.list_containers():
            if container.state == pb.CONTAINER_RUNNING and container.pod_sandbox_id in by_pod:
                by_pod[container.pod_sandbox_id]["spec"]["containers"].append(
                    {"name": container.metadata.name, "image": container.image_ref, "resources": {}})
        await _json(send, {"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": list(by_pod.values())})


def worker_log_directory(pods: Pods, worker: Worker) -> str:
    assert pods.shared is not None
    return str(pods.shared.actor.log_directory(worker.pod))


def _shown(pod: dict[str, Any], pods: Pods) -> dict[str, Any]:
    assert pods.shared is not None
    status = pods.shared.reporter.status(pod["metadata"]["uid"])
    return {**pod, "status": status} if status is not None else pod


def _streams(query: Mapping[str, list[str]]) -> dict[str, bool]:
    """Both spellings: the kubelet's own (`input`, `output`, `error`) and the API server's (`stdin`, `stdout`, `stderr`)."""
    def on(*names: str) -> bool:
        return any(query[name][0].lower() in ("1", "true") for name in names if query.get(name))

    tty = on("tty")
    return {"stdin": on("input", "stdin"), "stdout": on("output", "stdout"), "stderr": on("error", "stderr") and not tty, "tty": tty}


def _check_streams(streams: Mapping[str, bool]) -> None:
    if not (streams["stdin"] or streams["stdout"] or streams["stderr"]):
        raise Refused(400, "you must specify at least 1 of stdin, stdout, stderr")


async def _files(send: Send, parts: list[str], *, directory: bool) -> None:
    try:
        path = await asyncio.to_thread(files.find, _LOGS, parts)
    except files.NoSuchFile as error:
        raise Refused(404, "404 page not found\n") from error
    if path.is_dir():
        if not directory:
            await send({"type": "http.response.start", "status": 301, "headers": [(b"location", f"{(parts or ['logs'])[-1]}/".encode())]})
            await send({"type": "http.response.body", "body": b""})
            return
        await _answer(send, 200, await asyncio.to_thread(files.listing, path), "text/html; charset=utf-8")
        return
    await _pieces(send, files.content(path), files.kind_of(path))


async def _pieces(send: Send, pieces: AsyncIterator[bytes], content_type: str) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", content_type.encode())]})
    async for piece in pieces:
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def _json(send: Send, value: Any) -> None:
    await _answer(send, 200, orjson.dumps(value), "application/json")


async def _answer(send: Send, code: int, body: bytes, content_type: str = _TEXT) -> None:
    await send({"type": "http.response.start", "status": code, "headers": [(b"content-type", content_type.encode())]})
    await send({"type": "http.response.body", "body": body})
