"""`kubepy up`: a whole single-node cluster on this machine, from nothing to a Ready node."""
from __future__ import annotations

import argparse
import asyncio
import dataclasses
from ipaddress import ip_address, ip_network
from pathlib import Path

from kubepy import KUBERNETES_VERSION
from kubepy.api.name import subdomain, wildcard_subdomain
from kubepy.api.resource import NODES
from kubepy.base import gate
from kubepy.base.log import configure
from kubepy.cli import preflight, prepare, supervisor
from kubepy.cli.addons import apply_addons
from kubepy.cli.dns import is_published
from kubepy.cli.join.follow import follow
from kubepy.cli.kubeconfig import merge_admin
from kubepy.cli.progress import Progress
from kubepy.cli.settings import Settings, default_data_dir, default_node_ip, default_node_name, host_port
from kubepy.cli.start import bring_up, command_log, is_alive, start_supervisor
from kubepy.client.http import HttpClient

ROLE_LABEL = "node-role.kubernetes.io/control-plane"
"""What `kubectl get nodes` reads a node's role from. It takes no taint with it: pods run here too."""


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="kubepy up", description="Brings up a Kubernetes cluster with one node on this machine and keeps it running.",
        epilog="`kubepy status` shows what runs, `kubepy down` stops it. Run again at any time: what already runs is left alone.")
    parser.add_argument("--data-dir", type=Path, default=default_data_dir(), help="where everything is kept (default: %(default)s)")
    parser.add_argument("--node-name", help="the node's name (default: this machine's host name)")
    parser.add_argument("--node-ip",
                        help="the node's address, or one for each family, separated by a comma (default: that of the default route)")
    parser.add_argument("--apiserver-cert-extra-sans", dest="cert_extra_sans", metavar="NAMES",
                        help="further names and addresses the API server is reached by, for its certificate, separated by commas; given "
                        "while the cluster runs they take effect at once ('' for none)")
    parser.add_argument("--secure-port", type=int, help="the API server's port (default: 6443)")
    parser.add_argument("--kubelet-port", type=int, help="the kubelet's port (default: 10250)")
    parser.add_argument("--dns-port", type=int, help="the port cluster DNS listens on behind its Service (default: 10053)")
    parser.add_argument("--metrics-port", type=int, help="the metrics server's port (default: 4443)")
    parser.add_argument("--etcd-port", type=int, help="the first of three ports of the cluster's own etcd (default: 2379)")
    parser.add_argument("--service-cidr", help="addresses for Services (default: 10.96.0.0/16)")
    parser.add_argument("--pod-cidr", help="addresses for pods (default: 10.244.0.0/16)")
    parser.add_argument("--load-balancer-pool", help="addresses for services of type LoadBalancer (default: 198.18.0.0/24; '' for none)")
    parser.add_argument("--etcd-servers", help="use these etcd servers (comma-separated URLs) instead of starting one")
    parser.add_argument("--etcd-cafile", help="the authority of the etcd servers given")
    parser.add_argument("--etcd-certfile", help="the client certificate for the etcd servers given")
    parser.add_argument("--etcd-keyfile", help="its key")
    parser.add_argument("--container-runtime-endpoint", dest="runtime_endpoint",
                        help="use this CRI socket instead of starting a containerd")
    parser.add_argument("--network-backend", choices=("host-gw", "vxlan", "none"),
                        help="how pods reach other nodes: routes on a shared network (host-gw, the default), a VXLAN, or an add-on")
    parser.add_argument("--proxy-mode", choices=("iptables", "nftables", "ipvs"),
                        help="how this node makes Services reachable (default: iptables)")
    parser.add_argument("--cgroup-driver", choices=("cgroupfs", "systemd"),
                        help="who makes control groups (default: systemd where it manages cgroup v2, else cgroupfs)")
    parser.add_argument("--kubelet-config", metavar="FILE", help="a KubeletConfiguration with further settings of this node's kubelet")
    parser.add_argument("--mtu", type=int, help="of the pods' interfaces (default: what fits through the node's)")
    parser.add_argument("--dns", action=argparse.BooleanOptionalAction, default=None,
                        help="answer DNS for the cluster (default); --no-dns leaves it to an add-on (deploy/addons/coredns.yaml)")
    parser.add_argument("--ingress", action=argparse.BooleanOptionalAction, default=None,
                        help="serve Ingress objects on this machine's ports 80 and 443 (with nginx; default: not)")
    parser.add_argument("--runtime-config", metavar="VERSIONS",
                        help="API versions to serve beside the default ones: storagemigration.k8s.io/v1beta1=true,…")
    parser.add_argument("--feature-gates", metavar="GATES",
                        help="features of the control plane: StorageVersionMigrator=true,…")
    parser.add_argument("--workers", type=int, help="API server processes (default: 1)")
    parser.add_argument("--kubeconfig", type=Path, help="merge the admin's access into this file (default: $KUBECONFIG or ~/.kube/config)")
    parser.add_argument("-v", dest="verbosity", type=int, help="log verbosity of every part, 0 to 10 (default: 2)")
    return parser


def settings_from(options: argparse.Namespace) -> Settings:
    """The saved settings of this data directory, changed by what was given; raises ValueError for unusable values."""
    saved = Settings.load(options.data_dir) or Settings(data_dir=options.data_dir,
                                                        cgroup_driver=prepare.cgroup_driver(options.runtime_endpoint or ""))
    names = {field.name for field in dataclasses.fields(Settings)} - {"data_dir"}
    given = {name: value for name, value in vars(options).items() if name in names and value is not None}
    settings = dataclasses.replace(saved, **given)
    gate.parse([settings.feature_gates])
    if settings.runtime_config:
        from kubepy.apiserver.served import settings as check_versions  # with every kind of the API: not for a command that needs none

        check_versions(settings.runtime_config.split(","))
    for text in (settings.service_cidr, settings.pod_cidr):
        if len({ip_network(cidr).version for cidr in text.split(",")}) != len(text.split(",")):
            raise ValueError(f"{text}: at most one CIDR for each address family")
    for text in filter(None, settings.cert_extra_sans.split(",")):
        if not _is_address(text) and subdomain(text) and wildcard_subdomain(text):
            raise ValueError(f"{text}: not a valid IP address, DNS label or a DNS label with subdomain wildcards")
    return dataclasses.replace(settings, node_name=settings.node_name or default_node_name(),
                               node_ip=given.get("node_ip") or settings.node_ip or default_node_ip())


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def main(argv: list[str]) -> int:
    options = parser().parse_args(argv)
    progress = Progress()
    try:
        settings = settings_from(options)
    except ValueError as error:
        progress.fail(str(error))
        return 2
    running = supervisor.running_pid(settings)
    if preflight.refuse(settings, progress, running=running is not None or is_alive(settings)):
        return 1
    with progress, command_log(settings) as stream:
        configure(settings.verbosity, stream=stream)  # what this command logs belongs in a file: the terminal shows progress
        settings.save()
        if running is None:
            settings = follow(settings)
        prepare.prepare_files(settings, progress)
        if running is None:
            start_supervisor(settings)
        try:
            return asyncio.run(_bring_up(settings, progress, options.kubeconfig))
        except KeyboardInterrupt:
            progress.warn("Interrupted; the cluster goes on starting in the background (kubepy status, kubepy down)")
            return 130


async def _bring_up(settings: Settings, progress: Progress, kubeconfig: Path | None) -> int:
    if settings.role == "node":
        return await bring_up(settings, progress, _nothing, f"\nThis node belongs to the cluster at {settings.server} again")

    async def connected(client: HttpClient) -> None:
        await apply_addons(client, settings)
        merge_admin(settings, kubeconfig, progress)

    async def registered(client: HttpClient) -> None:
        await client.patch(NODES, settings.node_name, {"metadata": {"labels": {ROLE_LABEL: ""}}}, type="merge")

    async def complete(client: HttpClient) -> None:
        progress.doing("Waiting for cluster DNS to be found")
        if settings.dns and not await is_published(client, settings.node_name):
            progress.warn(f"cluster DNS of this node is no endpoint of the Service kube-dns yet: pods cannot resolve names "
                          f"({settings.log_dir}/controller-manager.log)")

    return await bring_up(settings, progress, connected, (
        f"\nKubernetes {KUBERNETES_VERSION} is up at https://{host_port(settings.address, settings.secure_port)}\n"
        "  kubectl get nodes              the cluster, with any kubectl\n"
        "  kubepy status                  what runs, and how it fares\n"
        "  kubepy token create            how another machine joins\n"
        "  kubepy down                    stop everything; the data stays\n"
        f"  {settings.log_dir}    the logs"), registered=registered, complete=complete)


async def _nothing(client: HttpClient) -> None:
    return None
