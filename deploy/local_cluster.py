"""A cluster of N nodes on this machine, each a network namespace with its own containerd, kubelet and proxy (as `kind` has containers).

    deploy/local-cluster up --nodes 3           the first node holds the control plane, the others join with a token
    deploy/local-cluster kubectl get nodes
    deploy/local-cluster shell 2                a shell in the second node's network
    deploy/local-cluster down

The nodes' links meet on a bridge in a namespace of its own, so this machine's rules, ports and addresses stay as they are; with
--reach this machine gets the address 198.51.100.1 on it, and reaches the API server, NodePorts and (with a route) pods. Only the
standard library is used here: the cluster itself is made by `kubepy up`, `kubepy token create` and `kubepy join`.
"""
from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
NETWORK = "198.51.100"
STATE = Path("/var/lib/kubepy-local")
NAME = re.compile(r"[a-z0-9]{1,8}")


class Failed(AssertionError):
    """A command ended with an error; the message holds what it printed."""


@dataclass(frozen=True)
class Node:
    """The `number`-th node (from 1) of a local cluster."""

    cluster: LocalCluster
    number: int

    @property
    def name(self) -> str:
        return f"{self.cluster.name}-{self.number}"

    @property
    def namespace(self) -> str:
        return f"kubepy-{self.name}"

    @property
    def address(self) -> str:
        return f"{NETWORK}.{self.number + 10}"

    @property
    def data(self) -> Path:
        return self.cluster.directory / self.name

    @property
    def cgroup(self) -> str:
        """The parent of its pods' control groups, as `kubepy` names it after the data directory."""
        return f"kubepy-{sha256(bytes(self.data)).hexdigest()[:8]}"

    @property
    def containerd(self) -> Path:
        return self.data / "run/containerd/containerd.sock"

    def command(self, *command: str | Path) -> list[str]:
        """The command line that runs a command in this node's network (and not in its own /sys, where containers' groups would be lost)."""
        return ["nsenter", f"--net=/run/netns/{self.namespace}", *map(str, command)]

    def run(self, *command: str | Path, input: str | bytes | None = None, timeout: float = 180, check: bool = True) -> str:
        """Runs it and gives its output."""
        data = input.encode() if isinstance(input, str) else input
        done = subprocess.run(self.command(*command), input=data, capture_output=True, timeout=timeout, env=self.cluster.environment(),
                              check=False)
        output, errors = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
        if check and done.returncode:
            raise Failed(f"{' '.join(map(str, command))} on {self.name} ended with {done.returncode}:\n{output}{errors}")
        return output if check else output + errors

    def kubepy(self, *arguments: str, check: bool = True, timeout: float = 240) -> str:
        return self.run(sys.executable, "-m", "kubepy.cli.main", *arguments, check=check, timeout=timeout)


class LocalCluster:
    """`name` is at most eight letters and digits; everything is under `directory`."""

    def __init__(self, name: str, nodes: int, directory: Path) -> None:
        if not NAME.fullmatch(name):
            raise ValueError(f"the name {name!r} is not of one to eight lower-case letters and digits")
        if not 1 <= nodes <= 100:
            raise ValueError("there can be 1 to 100 nodes")
        self.name = name
        self.directory = directory
        self.nodes = [Node(self, number) for number in range(1, nodes + 1)]
        self.switch = f"kubepy-{name}-net"
        self.kubeconfig = directory / "kubeconfig"

    def environment(self) -> dict[str, str]:
        rest = os.environ.get("PYTHONPATH", "")
        return {**os.environ, "PYTHONPATH": f"{REPOSITORY}{os.pathsep}{rest}" if rest else str(REPOSITORY),
                "KUBECONFIG": str(self.kubeconfig), "HOME": str(self.directory)}

    # --- the network ---

    def create(self, *, reach: bool = False) -> None:
        """The directories, a bridge, and a namespace with a link to it for each node."""
        for node in self.nodes:
            node.data.mkdir(parents=True)
        _ip("netns", "add", self.switch)
        _ip("-n", self.switch, "link", "add", "br0", "type", "bridge")
        _ip("-n", self.switch, "link", "set", "br0", "up")
        for node in self.nodes:
            _ip("netns", "add", node.namespace)
            _ip("-n", node.namespace, "link", "set", "lo", "up")
            _ip("-n", self.switch, "link", "add", f"n{node.number}", "type", "veth", "peer", "name", "eth0", "netns", node.namespace)
            _ip("-n", self.switch, "link", "set", f"n{node.number}", "master", "br0", "up")
            _ip("-n", node.namespace, "address", "add", f"{node.address}/24", "dev", "eth0")
            _ip("-n", node.namespace, "link", "set", "eth0", "up")
            _ip("-n", node.namespace, "route", "add", "default", "via", f"{NETWORK}.1")
        if reach:
            outside = f"kp-{self.name}"
            _ip("link", "add", outside, "type", "veth", "peer", "name", "host", "netns", self.switch)
            _ip("-n", self.switch, "link", "set", "host", "master", "br0", "up")
            _ip("address", "add", f"{NETWORK}.1/24", "dev", outside)
            _ip("link", "set", outside, "up")

    # --- the nodes ---

    def up(self, *flags: str) -> None:
        """The first node by `kubepy up` with these flags, the others by `kubepy join`, at the same time."""
        first = self.nodes[0]
        print(first.kubepy("up", *self._flags(first), f"--kubeconfig={self.kubeconfig}", *flags), flush=True)
        if len(self.nodes) > 1:
            words = first.kubepy("token", "create", f"--data-dir={first.data}").split()[2:]
            joining = [(node, self.popen(node, "join", *words, *self._flags(node))) for node in self.nodes[1:]]
            for node, process in joining:
                output, _ = process.communicate(timeout=240)
                print(output, flush=True)
                if process.returncode:
                    raise Failed(f"{node.name} has not joined")

    def join(self, node: Node) -> str:
        words = self.nodes[0].kubepy("token", "create", f"--data-dir={self.nodes[0].data}").split()[2:]
        return node.kubepy("join", *words, *self._flags(node))

    def _flags(self, node: Node) -> list[str]:
        return [f"--data-dir={node.data}", f"--node-name={node.name}", f"--node-ip={node.address}"]

    def popen(self, node: Node, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(node.command(sys.executable, "-m", "kubepy.cli.main", *arguments), env=self.environment(), text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def kubectl(self, *arguments: str, **options: Any) -> str:
        return self.nodes[0].run("kubectl", *arguments, **options)

    def import_image(self, archive: bytes) -> None:
        """Gives an image archive to every node, as `kind load` does."""
        for node in self.nodes:
            subprocess.run(["ctr", "--address", str(node.containerd), "--namespace", "k8s.io", "images", "import", "-"], input=archive,
                           check=True, capture_output=True)

    def logs(self, lines: int = 40) -> str:
        """The ends of every part's log on every node."""
        paths = [path for node in self.nodes for path in sorted((node.data / "log").glob("*.log"))]
        return "\n".join(f"--- {path.parent.parent.name} {path.name}\n" + "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
                         for path in paths)

    def down(self) -> None:
        """Stops and removes everything, all nodes at once; what is already gone is no error."""
        stopping = []
        for node in self.nodes:
            if node.data.exists() and Path(f"/run/netns/{node.namespace}").exists():
                command = ["down", "--purge", f"--kubeconfig={self.kubeconfig}"] if node.number == 1 else ["node", "reset"]
                stopping.append(self.popen(node, *command, f"--data-dir={node.data}"))
        for process in stopping:
            print(process.communicate(timeout=240)[0], end="", flush=True)
        for node in self.nodes:
            subprocess.run(["ip", "netns", "delete", node.namespace], check=False, capture_output=True)
            _remove_groups(node.cgroup)
        subprocess.run(["ip", "netns", "delete", self.switch], check=False, capture_output=True)
        subprocess.run(["ip", "link", "delete", f"kp-{self.name}"], check=False, capture_output=True)
        shutil.rmtree(self.directory, ignore_errors=True)


def _ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failed(f"ip {' '.join(arguments)}: {done.stderr.strip()}")


def _remove_groups(name: str) -> None:
    """Removes the node's empty control groups, in each hierarchy, deepest first."""
    for top in (*Path("/sys/fs/cgroup").glob(f"*/{name}"), Path("/sys/fs/cgroup") / name):
        for path in sorted((path for path in top.rglob("*") if path.is_dir()), key=lambda path: -len(path.parts)) if top.is_dir() else ():
            _remove_group(path)
        _remove_group(top)


def _remove_group(path: Path) -> None:
    for _ in range(10):
        try:
            path.rmdir()
        except FileNotFoundError:
            return
        except OSError:
            time.sleep(0.05)
        else:
            return


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="deploy/local-cluster", formatter_class=argparse.RawDescriptionHelpFormatter, description=__doc__)
    parser.add_argument("--name", default="local", help="at most eight letters and digits (default: local)")
    actions = parser.add_subparsers(dest="action", required=True)
    up = actions.add_parser("up", help="make the cluster; further flags go to `kubepy up`")
    up.add_argument("--nodes", type=int, default=2)
    up.add_argument("--reach", action="store_true", help=f"give this machine the address {NETWORK}.1 on the nodes' network")
    actions.add_parser("down", help="remove it and every trace of it")
    load = actions.add_parser("load", help="give an image archive (docker save) to every node")
    load.add_argument("archive", type=Path)
    kubectl = actions.add_parser("kubectl", help="kubectl with this cluster's administrator")
    kubectl.add_argument("arguments", nargs=argparse.REMAINDER)
    shell = actions.add_parser("shell", help="a shell, or a command, in a node's network")
    shell.add_argument("number", type=int)
    shell.add_argument("arguments", nargs=argparse.REMAINDER)
    options, flags = parser.parse_known_args(argv)
    directory = STATE / options.name
    count = options.nodes if options.action == "up" else max(len(list(directory.glob(f"{options.name}-*"))), 1)
    try:
        cluster = LocalCluster(options.name, count, directory)
        if options.action == "up":
            if directory.exists():
                raise ValueError(f"the cluster {options.name} is there already; deploy/local-cluster down removes it")
            cluster.create(reach=options.reach)
            cluster.up(*flags)
        elif flags:
            parser.error(f"unknown flags: {' '.join(flags)}")
        elif options.action == "down":
            cluster.down()
        elif options.action == "load":
            cluster.import_image(options.archive.read_bytes())
        else:
            node = cluster.nodes[options.number - 1 if options.action == "shell" else 0]
            words = ["kubectl", *options.arguments] if options.action == "kubectl" else options.arguments or [os.environ.get("SHELL", "sh")]
            return subprocess.run(node.command(*words), env=cluster.environment(), check=False).returncode
    except (Failed, ValueError, OSError, IndexError) as error:
        print(f"deploy/local-cluster: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
