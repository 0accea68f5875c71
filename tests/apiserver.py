"""A real API server process on a real etcd, for tests: certificates, a static admin token, everything in a temporary directory.

    with ApiServer() as server:
        httpx.get(server.url + "/version", verify=server.ca)

The admin is user `admin` with uid `admin` in `system:masters`; its token is `server.token`. `kubeconfig` is a file for kubectl.
"""
from __future__ import annotations

import os
import shutil
import signal
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests import leftover
from tests.etcd import Etcd, free_port

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 300.0
TOKENS = ('admintoken,admin,admin,"system:masters"\n'
          'nobodytoken,nobody,nobody,"somebodies"\n')
KUBECONFIG = """apiVersion: v1
kind: Config
current-context: test
clusters: [{{name: test, cluster: {{server: "{url}", certificate-authority: "{ca}"}}}}]
users: [{{name: admin, user: {{token: "{token}"}}}}]
contexts: [{{name: test, context: {{cluster: test, user: admin}}}}]
"""


class ApiServer:
    """One server with an etcd of its own (or the one given). Further flags are passed on."""

    token = "admintoken"
    modes: tuple[str, ...] = ("--authorization-mode", "Node,RBAC")
    module = "kubepy.apiserver.main"
    """What is run; benches have servers of their own that count."""

    def __init__(self, *flags: str, etcd: Etcd | None = None) -> None:
        self._flags = flags
        self._own = etcd is None
        self.etcd = etcd or Etcd()
        self.directory = leftover.directory("api")
        self.port = free_port()
        self.url = f"https://127.0.0.1:{self.port}"
        self.ca = str(self.directory / "apiserver.crt")
        self.kubeconfig = str(self.directory / "kubeconfig")
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        if self._own:
            self.etcd.start()
        (self.directory / "tokens.csv").write_text(TOKENS)
        key = rsa.generate_private_key(65537, 2048).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        (self.directory / "sa.key").write_bytes(key)
        self.launch()
        Path(self.kubeconfig).write_text(KUBECONFIG.format(url=self.url, ca=self.ca, token=self.token))

    def launch(self) -> None:
        """Starts the process (again) and waits until it is ready."""
        with open(self.directory / "log", "ab") as log:
            self.process = subprocess.Popen(
                leftover.bound([
                    sys.executable, "-m", self.module, "--etcd-servers", self.etcd.url, "--bind-address", "127.0.0.1",
                    "--secure-port", str(self.port), "--cert-dir", str(self.directory),
                    "--token-auth-file", str(self.directory / "tokens.csv"),
                    "--service-account-signing-key-file", str(self.directory / "sa.key"),
                    "--service-account-key-file", str(self.directory / "sa.key"),
                    "--service-account-issuer", "https://kubernetes.default.svc", *self.modes,
                    "--service-cluster-ip-range", "10.96.0.0/16", "--allow-privileged=true", *self._flags]),
                stdout=log, stderr=log, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise RuntimeError(f"the server ended with {self.process.returncode}:\n{self.log()}")
            try:
                context = ssl.create_default_context(cafile=self.ca)
                request = urllib.request.Request(self.url + "/readyz", headers={"Authorization": f"Bearer {self.token}"})
                with urllib.request.urlopen(request, timeout=2, context=context) as answer:
                    if answer.status == 200:
                        return
            except (OSError, urllib.error.URLError):
                pass
            time.sleep(0.05)
        raise RuntimeError(f"the server was not ready after {START_SECONDS:.0f} s:\n{self.log()}")

    def log(self) -> str:
        return (self.directory / "log").read_text()[-4000:]

    def stop(self) -> int | None:
        """Ends the process gracefully; its exit code."""
        if self.process is None:
            return None
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        self.process = None
        return code

    def __enter__(self) -> ApiServer:
        try:
            self.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()
        if self._own:
            self.etcd.stop()
        shutil.rmtree(self.directory, ignore_errors=True)
