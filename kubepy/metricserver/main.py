"""`kubepy metrics-server`: flags, informers, scraping, serving."""
from __future__ import annotations

import argparse
import asyncio
import socket
import sys
from dataclasses import replace
from pathlib import Path

from aiohttp import web

from kubepy.api.resource import NODES, PODS
from kubepy.api.types import Object
from kubepy.base.flag import add_boolean, add_duration, comma_list
from kubepy.base.log import get_logger
from kubepy.client import daemon
from kubepy.client.delegated import Delegated
from kubepy.client.informer import InformerFactory
from kubepy.client.kubeconfig import Config, find
from kubepy.client.serving import ServingTls
from kubepy.metricserver.access import Access, FrontProxy
from kubepy.metricserver.sample import Window
from kubepy.metricserver.scrape import Scraper
from kubepy.metricserver.server import MetricsApi

log = get_logger("metrics-server")

DESCRIPTION = """\
Serves what nodes and pods use just now as metrics.k8s.io, for kubectl top and autoscalers. The API server forwards to it
once an APIService v1beta1.metrics.k8s.io names its service.

    kubepy metrics-server --kubeconfig metrics-server.kubeconfig --secure-port 4443
"""


def parser() -> argparse.ArgumentParser:
    result = daemon.parser("metrics-server", secure_port=4443, description=DESCRIPTION, leader_elect=None)
    group = result.add_argument_group("kubelets")
    add_duration(group, "--metric-resolution", "15s", "time between two rounds")
    add_duration(group, "--kubelet-request-timeout", "10s", "longest wait for one kubelet")
    add_boolean(group, "--kubelet-insecure-tls", False, "do not verify kubelets' certificates (tests only)")
    group.add_argument("--kubelet-certificate-authority", default="", metavar="FILE",
                       help="CA of kubelets' certificates (default: the kubeconfig's)")
    group.add_argument("--kubelet-preferred-address-types", type=comma_list, metavar="TYPES", help="which address of a node is used "
                       "(default Hostname,InternalDNS,InternalIP,ExternalDNS,ExternalIP)",
                       default=["Hostname", "InternalDNS", "InternalIP", "ExternalDNS", "ExternalIP"])
    add_boolean(group, "--kubelet-use-node-status-port", False, "use the port in the node's status")
    group.add_argument("--kubelet-port", type=int, default=10250, metavar="PORT", help="the port otherwise (default 10250)")
    return result


def main(argv: list[str]) -> int:
    args = parser().parse_args(argv)
    port, args.secure_port = args.secure_port, 0  # one server does it all: the API, health and metrics

    async def work(process: daemon.Daemon) -> None:
        await _work(process, port)

    return daemon.run("metrics-server", args, work)


async def _work(process: daemon.Daemon, port: int) -> None:
    args, client, clock = process.args, process.client, process.clock
    informers = InformerFactory(client, clock=clock, transform=_slim)
    nodes, pods = informers.informer(NODES).lister, informers.informer(PODS).lister
    window = Window()
    scraper = Scraper(_kubelet_config(args), nodes, window, clock, resolution=args.metric_resolution,
                      timeout=args.kubelet_request_timeout, preferred=args.kubelet_preferred_address_types,
                      use_status_port=args.kubelet_use_node_status_port, port=args.kubelet_port)
    tls = ServingTls(args.tls_cert_file, args.tls_private_key_file, _read(args.client_ca_file), socket.gethostname())
    proxy = FrontProxy()
    access = Access(Delegated(client, client, clock, tuple(args.authorization_always_allow_paths)), proxy)
    process.health.ready["informer-sync"] = informers.synced
    process.health.ready["metric-storage-ready"] = lambda: window.filled
    process.health.live["metric-collection-timely"] = lambda: (
        scraper.last < 0 or clock.monotonic() - scraper.last < 3 * args.metric_resolution + args.kubelet_request_timeout)
    runner = web.AppRunner(MetricsApi(nodes, pods, window, access, process.health, informers.synced).app(), access_log=None,
                           handle_signals=False)
    informers.start(process.tasks)
    try:
        await runner.setup()
        process.tasks.keep(lambda: proxy.learn(client, tls, clock), "front-proxy")
        process.tasks.start(tls.keep_current(), "tls")
        await web.TCPSite(runner, args.bind_address, port, ssl_context=tls.context).start()
        log.info("Serving", address=f"{args.bind_address}:{port}")
        await informers.wait_synced()
        process.tasks.keep(scraper.run, "scrape")
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()
        await scraper.close()


def _read(path: str) -> bytes:
    return Path(path).read_bytes() if path else b""


def _kubelet_config(args: argparse.Namespace) -> Config:
    """Our identity at the API server is shown to kubelets too."""
    config = find(args.kubeconfig, server=args.master)
    if args.kubelet_certificate_authority:
        config = replace(config, ca_data=b"", ca_file=args.kubelet_certificate_authority)
    return replace(config, insecure=True, ca_data=b"", ca_file="") if args.kubelet_insecure_tls else replace(config, server_name="")


def _slim(obj: Object) -> Object:
    """Only what is used: thousands of pods are kept for their labels and nodes."""
    metadata = {key: value for key, value in obj["metadata"].items() if key in ("name", "namespace", "labels", "uid", "resourceVersion")}
    status = obj.get("status") or {}
    return {"metadata": metadata, "spec": {"nodeName": obj["spec"].get("nodeName", "")}, "status": {
        key: status[key] for key in ("phase", "addresses", "daemonEndpoints") if key in status}}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
