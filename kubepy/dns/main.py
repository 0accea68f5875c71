"""`kubepy dns`: flags, sockets, start and end."""
from __future__ import annotations

import argparse
import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from kubepy.base.clock import Clock
from kubepy.base.flag import add_duration
from kubepy.base.log import get_logger
from kubepy.base.task import Tasks
from kubepy.base.watched import Files
from kubepy.client import daemon
from kubepy.client.informer import InformerFactory
from kubepy.dns.health import serve_health
from kubepy.dns.kept import Kept
from kubepy.dns.record import hosts_records
from kubepy.dns.server import Resolver, TcpServer, UdpServer
from kubepy.dns.upstream import Address, Upstream, parse_address, read_resolv_conf
from kubepy.dns.watch import Feed
from kubepy.dns.zone import Zone

log = get_logger("dns")

PATIENCE = 3.0
"""Seconds the API server gets to answer before we begin with the names that were kept."""
HANDED_OVER = 1.0
"""Seconds from when we are no endpoint any more until the proxies know."""

DESCRIPTION = """\
Answers DNS for the cluster: Services, headless Services and pods under the cluster's domain, after the Kubernetes DNS
specification 1.1.0; everything else is forwarded and cached. `kubepy up` and `kubepy join` run one on each node, behind
the Service kube-dns; pods prefer their own node's.

    kubepy dns --kubeconfig dns.conf --listen 192.168.0.10:10053
    dig @192.168.0.10 -p 10053 web.default.svc.cluster.local
    dig @192.168.0.10 -p 10053 id.server CH TXT                    which node's DNS this is
    dig @192.168.0.10 -p 10053 dns-version.cluster.local TXT       the specification it follows
"""


def main(argv: list[str]) -> int:
    parser = daemon.parser("kube-dns", secure_port=0, description=DESCRIPTION, leader_elect=None)
    parser.prog = "kubepy dns"
    own = parser.add_argument_group("answers")
    own.add_argument("--listen", default="", metavar="IP:PORT",
                     help="where to answer, UDP and TCP (default: the node's address, port 10053)")
    own.add_argument("--cluster-domain", default="cluster.local", metavar="NAME", help="the domain that is ours (default cluster.local)")
    own.add_argument("--ttl", type=int, default=30, metavar="S", help="TTL of our records in seconds (default 30)")
    own.add_argument("--hosts", default="", metavar="FILE",
                     help="names and addresses of its own, in the form of /etc/hosts; read again when it changes")
    own.add_argument("--hostname-override", default="", metavar="NAME",
                     help="the node it runs on, which it names to those who ask for id.server (default: this machine's host name)")
    others = parser.add_argument_group("other names")
    others.add_argument("--upstream", default="", metavar="IPS", help="resolvers for other names, separated by commas "
                        "(default: those of --resolv-conf)")
    others.add_argument("--resolv-conf", default="/etc/resolv.conf", metavar="FILE", help="where to read them (default /etc/resolv.conf)")
    others.add_argument("--stub-domain", action="append", default=[], metavar="NAME=IPS",
                        help="resolvers for the names below a domain; may be repeated, the longest domain counts")
    others.add_argument("--cache-ttl", type=int, default=30, metavar="S", help="longest time others' answers are kept (default 30; 0: not)")
    life = parser.add_argument_group("start and end")
    life.add_argument("--state-file", default="", metavar="FILE", help="where the cluster's names are kept: after a start while the API "
                      "server is away they are answered as they were (default: nowhere, it is waited for)")
    add_duration(life, "--lameduck", "5s", "how long it goes on answering after SIGTERM, at most, until the cluster has noticed that it is "
                 "not to be asked any more; at once where no other node's DNS is ready")
    life.add_argument("--health-bind-address", default="127.0.0.1:10054", metavar="IP:PORT",
                      help="plain HTTP for /health, /ready and /metrics (default 127.0.0.1:10054)")
    args = parser.parse_args(argv)
    try:
        _stubs(args.stub_domain)
        _listen(args.listen)
    except ValueError as error:
        parser.error(str(error))
    return daemon.run("kube-dns", args, _work)


@dataclass(slots=True)
class _State:
    """What keeps it from being ready; "" when nothing does."""

    problem: str = "kubernetes"


async def _work(process: daemon.Daemon) -> None:
    args, clock = process.args, process.clock
    zone, state = Zone(args.cluster_domain, args.ttl), _State()
    host, port = _listen(args.listen)
    node = args.hostname_override or socket.gethostname().lower()
    upstream = Upstream(_servers(args, (host, port)), _stubs(args.stub_domain), cache_ttl=args.cache_ttl, clock=clock)
    resolver, feed, kept = Resolver(zone, upstream, node), Feed(zone), Kept(args.state_file, zone, clock)
    tasks = Tasks("dns", clock)  # of our own: they live until the last question is answered
    factory = InformerFactory(process.client)
    feed.register(factory)
    health = await serve_health(args.health_bind_address, lambda: state.problem)
    try:
        if args.hosts:
            _follow_hosts(args.hosts, zone, clock, tasks)
        factory.start(tasks)
        await _wait_for_names(factory, feed, kept, tasks)
        async with _serving(resolver, host, port, tasks):
            state.problem = ""
            log.info("Answering", address=f"{host}:{port}", domain=zone.domain, names=len(zone), node=node)
            try:
                await asyncio.Event().wait()
            finally:
                state.problem, resolver.stopping = "stopping", True
                await _lame_duck(feed, node, args.lameduck, clock)
    finally:
        if factory.synced():
            await kept.save()
        await tasks.stop()
        await health.cleanup()


async def _wait_for_names(factory: InformerFactory, feed: Feed, kept: Kept, tasks: Tasks) -> None:
    """Returns when there is something to answer with: the API server's, or after a while what was kept."""
    known, away = kept.load(), False

    async def settle() -> None:
        await factory.wait_synced()
        feed.settle()
        if away:
            log.info("The API server is back: the names are its again")
        await kept.keep()

    try:
        async with asyncio.timeout(PATIENCE if known else None):
            await factory.wait_synced()
    except TimeoutError:
        away = True
        log.warning("The API server is away: answering with the names that were kept", seconds_old=round(kept.age or 0))
    tasks.keep(settle, "names")


@contextlib.asynccontextmanager
async def _serving(resolver: Resolver, host: str, port: int, tasks: Tasks) -> AsyncIterator[None]:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: UdpServer(resolver, tasks), sock=_udp_socket(host, port))
    server = await asyncio.start_server(TcpServer(resolver).serve, host, port, backlog=512)
    try:
        yield
    finally:
        transport.close()
        server.close()


async def _lame_duck(feed: Feed, node: str, seconds: float, clock: Clock) -> None:
    """Answers on until nobody asks here any more: while other nodes' DNS is ready to take over, and ours has not been taken out yet."""
    until = clock.monotonic() + seconds
    while (left := until - clock.monotonic()) > 0 and (ready := feed.servers()) - {node}:
        if node not in ready:
            await clock.sleep(min(left, HANDED_OVER))
            return
        await clock.sleep(min(left, 0.1))


def _follow_hosts(path: str, zone: Zone, clock: Clock, tasks: Tasks) -> None:
    def load() -> None:
        zone.replace("/hosts", hosts_records(Path(path).read_text()))

    files = Files(clock)
    files.follow("hosts", [path], load)
    load()
    tasks.keep(files.keep, "hosts")


def _listen(text: str) -> Address:
    """Raises ValueError."""
    return parse_address(text, 10053) if text else (_own_address(), 10053)


def _stubs(items: Sequence[str]) -> dict[str, Sequence[Address]]:
    """Raises ValueError."""
    found: dict[str, Sequence[Address]] = {}
    for item in items:
        name, _, ips = item.partition("=")
        if not name or not ips:
            raise ValueError(f"--stub-domain {item!r} is not of the form NAME=IP,IP")
        found[name] = [parse_address(text.strip()) for text in ips.split(",")]
    return found


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
