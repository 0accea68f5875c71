"""The controller manager as a process, for tests and benches: started, killed, measured."""
from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.apiserver import ROOT, ApiServer, free_port

TICK = os.sysconf("SC_CLK_TCK")
SHORT_LEASE = ("--leader-elect-lease-duration", "4s", "--leader-elect-renew-deadline", "3s", "--leader-elect-retry-period", "1s")
"""So that a killed manager is soon replaced."""


class Manager:
    """Each controller has its own identity. Several of one server have names of their own."""

    module = "kubepy.controllers.main"
    """What is run; benches have managers of their own that count."""

    def __init__(self, server: ApiServer, *flags: str, name: str = "manager") -> None:
        self._server, self._flags, self._name = server, flags, name
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        profile = os.environ.get("PROFILE")
        with open(self._server.directory / f"{self._name}.log", "ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, *(["-m", "cProfile", "-o", profile] if profile else []), "-m", self.module,
                 "--kubeconfig", self._server.kubeconfig, "--bind-address", "127.0.0.1", "--secure-port", str(self.port),
                 "--cluster-cidr", "10.244.0.0/16", "--allocate-node-cidrs", "--service-cluster-ip-range", "10.96.0.0/16",
                 "--root-ca-file", self._server.ca, "--use-service-account-credentials", *self._flags],
                stdout=log, stderr=log, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})

    def log(self) -> str:
        return (self._server.directory / f"{self._name}.log").read_text()

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(60)

    def cpu(self) -> float:
        """Seconds of CPU so far."""
        assert self.process is not None
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICK

    def memory(self, name: str = "VmHWM") -> int:
        """Megabytes: the most there were, or (VmRSS) are."""
        assert self.process is not None
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) // 1024 for line in lines if line.startswith(name))
