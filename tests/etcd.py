"""A private etcd for tests: random ports, a temporary directory; it can be killed and started again with its data.

    with Etcd() as etcd:
        kv = EtcdKV([etcd.url])

`KUBEPY_TEST_ETCD` names another binary than `etcd`.
"""
from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType

from kubepy.apiserver.storage.etcd import TLS
from tests import leftover

PORTS = 20_000, 30_000
BINARY = os.environ.get("KUBEPY_TEST_ETCD", "etcd")


class Etcd:
    """One member. `url` stays the same over restarts."""

    def __init__(self, *flags: str, directory: str | None = None, tls: TLS | None = None) -> None:
        """`tls` is how its clients speak to it; the server's side is in `flags`."""
        self._flags, self._tls = flags, tls
        self._own_directory = directory is None
        self.directory = Path(directory) if directory else leftover.directory("etcd")
        self._client, self._peer = free_port(), free_port()
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self._client}"
        self._process: subprocess.Popen[bytes] | None = None

    @staticmethod
    def installed() -> bool:
        return shutil.which(BINARY) is not None

    def start(self) -> None:
        """Starts and waits until it answers."""
        peer = f"http://127.0.0.1:{self._peer}"
        with open(self.directory / "etcd.log", "ab") as log:
            self._process = subprocess.Popen(
                leftover.bound([
                    BINARY, "--name", "test", "--data-dir", str(self.directory / "data"), "--listen-client-urls", self.url,
                    "--advertise-client-urls", self.url, "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
                    "--initial-cluster", f"test={peer}", "--log-level", "warn", *self._flags]),
                stdout=log, stderr=log,
            )
        context = None
        if self._tls:
            context = ssl.create_default_context(cafile=self._tls.ca)
            context.load_cert_chain(self._tls.cert, self._tls.key)
        end = time.monotonic() + 120
        while time.monotonic() < end:
            if self._process.poll() is not None:
                raise RuntimeError(f"etcd ended: {(self.directory / 'etcd.log').read_text()[-2000:]}")
            try:
                with urllib.request.urlopen(f"{self.url}/health", timeout=1, context=context) as answer:
                    if b"true" in answer.read():
                        return
            except (urllib.error.URLError, OSError):
                pass
            time.sleep(0.05)
        raise RuntimeError("etcd did not become healthy")

    def kill(self) -> None:
        """SIGKILL: nothing is flushed, nothing is said."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def pause(self) -> None:
        """Stops it from answering without closing connections."""
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)

    def restart(self) -> None:
        """Kills it and starts it with the same data and address."""
        self.kill()
        self.start()

    def wipe(self) -> None:
        """Removes its data; it must not be running."""
        shutil.rmtree(self.directory / "data", ignore_errors=True)

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(number)
            process.wait()

    def __enter__(self) -> Etcd:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.kill()
        if self._own_directory:
            shutil.rmtree(self.directory, ignore_errors=True)


def free_port() -> int:
    """A port of this machine that nobody has. None of those that the kernel gives to connections: that could happen before it is used."""
    while True:
        port = random.SystemRandom().randrange(*PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
