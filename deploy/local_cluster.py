"""A cluster of N nodes on this machine, each a network namespace with its own containerd, kubelet and proxy (as `kind` has containers).

    deploy/local-cluster up --nodes 3           the first node holds the control plane, the others join with a token
    deploy/local-cluster kubectl get nodes
    deploy/local-cluster shell 2                a shell in the second node's network
    deploy/local-cluster up --nodes namespace,vm*2    two nodes with a kernel of their own (Debian's user-mode-linux), or ssh:root@HOST
    deploy/local-cluster down

The nodes' links meet on a bridge in a namespace of its own, so this machine's rules, ports and addresses stay as they are; with
--reach this machine gets the address 198.51.100.1 on it, and reaches the API server, NodePorts and (with a route) pods. Only the
standard library is used here: the cluster itself is made by `kubepy up`, `kubepy token create` and `kubepy join`.
"""
from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from deploy.node import NETWORK, Failed, Node, environment, ip, kinds, make

__all__ = ["Failed", "LocalCluster", "Node"]
STATE = Path("/var/lib/kubepy-local")
NAME = re.compile(r"[a-z0-9]{1,8}")


class LocalCluster:
    """`name` is at most eight letters and digits; everything is under `directory`. `nodes`: how many namespaces, or the nodes' kinds.
    `heard` is told of every command and what it printed."""

    def __init__(self, name: str, nodes: int | Sequence[str], directory: Path, *,
                 heard: Callable[[str, str], None] = lambda command, output: None) -> None:
        wanted = ["namespace"] * nodes if isinstance(nodes, int) else list(nodes)
        if not NAME.fullmatch(name):
            raise ValueError(f"the name {name!r} is not of one to eight lower-case letters and digits")
        if not 1 <= len(wanted) <= 100:
            raise ValueError("there can be 1 to 100 nodes")
        self.name, self.kinds = name, wanted
        self.directory = directory
        self.heard = heard
        if wanted[0] != "namespace":
            raise ValueError("the first node, which holds the control plane, is a namespace")
        self.nodes = [make(self, number, kind) for number, kind in enumerate(wanted, 1)]
        self.switch = f"kubepy-{name}-net"
        self.kubeconfig = directory / "kubeconfig"

    def environment(self) -> dict[str, str]:
        return environment(self, {"KUBECONFIG": str(self.kubeconfig), "HOME": str(self.directory)})

    # --- the network ---

    def create(self, *, reach: bool = False) -> None:
        """A bridge in a namespace of its own, and the nodes on it."""
        self.directory.mkdir(parents=True, exist_ok=True)
        (self.directory / "nodes").write_text("\n".join(self.kinds))
        ip("netns", "add", self.switch)
        ip("-n", self.switch, "link", "add", "br0", "type", "bridge")
        ip("-n", self.switch, "link", "set", "br0", "up")
        with ThreadPoolExecutor(len(self.nodes)) as pool:
            list(pool.map(lambda node: node.create(), self.nodes))
        if reach:
            outside = f"kp-{self.name}"
            ip("link", "add", outside, "type", "veth", "peer", "name", "host", "netns", self.switch)
            ip("-n", self.switch, "link", "set", "host", "master", "br0", "up")
            ip("address", "add", f"{NETWORK}.1/24", "dev", outside)
            ip("link", "set", outside, "up")

    # --- the nodes ---

    def up(self, *flags: str) -> None:
        """The first node by `kubepy up` with these flags, the others by `kubepy join`, at the same time."""
        first = self.nodes[0]
        print(first.kubepy("up", *self.flags(first), f"--kubeconfig={self.kubeconfig}", *flags), flush=True)
        if len(self.nodes) > 1:
            words = self.invitation()
            with ThreadPoolExecutor(len(self.nodes)) as pool:
                for output in pool.map(lambda node: node.kubepy("join", *words, *self.flags(node), timeout=400), self.nodes[1:]):
                    print(output, flush=True)

    def invitation(self) -> list[str]:
        """What `kubepy join` needs: the address, a token, the hash of the CA."""
        return self.nodes[0].kubepy("token", "create", f"--data-dir={self.nodes[0].data}").split()[2:]

    def join(self, node: Node, *flags: str) -> str:
        return node.kubepy("join", *self.invitation(), *self.flags(node), *flags, timeout=400)

    def flags(self, node: Node) -> list[str]:
        return [f"--data-dir={node.data}", f"--node-name={node.name}", f"--node-ip={node.address}"]

    def kubectl(self, *arguments: str, **options: Any) -> str:
        return self.nodes[0].run("kubectl", *arguments, **options)

    def import_image(self, archive: bytes) -> None:
        """Gives an image archive to every node, as `kind load` does."""
        for node in self.nodes:
            node.import_image(archive)

    def logs(self, lines: int = 40) -> str:
        """The ends of every part's log on every node."""
        return "\n".join(node.logs(lines) for node in self.nodes)

    def down(self) -> None:
        """Stops and removes everything, all nodes at once; what is already gone is no error."""
        def stop(node: Node) -> str:
            if not (node.lasting and node.exists):
                return ""
            command = ["down", "--purge", f"--kubeconfig={self.kubeconfig}"] if node.number == 1 else ["node", "reset"]
            return node.kubepy(*command, f"--data-dir={node.data}", check=False)

        with ThreadPoolExecutor(len(self.nodes)) as pool:
            for output in pool.map(stop, self.nodes):
                print(output, end="", flush=True)
        for node in self.nodes:
            node.remove()
        subprocess.run(["ip", "netns", "delete", self.switch], check=False, capture_output=True)
        subprocess.run(["ip", "link", "delete", f"kp-{self.name}"], check=False, capture_output=True)
        shutil.rmtree(self.directory, ignore_errors=True)


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="deploy/local-cluster", formatter_class=argparse.RawDescriptionHelpFormatter, description=__doc__)
    parser.add_argument("--name", default="local", help="at most eight letters and digits (default: local)")
    actions = parser.add_subparsers(dest="action", required=True)
    up = actions.add_parser("up", help="make the cluster; further flags go to `kubepy up`")
    up.add_argument("--nodes", type=kinds, default=["namespace"] * 2, metavar="N|KINDS", help="how many (default: 2), or each one's kind "
                    "by commas: namespace, vm (a virtual machine), systemd (one with that), ssh:TARGET; kind*N for several")
    up.add_argument("--reach", action="store_true", help=f"give this machine the address {NETWORK}.1 on the nodes' network")
    actions.add_parser("down", help="remove it and every trace of it")
    load = actions.add_parser("load", help="give an image archive (docker save) to every node")
    load.add_argument("archive", type=Path)
    kubectl = actions.add_parser("kubectl", help="kubectl with this cluster's administrator")
    kubectl.add_argument("arguments", nargs=argparse.REMAINDER)
    shell = actions.add_parser("shell", help="a shell, or a command, on a node")
    shell.add_argument("number", type=int)
    shell.add_argument("arguments", nargs=argparse.REMAINDER)
    options, flags = parser.parse_known_args(argv)
    directory = STATE / options.name
    saved = directory / "nodes"
    wanted = options.nodes if options.action == "up" else saved.read_text().split() if saved.exists() else ["namespace"]
    try:
        cluster = LocalCluster(options.name, wanted, directory)
        if options.action == "up":
            if directory.exists():
                raise ValueError(f"the cluster {options.name} is there already; deploy/local-cluster down removes it")
            cluster.create(reach=options.reach)
            cluster.up(*flags)
        elif flags:
            parser.error(f"unknown flags: {' '.join(flags)}")
        elif not directory.exists():
            raise ValueError(f"there is no cluster {options.name}; deploy/local-cluster up makes it")
        elif options.action == "down":
            cluster.down()
        elif options.action == "load":
            cluster.import_image(options.archive.read_bytes())
        else:
            node = cluster.nodes[options.number - 1 if options.action == "shell" else 0]
            return node.shell(*(["kubectl", *options.arguments] if options.action == "kubectl" else options.arguments))
    except (Failed, ValueError, OSError, IndexError) as error:
        print(f"deploy/local-cluster: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
