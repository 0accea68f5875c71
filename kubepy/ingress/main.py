"""`kubepy ingress`: flags, nginx, the sync loop."""
from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import socket
import sys
from ipaddress import ip_address
from pathlib import Path

from kubepy.base.flag import add_boolean, add_duration, comma_list
from kubepy.client import daemon
from kubepy.client.events import EventRecorder
from kubepy.client.informer import InformerFactory
from kubepy.client.serving import self_signed
from kubepy.ingress.nginx import Options
from kubepy.ingress.plan import CONTROLLER
from kubepy.ingress.process import Nginx
from kubepy.ingress.sync import Syncer

DESCRIPTION = f"""\
Serves Ingress objects with nginx (apt-get install nginx-light): hosts, paths, TLS secrets, default backends. It answers for every
IngressClass whose controller is {CONTROLLER} and must reach the pods' addresses, so it runs on a node.

    kubepy ingress --kubeconfig ingress.conf --publish-status-address 192.0.2.10
"""


def main(argv: list[str]) -> int:
    args = _parser().parse_args(argv)
    if shutil.which(args.nginx) is None:
        print(f"kubepy ingress: {args.nginx} is not installed; apt-get install nginx-light, or name the program with --nginx",
              file=sys.stderr)
        return 1
    return daemon.run("kubepy-ingress", args, _work)


def _parser() -> argparse.ArgumentParser:
    parser = daemon.parser("kubepy-ingress", secure_port=10254, description=DESCRIPTION, leader_elect=None)
    parser.prog = "kubepy ingress"
    own = parser.add_argument_group("ingress")
    own.add_argument("--http-port", type=int, default=80, metavar="PORT", help="port for plain requests (default 80)")
    own.add_argument("--https-port", type=int, default=443, metavar="PORT", help="port for TLS (default 443)")
    own.add_argument("--publish-status-address", type=comma_list, default=[], metavar="ADDRESSES",
                     help="IP addresses or host names for the Ingresses' status")
    add_boolean(own, "--ssl-redirect", True, "send plain requests for hosts with TLS to https")
    own.add_argument("--max-body-size", default="1m", metavar="SIZE", help="longest request body, as nginx writes it; 0: any (default 1m)")
    own.add_argument("--default-ssl-certificate", default="", metavar="FILE",
                     help="PEM file with the chain and key for hosts without their own (default: one made at start)")
    add_duration(own, "--sync-rate-limit", "300ms", "least time between two reloads")
    own.add_argument("--work-dir", type=Path, default=Path("/run/kubepy-ingress"), metavar="DIR",
                     help="for nginx' configuration and temporary files (default %(default)s)")
    own.add_argument("--nginx", default="nginx", metavar="PROGRAM", help="the program to run (default nginx)")
    return parser


async def _work(process: daemon.Daemon) -> None:
    args = process.args
    own = args.default_ssl_certificate
    certificate = await asyncio.to_thread(Path(own).read_bytes) if own else self_signed("ingress.local")
    options = Options(args.work_dir, args.http_port, args.https_port, redirect=args.ssl_redirect, body_limit=args.max_body_size,
                      user="www-data" if os.geteuid() == 0 else "", ipv6=_has_ipv6())
    nginx = Nginx(options, certificate, args.nginx)
    recorder = EventRecorder(process.client, "kubepy-ingress", socket.gethostname())
    recorder.start(process.tasks)
    factory = InformerFactory(process.client)
    syncer = Syncer(process.client, factory, nginx, recorder, [published(text) for text in args.publish_status_address],
                    args.sync_rate_limit)
    process.health.ready["nginx"] = lambda: syncer.synced
    factory.start(process.tasks)
    process.tasks.keep(nginx.run, "nginx")
    try:
        await syncer.run()
    finally:
        await nginx.stop()


def published(text: str) -> dict[str, str]:
    """One entry of a load balancer's status."""
    try:
        return {"ip": str(ip_address(text))}
    except ValueError:
        return {"hostname": text}


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::", 0))
    except OSError:
        return False
    return True
