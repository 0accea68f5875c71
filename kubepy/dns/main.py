"""`kubepy dns`: flags, sockets, health."""
from __future__ import annotations

import argparse
import asyncio
import contextlib
import socket
from collections.abc import Sequence
from pathlib import Path

from aiohttp import web

from kubepy.base import metrics
from kubepy.base.log import get_logger
from kubepy.base.watched import Files
from kubepy.client import daemon
from kubepy.client.informer import InformerFactory
from kubepy.dns.record import hosts_records
from kubepy.dns.server import Resolver, TcpServer, UdpServer
from kubepy.dns.upstream import Address, Upstream, parse_address, read_resolv_conf
from kubepy.dns.watch import Feed
from kubepy.dns.zone import Zone

log = get_logger("dns")

DESCRIPTION = """\
Answers DNS for the cluster: Services, headless Services and pods under the cluster's domain, after the Kubernetes DNS
specification 1.1.0; everything else is forwarded and cached.

    kubepy dns --kubeconfig dns.conf --listen 192.168.0.10:10053
"""


def main(argv: list[str]) -> int:
    parser = daemon.parser("kube-dns", secure_port=0, description=DESCRIPTION, leader_elect=None)
    parser.prog = "kubepy dns"
    parser.add_argument("--listen", default="", metavar="IP:PORT",
                        help="where to answer, UDP and TCP (default: the node's address, port 10053)")
    parser.add_argument("--cluster-domain", default="cluster.local", metavar="NAME", help="the domain that is ours (default cluster.local)")
    parser.add_argument("--upstream", default="", metavar="IPS", help="resolvers for other names, separated by commas "
                        "(default: those of --resolv-conf)")
    parser.add_argument("--resolv-conf", default="/etc/resolv.conf", metavar="FILE", help="where to read them (default /etc/resolv.conf)")
    parser.add_argument("--stub-domain", action="append", default=[], metavar="NAME=IPS", help="resolvers for the names below a domain")
    parser.add_argument("--hosts", default="", metavar="FILE",
                        help="names and addresses of its own, in the form of /etc/hosts; read again when it changes")
    parser.add_argument("--ttl", type=int, default=30, metavar="S", help="TTL of our records in seconds (default 30)")
    parser.add_argument("--cache-ttl", type=int, default=30, metavar="S", help="longest time others' answers are kept (default 30; 0: not)")
    parser.add_argument("--health-bind-address", default="127.0.0.1:10054", metavar="IP:PORT",
                        help="plain HTTP for /healthz, /ready and /metrics (default 127.0.0.1:10054)")
    return daemon.run("kube-dns", parser.parse_args(argv), _work)


async def _work(process: daemon.Daemon) -> None:
    args = process.args
    zone = Zone(args.cluster_domain, args.ttl)
    host, port = parse_address(args.listen, 10053) if args.listen else (_own_address(), 10053)
    stubs: dict[str, Sequence[Address]] = {name: [parse_address(a) for a in ips.split(",")]
                                           for name, _, ips in (item.partition("=") for item in args.stub_domain)}
    upstream = Upstream(_servers(args, (host, port)), stubs, cache_ttl=args.cache_ttl, clock=process.clock)
    resolver = Resolver(zone, upstream)
    if args.hosts:
        _follow_hosts(args.hosts, zone, process)
    factory = InformerFactory(process.client)
    Feed(zone).register(factory)
    factory.start(process.tasks)
    health = await _serve_health(args.health_bind_address, factory)
    try:
        await factory.wait_synced()
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: UdpServer(resolver, process.tasks), sock=_udp_socket(host, port))
        server = await asyncio.start_server(TcpServer(resolver).serve, host, port, backlog=512)
        log.info("Answering", address=f"{host}:{port}", domain=zone.domain, names=len(zone))
        try:
            await asyncio.Event().wait()
        finally:
            transport.close()
            server.close()
    finally:
        await health.cleanup()


def _follow_hosts(path: str, zone: Zone, process: daemon.Daemon) -> None:
    def load() -> None:
        zone.replace("/hosts", hosts_records(Path(path).read_text()))

    files = Files(process.clock)
    files.follow("hosts", [path], load)
    load()
    process.tasks.keep(files.keep, "hosts")


def _servers(args: argparse.Namespace, own: Address) -> list[Address]:
    if args.upstream:
        return [parse_address(text.strip()) for text in args.upstream.split(",")]
    try:
        found = read_resolv_conf(Path(args.resolv_conf).read_text())
    except OSError as error:
        log.warning("No upstream resolvers", file=args.resolv_conf, err=error)
        return []
    return [address for address in found if address != own]


def _udp_socket(host: str, port: int) -> socket.socket:
    found = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    with contextlib.suppress(OSError):
        found.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    found.setblocking(False)
    found.bind((host, port))
    return found


def _own_address() -> str:
    """The address this machine reaches the world from."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 53))  # nothing is sent: this only asks for the route
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])


async def _serve_health(address: str, factory: InformerFactory) -> web.AppRunner:
    async def healthy(request: web.Request) -> web.Response:
        return web.Response(text="OK")

    async def ready(request: web.Request) -> web.Response:
        return web.Response(text="OK") if factory.synced() else web.Response(status=503, text="kubernetes")

    async def measured(request: web.Request) -> web.Response:
        return web.Response(body=metrics.render(), headers={"Content-Type": metrics.CONTENT_TYPE})

    app = web.Application()
    for path in ("/health", "/healthz", "/livez"):
        app.router.add_get(path, healthy)
    for path in ("/ready", "/readyz"):
        app.router.add_get(path, ready)
    app.router.add_get("/metrics", measured)
    runner = web.AppRunner(app, access_log=None, handle_signals=False)
    await runner.setup()
    host, port = parse_address(address, 10054)
    await web.TCPSite(runner, host, port).start()
    return runner
