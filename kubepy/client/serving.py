"""What every component serves over TLS, to those who may ask: health, /metrics, /metrics/slis, /configz, /statusz, /flagz."""
from __future__ import annotations

import asyncio
import datetime
import os
import ssl
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from kubepy import KUBERNETES_VERSION
from kubepy.api.errors import ApiError
from kubepy.base import metrics, slis, zpage
from kubepy.base.http.sni import Named, choose, names_of, order
from kubepy.base.http.tls import STRONG
from kubepy.base.log import get_logger
from kubepy.client.delegated import ANONYMOUS, Delegated, from_certificate

log = get_logger("serving")

Check = Callable[[], bool]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
RELOAD_INTERVAL = 60.0
PATHS = ("/configz", "/healthz", "/livez", "/metrics", "/readyz")


@dataclass(slots=True)
class Health:
    """Named checks; `live` ones fail /livez and /healthz too, `ready` ones only /readyz."""

    live: dict[str, Check] = field(default_factory=dict)
    ready: dict[str, Check] = field(default_factory=dict)

    def report(self, endpoint: str, verbose: bool, exclude: frozenset[str] = frozenset()) -> tuple[int, str]:
        """Status code and text, in upstream's form."""
        checks: dict[str, Check] = {"ping": lambda: True, **self.live, **(self.ready if endpoint == "readyz" else {})}
        results = {name: check() for name, check in checks.items() if name not in exclude}
        for name, good in results.items():
            slis.observe(name, endpoint, good)
        if all(results.values()) and not verbose:
            return 200, "ok"
        lines = [f"[+]{name} ok" if good else f"[-]{name} failed: reason withheld" for name, good in results.items()]
        passed = all(results.values())
        return 200 if passed else 500, "\n".join([*lines, f"{endpoint} check {'passed' if passed else 'failed'}"]) + "\n"


class HealthServer:
    """`delegated` None (plain HTTP on loopback, tests) lets everyone in. `extra` adds paths, guarded like /metrics."""

    def __init__(self, health: Health, delegated: Delegated | None, configz: Callable[[], dict[str, Any]],
                 extra: Mapping[str, Handler] | None = None, *, name: str = "", flags: Mapping[str, Any] | None = None) -> None:
        self._name, self._flags = name, flags or {}
        self._health, self._delegated, self._configz = health, delegated, configz
        self._extra = dict(extra or {})
        self._runner: web.AppRunner | None = None

    async def start(self, host: str, port: int, context: ssl.SSLContext | None, *, shared: bool = False) -> int:
        """Listens (port 0: any free one) and returns the port. Raises OSError when the address is taken and not `shared`."""
        app = web.Application(middlewares=[self._guard])
        for name in ("healthz", "livez", "readyz"):
            app.router.add_get(f"/{name}", self._answer_health)
            app.router.add_get(f"/{name}/{{check}}", self._answer_check)
        app.router.add_get("/metrics", self._answer_metrics)
        app.router.add_get("/metrics/slis", answer_slis)
        app.router.add_get("/configz", self._answer_configz)
        for path, handler in {**zpages(self._name, self._flags, PATHS), **self._extra}.items():
            app.router.add_route("*", path, handler)
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False)
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port, ssl_context=context, reuse_port=shared or None).start()
        return int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if self._delegated is not None and not self._delegated.open_to_all(request.path):
            peer = request.transport.get_extra_info("peercert") if request.transport else None
            try:
                caller = await self._delegated.authenticate(request.headers.get("Authorization", ""), peer)
            except (ApiError, ConnectionError) as error:
                log.warning("Cannot review a token", err=error)
                caller = from_certificate(peer)
            if caller is None:
                return web.Response(status=401, text="Unauthorized")
            verb = request.method.lower()
            if not await self._delegated.allowed(caller, verb, path=request.path):
                name = caller.name if caller is not ANONYMOUS else "system:anonymous"
                return web.Response(status=403, text=f'forbidden: User "{name}" cannot {verb} path "{request.path}"')
        return await handler(request)

    async def _answer_health(self, request: web.Request) -> web.Response:
        exclude = frozenset(request.query.getall("exclude", []))
        code, text = self._health.report(request.path.strip("/"), "verbose" in request.query, exclude)
        return web.Response(status=code, text=text)

    async def _answer_check(self, request: web.Request) -> web.Response:
        checks: dict[str, Check] = {"ping": lambda: True, **self._health.live, **self._health.ready}
        check = checks.get(request.match_info["check"])
        if check is None:
            return web.Response(status=404, text="404 page not found\n")
        return web.Response(text="ok") if check() else web.Response(status=500, text="internal server error: reason withheld\n")

    async def _answer_metrics(self, request: web.Request) -> web.Response:
        return web.Response(body=metrics.render(), headers={"Content-Type": metrics.CONTENT_TYPE})

    async def _answer_configz(self, request: web.Request) -> web.Response:
        return web.Response(body=orjson.dumps(self._configz(), default=str), content_type="application/json")


def zpages(name: str, flags: Mapping[str, Any], paths: Sequence[str]) -> dict[str, Handler]:
    """Handlers of /statusz, which names `paths`, and /flagz."""

    async def answer_statusz(request: web.Request) -> web.Response:
        return _response(zpage.statusz(name, KUBERNETES_VERSION[1:], paths, request.headers.get("Accept", ""), time.time()))

    async def answer_flagz(request: web.Request) -> web.Response:
        return _response(zpage.flagz(name, flags, request.headers.get("Accept", "")))

    return {"/statusz": answer_statusz, "/flagz": answer_flagz}


def _response(answer: zpage.Answer) -> web.Response:
    status, kind, body = answer
    return web.Response(status=status, body=body, headers={"Content-Type": kind})


async def answer_slis(request: web.Request) -> web.Response:
    return web.Response(body=slis.render(), headers={"Content-Type": metrics.CONTENT_TYPE})


def _context(minimum: ssl.TLSVersion, ciphers: Sequence[str]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = minimum
    context.set_ciphers(":".join(ciphers) or STRONG)
    context.set_alpn_protocols(["http/1.1"])
    return context


class ServingTls:
    """A server's TLS context from files that may be replaced while it runs, or from a certificate made on the spot."""

    def __init__(self, cert_file: str, key_file: str, client_ca: bytes, name: str, *,
                 minimum: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2, ciphers: Sequence[str] = (), named: Sequence[Named] = ()) -> None:
        self._cert, self._key, self._named = cert_file, key_file, tuple(named)
        self.context, *self._others = [_context(minimum, ciphers) for _ in range(1 + len(named))]
        for context, one in zip(self._others, named, strict=True):
            context.load_cert_chain(one.certificate, one.key)
        self._names = order([(one.names, names_of(Path(one.certificate).read_bytes())) for one in named])
        if named:
            self.context.sni_callback = self._choose
        if client_ca:
            self.trust(client_ca)
        if cert_file:
            self._stamp = self._stamps()
            self.context.load_cert_chain(cert_file, key_file or None)
        else:
            _load_pem(self.context, self_signed(name))

    def trust(self, client_ca: bytes) -> None:
        """Asks clients for a certificate and accepts those of this CA."""
        for context in (self.context, *self._others):
            context.load_verify_locations(cadata=client_ca.decode())
            context.verify_mode = ssl.CERT_OPTIONAL

    def _choose(self, channel: ssl.SSLSocket | ssl.SSLObject, asked: str | None, context: ssl.SSLContext) -> None:
        if (place := choose(self._names, asked or "")) is not None:
            channel.context = self._others[place]

    async def keep_current(self) -> None:
        """Loads the files again when they change; new connections use them."""
        while self._cert:
            await asyncio.sleep(RELOAD_INTERVAL)
            try:
                stamp = self._stamps()
                if stamp != self._stamp:
                    self.context.load_cert_chain(self._cert, self._key or None)
                    self._stamp = stamp
                    log.info("Serving certificate loaded again", file=self._cert)
            except (OSError, ssl.SSLError) as error:
                log.warning("Cannot load the serving certificate again; the old one stays", file=self._cert, err=error)

    def _stamps(self) -> tuple[int, ...]:
        return tuple(Path(path).stat().st_mtime_ns for path in (self._cert, self._key) if path)


def self_signed(name: str, days: int = 365) -> bytes:
    """A certificate for `name` and localhost and its key, as PEM, when none is given (as upstream does)."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{name}@{int(datetime.datetime.now(datetime.UTC).timestamp())}")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5)).not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name), x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return certificate.public_bytes(serialization.Encoding.PEM) + private


def _load_pem(context: ssl.SSLContext, pem: bytes) -> None:
    handle, path = tempfile.mkstemp(prefix="kubepy-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(pem)
        context.load_cert_chain(path)
    finally:
        os.unlink(path)
