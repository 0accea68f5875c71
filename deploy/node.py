"""The kinds of nodes that a local cluster can have: network namespaces of this machine, small virtual machines, other hosts over SSH."""
from __future__ import annotations

import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar, Protocol

from deploy import terminal
from deploy.machine import SHARED, Machine

REPOSITORY = Path(__file__).resolve().parents[1]
NETWORK = "198.51.100"
BOOT = """set -e
hostname {name}
mkdir -p /var/lib/kubepy /run/kubepy
mount -t ext4 /dev/ubda /var/lib/kubepy
ip link set vec0 up
ip addr add {address}/24 dev vec0
ip route add default via {gateway}
sysctl -qw net.ipv4.ip_forward=1
mount --make-rshared /
cat > /usr/local/bin/kubepy <<'END'
#!/bin/sh
PYTHONPATH={repository} exec {python} -m kubepy.cli.main "$@"
END
chmod 755 /usr/local/bin/kubepy
exec {python} -u {repository}/deploy/guest.py {jobs}
"""
"""What a virtual machine does when it starts: its disk, its network, `kubepy` for people and units, and from then on what it is told."""


class Failed(AssertionError):
    """A command ended with an error; the message holds what it printed."""


class Cluster(Protocol):
    name: str
    directory: Path
    switch: str

    def environment(self) -> dict[str, str]: ...

    def heard(self, command: str, output: str, /) -> None: ...


@dataclass(frozen=True)
class Node:
    """The `number`-th node (from 1) of a local cluster: a network namespace."""

    cluster: Cluster
    number: int
    lasting = True
    """Whether there is something to clean up when the cluster goes."""

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
    def port(self) -> str:
        """Its link's name on the switch."""
        return f"n{self.number}"

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

    def create(self) -> None:
        """Its directory, and a namespace with a link to the switch."""
        self.data.mkdir(parents=True)
        ip("netns", "add", self.namespace)
        ip("-n", self.namespace, "link", "set", "lo", "up")
        ip("-n", self.cluster.switch, "link", "add", self.port, "type", "veth", "peer", "name", "eth0", "netns", self.namespace)
        self.plug()
        ip("-n", self.namespace, "address", "add", f"{self.address}/24", "dev", "eth0")
        ip("-n", self.namespace, "link", "set", "eth0", "up")
        ip("-n", self.namespace, "route", "add", "default", "via", f"{NETWORK}.1")

    def plug(self) -> None:
        """Its cable into the switch."""
        ip("-n", self.cluster.switch, "link", "set", self.port, "master", "br0", "up")

    def unplug(self) -> None:
        """Its cable out of the switch; the link itself stays up, as a virtual machine never reads again from one that was down."""
        ip("-n", self.cluster.switch, "link", "set", self.port, "nomaster")

    @property
    def exists(self) -> bool:
        return self.data.exists() and Path(f"/run/netns/{self.namespace}").exists()

    def remove(self) -> None:
        subprocess.run(["ip", "netns", "delete", self.namespace], check=False, capture_output=True)
        _remove_groups(self.cgroup)

    def command(self, *command: str | Path) -> list[str]:
        """The command line that runs a command in this node's network (and not in its own /sys, where containers' groups would be lost)."""
        return ["nsenter", f"--net=/run/netns/{self.namespace}", *map(str, command)]

    def run(self, *command: str | Path, input: str | bytes | None = None, timeout: float = 180, check: bool = True) -> str:
        """Runs it and gives its output."""
        data = input.encode() if isinstance(input, str) else input
        code, output, errors = self._perform([str(word) for word in command], data, timeout)
        self.cluster.heard(f"{' '.join(map(str, command))} on {self.name}", output + errors)
        if check and code:
            raise Failed(f"{' '.join(map(str, command))} on {self.name} ended with {code}:\n{output}{errors}")
        return output if check else output + errors

    def _perform(self, command: list[str], data: bytes | None, timeout: float) -> tuple[int, str, str]:
        done = subprocess.run(self.command(*command), input=data, capture_output=True, timeout=timeout, env=self.cluster.environment(),
                              check=False)
        return done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")

    def kubepy(self, *arguments: str, check: bool = True, timeout: float = 240) -> str:
        return self.run(sys.executable, "-m", "kubepy.cli.main", *arguments, check=check, timeout=timeout)

    def shell(self, *words: str) -> int:
        """A command, or a shell, on this terminal; its exit code."""
        command = self.command(*(words or (os.environ.get("SHELL", "sh"),)))
        return subprocess.run(command, env=self.cluster.environment(), check=False).returncode

    def import_image(self, archive: bytes) -> None:
        self.run("ctr", "--address", self.containerd, "--namespace", "k8s.io", "images", "import", "-", input=archive)

    def logs(self, lines: int = 40) -> str:
        """The ends of every part's log."""
        return "\n".join(f"--- {self.name} {path.name}\n" + "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
                         for path in sorted((self.data / "log").glob("*.log")))


class MachineNode(Node):
    """A node that has a machine for itself: kubepy is where it is by default, and files are seen through commands alone."""

    @property
    def data(self) -> Path:
        return Path("/var/lib/kubepy")

    @property
    def containerd(self) -> Path:
        return Path("/run/kubepy/containerd/containerd.sock")

    def logs(self, lines: int = 40) -> str:
        try:
            return self.run("sh", "-c", f"cd {self.data}/log && tail -n {lines} *.log", timeout=30, check=False)
        except (Failed, OSError, subprocess.TimeoutExpired) as error:
            return f"--- {self.name}: {error}"

    def kubepy(self, *arguments: str, check: bool = True, timeout: float = 240) -> str:
        return self.run("kubepy", *arguments, check=check, timeout=timeout)


@dataclass(frozen=True)
class VirtualNode(MachineNode):
    """A virtual machine with a kernel, cgroups (version 2), a disk and all of kubepy's parts of its own."""

    systemd: bool = False
    """Whether systemd runs in it."""
    lasting = False
    _machines: ClassVar[dict[str, Machine]] = {}
    """By the node's directory: a node is a value."""

    @property
    def directory(self) -> Path:
        return self.cluster.directory / self.name

    @property
    def machine(self) -> Machine:
        inside = ("nsenter", f"--net=/run/netns/{self.cluster.switch}")
        made = Machine(self.directory, 1280, self.port, self.directory / "disk", inside)
        return self._machines.setdefault(str(self.directory), made)

    @property
    def exists(self) -> bool:
        return self.machine.running

    def create(self) -> None:
        if why := Machine.missing():
            raise Failed(f"there can be no virtual machine: {why}")
        self.directory.mkdir(parents=True)
        with (self.directory / "disk").open("wb") as disk:
            disk.truncate(3 << 30)
        subprocess.run(["mkfs.ext4", "-q", "-E", "lazy_itable_init=1,nodiscard", self.directory / "disk"], check=True)
        ip("-n", self.cluster.switch, "tuntap", "add", "dev", self.port, "mode", "tap")
        self.plug()
        self.boot()

    def boot(self) -> None:
        """Starts it, and waits until it takes commands."""
        jobs = self.directory / "jobs"
        shutil.rmtree(jobs, ignore_errors=True)
        jobs.mkdir()
        script = BOOT.format(name=self.name, address=self.address, gateway=f"{NETWORK}.1", python=shlex.quote(sys.executable),
                             repository=REPOSITORY, jobs=f"{SHARED}/jobs")
        self.machine.start(script, systemd=self.systemd)
        self.run("true", timeout=120)

    def cut_power(self) -> None:
        self.machine.stop()

    def remove(self) -> None:
        self.machine.stop()
        self._machines.pop(str(self.directory), None)

    def command(self, *command: str | Path) -> list[str]:
        raise NotImplementedError("a virtual machine's commands are not this machine's")

    def shell(self, *words: str) -> int:
        if not words and not sys.stdin.isatty():
            words = ("sh", "-c", sys.stdin.read())
        elif sys.stdin.isatty() and sys.stdout.isatty():
            return self._converse(list(words) or ["bash", "-i"])
        code, output, errors = self._perform(list(words), None, 24 * 3600)
        sys.stdout.write(output)
        sys.stderr.write(errors)
        return code

    def _converse(self, command: list[str]) -> int:
        """A command on this terminal; its exit code."""
        jobs = self.directory / "jobs"
        number = self._hand_over(command, None, {"terminal": terminal.size(), "term": os.environ.get("TERM", "dumb")})
        ended = jobs / f"{number}.exit"
        terminal.converse(jobs, number, lambda: ended.exists() or not self.machine.running)
        if not ended.exists():
            raise Failed(f"{self.name} is not running:\n{self.machine.printed()}")
        errors = jobs / f"{number}.err"
        sys.stderr.write(errors.read_text() if errors.exists() else "")
        return int(ended.read_text())

    def _hand_over(self, command: list[str], data: bytes | None, extra: dict[str, Any]) -> str:
        """Lays a job into the machine's directory; its number."""
        jobs, number = self.directory / "jobs", uuid.uuid4().hex  # several processes may give it commands
        (jobs / f"{number}.in").write_bytes(data or b"")
        job = jobs / f"{number}.new"
        environment = {"PYTHONPATH": str(REPOSITORY), "PYTHONDONTWRITEBYTECODE": "1", "HOME": "/root",
                       **({"TERM": extra["term"]} if "term" in extra else {})}
        job.write_text(json.dumps({"command": command, "environment": environment, "terminal": extra.get("terminal")}))
        job.rename(jobs / f"{number}.job")
        return number

    def _perform(self, command: list[str], data: bytes | None, timeout: float) -> tuple[int, str, str]:
        jobs, number = self.directory / "jobs", self._hand_over(command, data, {})
        deadline = time.monotonic() + timeout
        ended = jobs / f"{number}.exit"
        while not ended.exists():
            if not self.machine.running:
                raise Failed(f"{self.name} is not running:\n{self.machine.printed()}")
            if time.monotonic() > deadline:
                raise Failed(f"{shlex.join(command)} on {self.name} did not end within {timeout:.0f} s:\n{self.machine.printed()}")
            time.sleep(0.05)
        output, errors = ((jobs / f"{number}.{kind}").read_text(errors="replace") if (jobs / f"{number}.{kind}").exists() else ""
                          for kind in ("out", "err"))
        return int(ended.read_text()), output, errors


@dataclass(frozen=True)
class RemoteNode(MachineNode):
    """A Linux host reached by `ssh TARGET` (root, without a password; $KUBEPY_SSH is another command than `ssh`, with options), on which
    `kubepy` is installed. What belongs to this machine (its network, its end) is left alone; it must reach the control plane's address."""

    target: str = ""
    _addresses: ClassVar[dict[str, str]] = {}

    @property
    def address(self) -> str:
        """An address as it is, a name as ssh understands it (its configuration's aliases among them)."""
        if self.target not in self._addresses:
            told = subprocess.run([*_ssh(), "-G", self.target], capture_output=True, text=True, check=True).stdout.splitlines()
            name = next(line.split()[1] for line in told if line.startswith("hostname "))
            self._addresses[self.target] = str(socket.getaddrinfo(name, None)[0][4][0])
        return self._addresses[self.target]

    def create(self) -> None:
        self.run("kubepy", "--help")

    def plug(self) -> None:
        self.cluster.nodes[0].run("ip", "neighbour", "delete", self.address, "dev", self._link)

    def unplug(self) -> None:
        """Nothing from the control plane's machine reaches it: the hardware address it is given is nobody's."""
        self.cluster.nodes[0].run("ip", "neighbour", "replace", self.address, "lladdr", "02:00:00:00:00:00", "dev", self._link,
                                  "nud", "permanent")

    @property
    def _link(self) -> str:
        """The control plane's link to it."""
        words = self.cluster.nodes[0].run("ip", "route", "get", self.address).split()
        return str(words[words.index("dev") + 1])

    @property
    def exists(self) -> bool:
        return True

    def remove(self) -> None:
        return None

    def command(self, *command: str | Path) -> list[str]:
        return [*_ssh(), "-o", "BatchMode=yes", self.target, shlex.join(map(str, command))]

    def shell(self, *words: str) -> int:
        terminal = ["-t"] if sys.stdin.isatty() else []
        return subprocess.run([*_ssh(), *terminal, self.target, *([shlex.join(words)] if words else [])], check=False).returncode


def _ssh() -> list[str]:
    return shlex.split(os.environ.get("KUBEPY_SSH", "ssh"))


def make(cluster: Any, number: int, kind: str) -> Node:
    """`namespace`, `vm`, `systemd` (a `vm` in which that runs) or `ssh:TARGET`. Raises ValueError."""
    if kind == "namespace":
        return Node(cluster, number)
    if kind in ("vm", "systemd"):
        return VirtualNode(cluster, number, kind == "systemd")
    if kind.startswith("ssh:") and kind[4:]:
        return RemoteNode(cluster, number, kind[4:])
    raise ValueError(f"there is no kind of node called {kind!r}: namespace, vm, systemd or ssh:TARGET")


def kinds(text: str) -> list[str]:
    """`3`, or kinds by commas, each possibly with a count (`namespace,vm*2`). Raises ValueError."""
    if text.isdigit():
        return ["namespace"] * int(text)
    found = []
    for item in text.split(","):
        kind, _, count = item.partition("*")
        found += [kind] * int(count or 1)
    return found


def ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failed(f"ip {' '.join(arguments)}: {done.stderr.strip()}")


def environment(cluster: Any, extra: Mapping[str, str]) -> dict[str, str]:
    rest = os.environ.get("PYTHONPATH", "")
    return {**os.environ, "PYTHONPATH": f"{REPOSITORY}{os.pathsep}{rest}" if rest else str(REPOSITORY), **extra}


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
