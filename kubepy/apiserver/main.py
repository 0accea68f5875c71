"""`kubepy apiserver`: serves the Kubernetes API.

Known differences from kube-apiserver: see the modules; `--workers` is ours.
"""
from __future__ import annotations

import asyncio
import gc
import os
import socket
import sys

import uvloop

from kubepy.apiserver.certificate import ensure_self_signed
from kubepy.apiserver.expiry import keep_looking
from kubepy.apiserver.options import Options, parse
from kubepy.base import log as logs
from kubepy.base.http.server import listen, serve, supervise
from kubepy.base.http.sni import Named
from kubepy.base.http.tls import VERSIONS, ServerTls, openssl_names
from kubepy.base.log import get_logger

log = get_logger("apiserver")


def main(argv: list[str]) -> int:
    gc.disable()  # what starting makes is there to stay: `serve` freezes it and turns the collector on (a tenth of the time to start)
    options = parse(argv)
    logs.configure(options.v, json=options.logging_format == "json")
    if problems := options.check():
        for problem in problems:
            print(f"error: {problem}", file=sys.stderr)
        return 1
    try:
        if not options.tls_cert_file:
            ensure_self_signed(options)
        sockets = listen(options.bind_address, options.secure_port, options.workers)
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if options.workers == 1:
        return _run(options, 0, sockets[0])
    import kubepy.apiserver.app
    import kubepy.apiserver.build  # noqa: F401  # loaded once, shared by all workers
    return supervise(sockets, lambda index, sock: _exit_if_failed(_run(options, index, sock)))


def _exit_if_failed(code: int) -> None:
    if code:
        os._exit(code)


def _run(options: Options, index: int, sock: socket.socket) -> int:
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(options, index, sock))
    except (OSError, ValueError) as error:
        log.error("Cannot start", error)
        return 1
    except KeyboardInterrupt:
        return 0
    return 0


async def _serve(options: Options, index: int, sock: socket.socket) -> None:
    from kubepy.apiserver.app import create_app
    from kubepy.apiserver.build import build
    from kubepy.apiserver.hook import start_hooks

    server = build(options)
    cas = [path for path in dict.fromkeys((options.client_ca_file, options.requestheader_client_ca_file)) if path]
    tls = ServerTls(options.tls_cert_file, options.tls_private_key_file, cas, judge_later=True, minimum=VERSIONS[options.tls_min_version],
                    ciphers=openssl_names(options.tls_cipher_suites), named=[Named.parse(text) for text in options.tls_sni_cert_key],
                    address=options.bind_address)
    server.services.files.follow("serving certificate", tls.files, tls.load)
    server.tasks.keep(server.services.files.keep, "files")
    server.tasks.keep(lambda: keep_looking(options, server.clock), "expiry")
    app = create_app(server)  # before the hooks: it brings some of its own
    start_hooks(server)

    async def stopping() -> None:
        server.closing = True  # /readyz tells load balancers, while requests are still served
        await asyncio.sleep(options.shutdown_delay_duration)
        server.close()
        if server.leaving is not None and options.workers == 1:
            try:
                await asyncio.wait_for(server.leaving(), 2.0)
            except Exception as error:
                log.error("Cannot leave the kubernetes service", error)

    options.gates.publish()
    log.info("Serving securely", address=options.bind_address, port=options.secure_port, worker=index)
    try:
        await serve(app, sock, tls, stopping)
    finally:
        await server.tasks.stop()
        for close in server.stopping:
            await close()
        if server.backend is not None:
            await server.backend.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
