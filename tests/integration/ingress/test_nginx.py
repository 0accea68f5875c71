"""A real nginx, configured from objects of a client in memory: what clients get for hosts, paths, TLS, reloads and crashes."""
from __future__ import annotations

import asyncio
import base64
import os
import shutil
import signal
import socket
import ssl
from contextlib import suppress

import aiohttp
import pytest
from aiohttp import web

from kubepy.api.resource import ENDPOINT_SLICES, INGRESS_CLASSES, INGRESSES, SECRETS, SERVICES
from kubepy.base.task import Tasks
from kubepy.client.informer import InformerFactory
from kubepy.client.memory import MemoryClient
from kubepy.client.serving import self_signed
from kubepy.ingress.nginx import Options
from kubepy.ingress.plan import CONTROLLER
from kubepy.ingress.process import Nginx
from kubepy.ingress.state import State
from kubepy.ingress.sync import Syncer
from tests import leftover
from tests.etcd import free_port

pytestmark = pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed")


class Recorder:
    def __init__(self):
        self.events = []

    def event(self, about, type, reason, message, *, field_path=""):
        self.events.append((about["metadata"]["name"], reason, message))


async def eventually(what, check, seconds=90):
    async with asyncio.timeout(seconds):
        while not (value := await check()):  # noqa: ASYNC110 - what is waited for happens in another process
            await asyncio.sleep(0.05)
        return value


async def upstream(name, runners):
    """A pod: answers with its name and what it was asked, and echoes WebSocket messages."""

    async def answer(request):
        if request.headers.get("Upgrade", "").lower() == "websocket":
            socket = web.WebSocketResponse()
            await socket.prepare(request)
            async for message in socket:
                await socket.send_str(f"{name}:{message.data}")
            return socket
        seen = {key: request.headers.get(key, "") for key in ("Host", "X-Forwarded-Proto", "X-Forwarded-For")}
        return web.json_response({"pod": name, "path": request.path, **seen})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, handle_signals=False)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    runners.append(runner)
    return runner.addresses[0][1]


def slice_of(service, *ports):
    return {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"name": f"{service}-{port}", "namespace": "default", "labels": {"kubernetes.io/service-name": service}},
            "ports": [{"name": "", "port": port}], "endpoints": [{"addresses": ["127.0.0.1"], "conditions": {"ready": True}}]} \
        if (port := ports[0]) else {}


class World:
    """Objects, nginx and what it answers."""

    def __init__(self, directory):
        self.client, self.recorder = MemoryClient(), Recorder()
        self.options = Options(directory, free_port(), free_port(), user="www-data" if os.geteuid() == 0 else "", ipv6=False)
        self.tasks, self.runners = Tasks("test"), []

    def start(self):
        self.nginx = Nginx(self.options, self_signed("default.test"))
        factory = InformerFactory(self.client)
        self.syncer = Syncer(self.client, factory, self.nginx, self.recorder, [{"ip": "192.0.2.9"}], 0.05)
        factory.start(self.tasks)
        self.tasks.keep(self.nginx.run, "nginx")
        self.tasks.keep(self.syncer.run, "sync")

    async def service(self, name, *ports):
        self.client.load(SERVICES, {"metadata": {"name": name, "namespace": "default"}, "spec": {"ports": [{"port": 80}]}})
        for port in ports:
            self.client.load(ENDPOINT_SLICES, slice_of(name, port))

    def ingress(self, name, host, *paths, **spec):
        self.client.load(INGRESSES, {
            "metadata": {"name": name, "namespace": "default"}, "spec": {"ingressClassName": "ours", "rules": [
                {"host": host, "http": {"paths": [{"path": path, "pathType": kind, "backend": {"service": {
                    "name": service, "port": {"number": 80}}}} for path, kind, service in paths]}}], **spec}})

    async def get(self, host, path, *, tls=False, server_name=None):
        """Status and answer: the pod's JSON, or text."""
        port = self.options.https_port if tls else self.options.http_port
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        async with (aiohttp.ClientSession() as session,
                    session.get(f"{'https' if tls else 'http'}://127.0.0.1:{port}{path}", headers={"Host": host}, ssl=context,
                                server_hostname=server_name or host if tls else None, allow_redirects=False) as answer):
            with suppress(aiohttp.ContentTypeError):
                return answer.status, await answer.json()
            return answer.status, await answer.text()

    async def pod(self, host, path, **options):
        with suppress(aiohttp.ClientError):
            status, answer = await self.get(host, path, **options)
            return answer["pod"] if status == 200 else status
        return None

    async def answers(self, host, path, pod, **options):
        async def check():
            return await self.pod(host, path, **options) == pod
        await eventually(f"{host}{path} answers {pod}", check)


@pytest.fixture
async def world():
    directory = leftover.directory("ingress")
    found = World(directory)
    found.client.load(INGRESS_CLASSES, {"metadata": {"name": "ours"}, "spec": {"controller": CONTROLLER}})
    for name in ("one", "two"):
        await found.service(name, await upstream(name, found.runners))
    found.start()
    yield found
    await found.tasks.stop()
    await found.nginx.stop()
    for runner in found.runners:
        await runner.cleanup()
    shutil.rmtree(directory, ignore_errors=True)


async def test_hosts_and_paths(world):
    world.ingress("a", "a.test", ("/", "Prefix", "one"), ("/foo", "Prefix", "two"), ("/bar", "Exact", "two"))
    world.ingress("w", "*.w.test", ("/", "ImplementationSpecific", "two"))
    await world.answers("x.w.test", "/", "two")
    for host, path, pod in (("a.test", "/", "one"), ("A.test", "/x", "one"), ("a.test", "/foo", "two"), ("a.test", "/foo/", "two"),
                            ("a.test", "/foo/x?y=1", "two"), ("a.test", "/foobar", "one"), ("a.test", "/bar", "two"),
                            ("a.test", "/bar/", "one"), ("x.y.w.test", "/", 404), ("w.test", "/", 404), ("b.test", "/", 404)):
        assert await world.pod(host, path) == pod, (host, path)
    status, seen = await world.get("a.test:80", "/foo/bar")
    assert (status, seen["path"], seen["Host"], seen["X-Forwarded-Proto"]) == (200, "/foo/bar", "a.test:80", "http")
    assert (await world.get("b.test", "/"))[1] == "default backend - 404"

    async def published():
        return all(item.get("status") == {"loadBalancer": {"ingress": [{"ip": "192.0.2.9"}]}} for item in world.client.all(INGRESSES))
    await eventually("the addresses are published", published)


async def test_certificates(world):
    pem = self_signed("a.test")
    world.client.load(SECRETS, {"metadata": {"name": "cert", "namespace": "default"}, "type": "kubernetes.io/tls", "data": {
        "tls.crt": base64.b64encode(pem).decode(), "tls.key": base64.b64encode(pem).decode()}})
    world.ingress("a", "a.test", ("/", "Prefix", "one"), tls=[{"hosts": ["a.test"], "secretName": "cert"}])
    world.ingress("b", "b.test", ("/", "Prefix", "two"), tls=[{"hosts": ["b.test"], "secretName": "missing"}])
    await world.answers("a.test", "/", "one", tls=True)
    assert (await world.get("a.test", "/"))[0] == 308

    def presented(name):
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with (socket.create_connection(("127.0.0.1", world.options.https_port), 5) as plain,
              context.wrap_socket(plain, server_hostname=name) as secured):
            return secured.getpeercert(binary_form=True)

    assert await asyncio.to_thread(presented, "a.test") == ssl.PEM_cert_to_DER_cert(pem.decode().split("-----BEGIN PRIVATE")[0])
    assert await asyncio.to_thread(presented, "b.test") == await asyncio.to_thread(presented, "unknown.test")
    told = 'secret "default/missing" does not exist; the default certificate is served'
    assert ("b", "CertificateUnusable", told) in world.recorder.events
    assert oct((world.options.directory / "tls" / "default_cert.pem").stat().st_mode & 0o777) == "0o600"


async def test_websockets_pass(world):
    world.ingress("a", "a.test", ("/", "Prefix", "one"))
    await world.answers("a.test", "/", "one")
    async with (aiohttp.ClientSession() as session,
                session.ws_connect(f"http://127.0.0.1:{world.options.http_port}/ws", headers={"Host": "a.test"}) as connection):
        await connection.send_str("hello")
        assert (await connection.receive(timeout=10)).data == "one:hello"


async def test_changes_drop_no_request(world):
    world.ingress("a", "a.test", ("/", "Prefix", "one"))
    await world.answers("a.test", "/", "one")
    results, stop = [], asyncio.Event()

    async def ask():
        while not stop.is_set():
            results.append((await world.get("a.test", "/"))[0])

    askers = [asyncio.create_task(ask()) for _ in range(4)]
    for number in range(10):
        world.ingress(f"extra-{number}", f"extra-{number}.test", ("/", "Prefix", "two"))
        await world.answers(f"extra-{number}.test", "/", "two")
    stop.set()
    await asyncio.gather(*askers)
    assert set(results) == {200}


async def test_a_service_without_endpoints_answers_503_until_it_has_some(world):
    await world.service("late")
    world.ingress("a", "a.test", ("/", "Prefix", "late"))
    await world.answers("a.test", "/", 503)
    world.client.load(ENDPOINT_SLICES, slice_of("late", await upstream("late", world.runners)))
    await world.answers("a.test", "/", "late")


async def test_a_killed_nginx_is_started_again_and_a_running_one_taken_over(world):
    world.ingress("a", "a.test", ("/", "Prefix", "one"))
    await world.answers("a.test", "/", "one")
    pid_file = world.options.directory / "nginx.pid"
    first = int(pid_file.read_text())
    os.kill(first, signal.SIGKILL)  # its workers live on and hold the ports

    async def another():
        return pid_file.exists() and pid_file.read_text().strip() not in ("", str(first)) and world.nginx.running
    await eventually("another master runs", another)
    await world.answers("a.test", "/", "one")

    second = int(pid_file.read_text())
    await world.tasks.stop()  # as when this process is killed: nginx is left alone
    world.ingress("b", "b.test", ("/", "Prefix", "two"))
    world.start()
    await world.answers("b.test", "/", "two")
    assert int(pid_file.read_text()) == second


async def test_a_configuration_that_nginx_refuses_leaves_the_old_one(world):
    world.ingress("a", "a.test", ("/", "Prefix", "one"))
    await world.answers("a.test", "/", "one")
    before = (world.options.directory / "nginx.conf").read_text()
    broken = Nginx(Options(world.options.directory, world.options.http_port, world.options.https_port, user="no-such-user"), b"")
    with pytest.raises(Exception, match="no-such-user"):
        await broken.apply(State())
    assert (world.options.directory / "nginx.conf").read_text() == before
    assert await world.pod("a.test", "/") == "one"
