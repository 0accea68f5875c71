"""A private containerd for tests: its own root, state, socket and CNI directory, in a mount namespace of its own.

Use the `containerd` fixture by importing it into a conftest: `from tests.containerd import containerd`.
"""
from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from kubepy.kubelet.runtime import write_containerd_config
from tests import images, leftover


@dataclass(frozen=True, slots=True)
class Containerd:
    """A running containerd: its directories, and its socket for the CRI and for `ctr`."""

    directory: Path
    socket: Path
    cni_conf_dir: Path
    process: subprocess.Popen[bytes]

    @property
    def endpoint(self) -> str:
        return f"unix://{self.socket}"

    def ctr(self, *arguments: str, data: bytes | None = None) -> str:
        done = subprocess.run(["ctr", "--address", str(self.socket), "--namespace", "k8s.io", *arguments], input=data, capture_output=True,
                              check=False)
        if done.returncode != 0:
            raise RuntimeError(f"ctr {' '.join(arguments)}: {done.stderr.decode()}")
        return done.stdout.decode()


def start(directory: Path, *, binary: str = "containerd", network_namespace: str | None = None,
          own_mounts: bool = True) -> Containerd:
    """Starts containerd below `directory` and waits until it answers; `binary` may be another version's."""
    cni = directory / "cni"
    config = write_containerd_config(directory, cni_conf_dir=cni, registry_dir=directory / "certs.d")
    # A mount namespace of its own made shared, so that mount propagation works and nothing is left mounted.
    directory.mkdir(parents=True, exist_ok=True)
    command = ["unshare", "-m", "sh", "-c", f"mount --make-rshared / && exec {binary} --config {config}"]
    if not own_mounts:
        command = [binary, "--config", str(config)]
    if network_namespace:
        command = ["nsenter", f"--net=/var/run/netns/{network_namespace}", *command]
    environment = {**os.environ, "PATH": f"{os.path.dirname(binary)}:{os.environ['PATH']}" if "/" in binary else os.environ["PATH"]}
    log = open(directory / "containerd.log", "ab")  # noqa: SIM115 - handed to the process
    process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)
    log.close()
    runtime = Containerd(directory, directory / "state" / "containerd.sock", cni, process)
    _wait(runtime)
    return runtime


def _wait(runtime: Containerd) -> None:
    for _ in range(600):
        try:
            runtime.ctr("version")
            return
        except RuntimeError:
            if runtime.process.poll() is not None:
                raise RuntimeError((runtime.directory / "containerd.log").read_text()[-2000:]) from None
            time.sleep(0.1)
    raise RuntimeError("containerd did not answer within a minute")


def resume(runtime: Containerd) -> Containerd:
    """Starts the containerd of that directory again, after it was killed: its containers still run."""
    command = runtime.process.args
    with open(runtime.directory / "containerd.log", "ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    fresh = replace(runtime, process=process)
    _wait(fresh)
    return fresh


def stop(runtime: Containerd) -> None:
    """Removes every container and stops containerd; leaves no process and no mount."""
    try:
        tasks = runtime.ctr("tasks", "ls", "-q").split()
        for task in tasks:
            with contextlib.suppress(RuntimeError):
                runtime.ctr("tasks", "rm", "-f", task)
    except RuntimeError:
        pass
    shims = [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if _uses(pid, str(runtime.socket))]
    runtime.process.send_signal(signal.SIGTERM)
    try:
        runtime.process.wait(10)
    except subprocess.TimeoutExpired:
        runtime.process.kill()
        runtime.process.wait()
    for pid in shims:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _uses(pid: int, socket: str) -> bool:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            command = file.read()
    except OSError:
        return False
    return b"containerd-shim" in command and socket.encode() in command


@pytest.fixture(scope="session")
def containerd() -> Iterator[Containerd]:
    """One containerd with the test images for the whole session."""
    directory = leftover.directory("ctd")
    runtime = start(directory)
    try:
        for archive in images.archives().values():
            runtime.ctr("images", "import", "-", data=archive)
        yield runtime
    finally:
        stop(runtime)
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":  # python -m tests.containerd DIRECTORY: one to work against by hand
    made = start(Path(sys.argv[1]), network_namespace=sys.argv[2] if len(sys.argv) > 2 else None)
    for data in images.archives().values():
        made.ctr("images", "import", "-", data=data)
    print(made.socket, made.process.pid, flush=True)
