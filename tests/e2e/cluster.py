"""A real cluster made by `kubepy up`, in a network namespace of its own so that the machine's rules and ports stay as they are."""
from __future__ import annotations

import copy
import json
import os
import re
import shutil
import subprocess
import sys
import time
import uuid
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from tests import attempt, images, leftover

T = TypeVar("T")
REPOSITORY = Path(__file__).resolve().parents[2]
RECENT: deque[str] = deque(maxlen=6)
"""The last commands, each with what it printed: what a test that waits in vain has seen."""


def heard(command: str, output: str) -> None:
    if output.startswith("{"):
        output = re.sub(r"\s+", " ", output)
    RECENT.append(f"$ {command[:300]}\n{output if len(output) < 2000 else f'{output[:1000]} ... {output[-1000:]}'}")


class Failed(AssertionError):
    """A command ended with an error; the message holds what it printed."""


class Cluster:
    """One single-node cluster; every command of it runs in its namespace."""

    namespace = ""
    """Where kubectl looks where nothing else is said."""

    def __init__(self) -> None:
        self.name = f"kubepy-{uuid.uuid4().hex[:8]}"
        self.directory = leftover.directory("e2e")
        (self.directory / "namespaces").write_text(self.name)
        self.data = self.directory / "data"
        self.kubeconfig = self.directory / "kubeconfig"
        self.ready_after = 0.0

    def create_network(self) -> None:
        """A namespace with an address and a default route, like a machine on a network that leads nowhere."""
        inside, outside = f"i{self.name[-8:]}", f"o{self.name[-8:]}"
        for command in (
            f"ip netns add {self.name}",
            f"ip link add {outside} type veth peer name {inside} netns {self.name}",
            f"ip -n {self.name} address add 198.51.100.2/24 dev {inside}",
            f"ip -n {self.name} link set lo up",
            f"ip -n {self.name} link set {inside} up",
            f"ip link set {outside} up",
            f"ip -n {self.name} route add default via 198.51.100.1",
        ):
            subprocess.run(command.split(), check=True)

    def within(self, namespace: str) -> Cluster:
        """The same cluster, seen from a namespace of Kubernetes."""
        seen = copy.copy(self)
        seen.namespace = namespace
        return seen

    def run(self, *command: str | Path, input: str | None = None, timeout: float = 200, check: bool = True) -> str:
        """Runs a command in the cluster's namespace; gives its output."""
        inside = ["nsenter", f"--net=/run/netns/{self.name}", *map(str, command)]
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "KUBECONFIG": str(self.kubeconfig), "HOME": str(self.directory)}
        done = subprocess.run(inside, input=input, capture_output=True, text=True, timeout=timeout, env=environment, check=False)
        heard(" ".join(map(str, command)), done.stdout + done.stderr)
        if check and done.returncode:
            raise Failed(f"{' '.join(map(str, command))} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done.stdout if check else done.stdout + done.stderr

    def popen(self, *command: str | Path, **options: Any) -> subprocess.Popen[str]:
        """A command that goes on; kubectl's namespace is the caller's to give."""
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "KUBECONFIG": str(self.kubeconfig), "HOME": str(self.directory)}
        return subprocess.Popen(["nsenter", f"--net=/run/netns/{self.name}", *map(str, command)], env=environment, text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)

    def kubepy(self, *arguments: str, timeout: float = 180, check: bool = True) -> str:
        return self.run(sys.executable, "-m", "kubepy.cli.main", *arguments, timeout=timeout, check=check)

    def kubectl(self, *arguments: str, input: str | None = None, timeout: float = 200, check: bool = True) -> str:
        where = ["-n", self.namespace] if self.namespace else []
        return self.run("kubectl", *where, *arguments, input=input, timeout=timeout, check=check)

    def get(self, *arguments: str) -> Any:
        return json.loads(self.kubectl("get", *arguments, "-o", "json"))

    def up(self) -> str:
        began = time.monotonic()
        output = self.kubepy("up", f"--data-dir={self.data}", f"--kubeconfig={self.kubeconfig}", "--ingress")
        self.ready_after = time.monotonic() - began
        return output

    def down(self, *flags: str) -> str:
        return self.kubepy("down", f"--data-dir={self.data}", f"--kubeconfig={self.kubeconfig}", *flags)

    def status(self) -> dict[str, Any]:
        return dict(json.loads(self.kubepy("status", f"--data-dir={self.data}", "-o", "json", check=False)))

    def part(self, name: str) -> dict[str, Any]:
        """What `kubepy status` says of one part."""
        return next(row for row in self.status()["parts"] if row["name"] == name)

    def import_images(self) -> None:
        socket = self.data / "run/containerd/containerd.sock"
        for archive in images.archives().values():
            command = ["ctr", "--address", str(socket), "--namespace", "k8s.io", "images", "import", "-"]
            subprocess.run(command, input=archive, check=True, capture_output=True)

    def logs(self) -> str:
        """The ends of every part's log, for a failed test's report."""
        parts = []
        for path in sorted((self.data / "log").glob("*.log")):
            parts.append(f"--- {path.name}\n" + "\n".join(path.read_text(errors="replace").splitlines()[-40:]))
        return "\n".join(parts)

    def destroy(self) -> None:
        self.kubepy("down", f"--data-dir={self.data}", f"--kubeconfig={self.kubeconfig}", "--purge", check=False)
        subprocess.run(["ip", "netns", "delete", self.name], check=False)
        subprocess.run(["ip", "link", "delete", f"o{self.name[-8:]}"], check=False, capture_output=True)
        shutil.rmtree(self.directory, ignore_errors=True)


def eventually(what: str, check: Callable[[], T], timeout: float = 120, every: float = 0.3) -> T:
    """The first true value of `check`; fails with the last one (or the last error) and with what was last seen when time is up."""
    attempt.waited()
    deadline = time.monotonic() + timeout
    while True:
        problem: object
        try:
            value = check()
            if value:
                return value
            problem = value
        except (Failed, AssertionError, KeyError, IndexError, TypeError, json.JSONDecodeError, subprocess.TimeoutExpired) as error:
            problem = f"{type(error).__name__}: {error}"
        if time.monotonic() > deadline:
            seen = "\n".join(list(RECENT)[-2:])
            raise AssertionError(f"after {timeout:.0f} s still not so: {what}; last: {problem}\n{seen}")
        time.sleep(every)
