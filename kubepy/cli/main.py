"""The `kubepy` command: finds the subcommand and hands it the rest of the line. Each is imported only when it is called."""
from __future__ import annotations

import importlib
import sys

from kubepy import KUBERNETES_VERSION, __version__

COMMANDS: dict[str, tuple[str, str]] = {
    "up": ("kubepy.cli.up", "bring up a cluster with one node on this machine, and keep it running"),
    "status": ("kubepy.cli.status", "say what runs here, with PIDs, health and versions"),
    "down": ("kubepy.cli.down", "stop it; with --purge remove every trace"),
    "explain-scheduling": ("kubepy.cli.explain", "say why a pod fits on a node or does not"),
    "token": ("kubepy.cli.token", "make, list and delete the tokens with which machines join"),
    "join": ("kubepy.cli.join.command", "make this machine a node of a cluster that runs elsewhere"),
    "node": ("kubepy.cli.reset", "node doctor: what is wrong with this machine; node reset: take it out of its cluster"),
    "apiserver": ("kubepy.apiserver.main", "the API server (flags as kube-apiserver)"),
    "scheduler": ("kubepy.scheduler.main", "the scheduler (flags as kube-scheduler)"),
    "controller-manager": ("kubepy.controllers.main", "the controllers (flags as kube-controller-manager)"),
    "kubelet": ("kubepy.kubelet.main", "the node agent (flags as kubelet)"),
    "proxy": ("kubepy.proxy.main", "the service proxy (flags as kube-proxy)"),
    "dns": ("kubepy.dns.main", "cluster DNS"),
    "ingress": ("kubepy.ingress.main", "serve Ingress objects with nginx"),
    "metrics-server": ("kubepy.metricserver.main", "resource use of nodes and pods, for kubectl top and autoscalers"),
    "local-path": ("kubepy.controllers.localpath.main", "local-path volumes of this node, where no controller manager runs"),
    "certs": ("kubepy.cli.certs", "say when certificates end, and renew them"),
    "cis": ("kubepy.cli.cis.command", "hold the running cluster against the CIS Kubernetes Benchmark"),
    "supervise": ("kubepy.cli.supervise", "run the parts of a prepared cluster in the foreground (for a service manager)"),
}


def main(argv: list[str] | None = None) -> int:
    arguments = sys.argv[1:] if argv is None else argv
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(usage())
        return 0
    if arguments[0] in ("--version", "version"):
        print(f"kubepy {__version__} (Kubernetes {KUBERNETES_VERSION})")
        return 0
    name, *rest = arguments
    if name not in COMMANDS:
        print(f'kubepy: unknown command "{name}"\n\n{usage()}', file=sys.stderr)
        return 2
    module = importlib.import_module(COMMANDS[name][0])
    return int(module.main(rest))


def usage() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:{width}}  {text}" for name, (_, text) in COMMANDS.items()]
    return "\n".join(["A Kubernetes control plane and node agent in Python.", "", "Usage: kubepy COMMAND [flags]", "", *lines, "",
                      "`kubepy COMMAND --help` explains a command's flags."])


if __name__ == "__main__":
    sys.exit(main())
