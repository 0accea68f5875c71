"""`kubepy join`: makes this machine a node of a cluster that runs elsewhere."""
from __future__ import annotations

import argparse
import asyncio
import dataclasses
import sys
from pathlib import Path

from kubepy.api.errors import ApiError, NotFound
from kubepy.api.resource import CONFIGMAPS, NODES
from kubepy.base.clock import SystemClock
from kubepy.base.log import configure
from kubepy.cli import preflight, prepare, supervisor
from kubepy.cli.join import discovery, identity
from kubepy.cli.join.discovery import ClusterInfo, NotYet, Untrusted
from kubepy.cli.join.grant import CONFIG_NAME, shared_settings
from kubepy.cli.join.request import RequestRefused, obtain
from kubepy.cli.join.token import Token, parse
from kubepy.cli.pki.issue import write_file
from kubepy.cli.progress import Progress
from kubepy.cli.settings import Settings, default_data_dir, default_node_ip, default_node_name
from kubepy.cli.start import bring_up, command_log, is_alive, is_ready, start_supervisor
from kubepy.client.http import HttpClient
from kubepy.client.kubeconfig import Config
from kubepy.kubelet.certificate.bootstrap import bootstrap
from kubepy.kubelet.certificate.request import RequestRefused as KubeletRefused

DISCOVERY_TIMEOUT = 60.0
"""Seconds: a token is signed for within one or two of its making."""
CERTIFICATE_TIMEOUT, SERVING_TIMEOUT = 120.0, 30.0


def parser() -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(
        prog="kubepy join", description="Makes this machine a node of a cluster: asks it for certificates, starts containerd, kubelet, "
        "proxy and cluster DNS, and keeps them running.",
        epilog="`kubepy token create` on the control plane prints the whole command. `kubepy node reset` undoes it.")
    result.add_argument("endpoint", metavar="HOST[:PORT]", help="the API server (port 6443 unless given)")
    result.add_argument("--token", required=True, help="a bootstrap token, or @FILE to read it from a file")
    result.add_argument("--ca-hash", "--discovery-token-ca-cert-hash", dest="pins", action="append", required=True, metavar="sha256:HEX",
                        help="hash of the public key of the cluster's CA; may be repeated")
    result.add_argument("--data-dir", type=Path, default=default_data_dir(), help="where everything is kept (default: %(default)s)")
    result.add_argument("--node-name", help="the node's name (default: this machine's host name)")
    result.add_argument("--node-ip", help="the node's address (default: that of the default route)")
    result.add_argument("--kubelet-port", type=int, default=10250, help="the kubelet's port (default: 10250)")
    result.add_argument("--container-runtime-endpoint", dest="runtime_endpoint", default="",
                        help="use this CRI socket instead of starting a containerd")
    result.add_argument("--proxy-mode", choices=("iptables", "nftables", "ipvs"), default="iptables",
                        help="how this node makes Services reachable (default: iptables)")
    result.add_argument("--cgroup-driver", choices=("cgroupfs", "systemd"),
                        help="who makes control groups (default: systemd where it manages cgroup v2, else cgroupfs)")
    result.add_argument("--kubelet-config", metavar="FILE", default="",
                        help="a KubeletConfiguration with further settings of this node's kubelet")
    result.add_argument("--mtu", type=int, default=0, help="of the pods' interfaces (default: what fits through the node's)")
    result.add_argument("-v", dest="verbosity", type=int, default=2, help="log verbosity of every part, 0 to 10 (default: 2)")
    return result


def main(argv: list[str]) -> int:
    options = parser().parse_args(argv)
    progress = Progress()
    try:
        token = parse(Path(options.token[1:]).read_text().strip() if options.token.startswith("@") else options.token)
        discovery.check_pins(options.pins)
        endpoint = discovery.parse_endpoint(options.endpoint)
        saved = Settings.load(options.data_dir)
        if saved is not None:
            raise ValueError(f"{options.data_dir} already belongs to a cluster ({saved.server}); `kubepy up` starts it again, "
                             f"`kubepy {'node reset' if saved.role == 'node' else 'down --purge'}` removes it")
    except (OSError, ValueError) as error:
        progress.fail(str(error))
        return 2
    settings = Settings(
        data_dir=options.data_dir, role="node", node_name=options.node_name or default_node_name(),
        node_ip=options.node_ip or default_node_ip(), kubelet_port=options.kubelet_port, runtime_endpoint=options.runtime_endpoint,
        mtu=options.mtu, proxy_mode=options.proxy_mode, verbosity=options.verbosity,
        kubelet_config=options.kubelet_config, cgroup_driver=options.cgroup_driver or prepare.cgroup_driver(options.runtime_endpoint))
    if preflight.refuse(settings, progress, running=supervisor.running_pid(settings) is not None or is_alive(settings)):
        return 1
    with progress, command_log(settings) as stream:
        configure(settings.verbosity, stream=stream)
        try:
            return asyncio.run(_join(settings, endpoint, token, options.pins, progress))
        except (Untrusted, NotYet, RequestRefused, KubeletRefused, ApiError, ConnectionError, TimeoutError, ValueError) as error:
            progress.fail(f"this machine has not joined: {error or 'the cluster did not answer in time'}")
            return 1
        except KeyboardInterrupt:
            print("Interrupted", file=sys.stderr)
            return 130


async def _join(settings: Settings, endpoint: str, token: Token, pins: list[str], progress: Progress) -> int:
    progress.doing(f"Asking {endpoint} for the cluster")
    info = await discovery.discover(endpoint, token, pins, asyncio.get_running_loop().time() + DISCOVERY_TIMEOUT,
                                    lambda why: progress.doing(f"Asking {endpoint} for the cluster: {why}"))
    progress.done(f"the cluster at {info.server} is the one meant", "signature and CA are right")
    settings = await _obtain(settings, info, token, progress)
    if preflight.refuse(settings, progress, running=False):  # again: now it is known what the cluster wants here
        return 1
    prepare.prepare_files(settings, progress)
    settings.save()  # last: until everything is there, `kubepy join` may be repeated
    start_supervisor(settings)

    async def connected(client: HttpClient) -> None:
        return None

    async def registered(client: HttpClient) -> None:
        progress.doing("Waiting for the kubelet's serving certificate")  # which it asks for itself
        deadline = asyncio.get_running_loop().time() + SERVING_TIMEOUT
        while not identity.serves(settings):
            if asyncio.get_running_loop().time() > deadline:
                progress.warn("the kubelet's request for a serving certificate is not approved yet (kubectl get csr): until then logs and "
                              "exec do not work here")
                return
            await asyncio.sleep(0.3)
        progress.done("kubelet's serving certificate")

    return await bring_up(settings, progress, connected, (
        f"\nThis node has joined the cluster at {settings.server}\n"
        "  kubectl get nodes              shows it, on the control plane\n"
        "  kubepy status                  what runs here\n"
        "  kubepy down                    stop it; `kubepy up` starts it again\n"
        "  kubepy node reset              leave the cluster and remove every trace"), registered=registered)


async def _obtain(settings: Settings, info: ClusterInfo, token: Token, progress: Progress) -> Settings:
    """What the token gets from the cluster: its settings and the node's certificates."""
    client = HttpClient(Config(server=info.server, ca_data=info.ca, token=str(token)), user_agent="kubepy-join")
    try:
        shared = shared_settings(await client.get(CONFIGMAPS, CONFIG_NAME, "kube-system"))
        settings = dataclasses.replace(settings, api_server=info.server, **shared)  # type: ignore[arg-type]
        try:
            node = await client.get(NODES, settings.node_name)
        except NotFound:
            node = {}
        if node and is_ready(node):
            raise ValueError(f'a Node with name "{settings.node_name}" and status "Ready" already exists in the cluster: '
                             "delete it, or give another --node-name")
        prepare.prepare_directories(settings)
        settings.pki_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_file(settings.pki_dir / "ca.crt", info.ca, 0o644)
        progress.doing("Waiting for certificates")
        trusted = Config(server=info.server, ca_file=str(settings.pki_dir / "ca.crt"))
        async with asyncio.timeout(CERTIFICATE_TIMEOUT):
            await bootstrap(client, trusted, node_name=settings.node_name, kubeconfig=str(settings.kubeconfig("kubelet")),
                            directory=identity.kubelet_directory(settings), clock=SystemClock(), patient=False)
        await asyncio.gather(*(obtain(client, who, identity.pair(settings, name)) for name, who in identity.wanted(settings)))
        identity.write_access(settings)
        progress.done("client certificates and kubeconfigs", str(settings.pki_dir))
        return settings
    finally:
        await client.close()
