"""Runs nginx: writes its files, checks them, has it take them over without dropping connections, and starts it again when it dies.

nginx is started in a session of its own and outlives this process when that is killed: the next one finds it by its PID file and
takes it over. Workers whose master was killed hold the ports; they are ended before a new master starts.
"""
from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from kubepy.base.backoff import Backoff
from kubepy.base.log import get_logger
from kubepy.base.process import ProcessId
from kubepy.ingress.nginx import Options, certificate_file, render
from kubepy.ingress.state import State

log = get_logger("ingress")

CHECK_SECONDS = 30.0


class Refused(Exception):
    """nginx does not accept the configuration; what it said."""


class Nginx:
    """`default_certificate` (PEM, chain and key) is served where no site's own is. Raises OSError where the directory cannot be written."""

    def __init__(self, options: Options, default_certificate: bytes, program: str = "nginx") -> None:
        self._options, self._program = options, program
        self._directory = options.directory
        self._directory.mkdir(parents=True, exist_ok=True)
        self._directory.chmod(0o711)  # the workers, who are not root, reach their temporary files below it
        (self._directory / "tls").mkdir(mode=0o700, exist_ok=True)
        (self._directory / "tmp").mkdir(mode=0o711, exist_ok=True)
        _write(self._directory / certificate_file(""), default_certificate)
        self._configured = asyncio.Event()

    @property
    def running(self) -> bool:
        return self._master() is not None

    async def apply(self, state: State) -> None:
        """Makes nginx serve `state`; raises Refused, and leaves what runs as it is, when it finds a fault in the configuration."""
        wanted = {certificate_file(name) for name in state.certificates} | {certificate_file("")}
        for name, pair in state.certificates.items():
            _write(self._directory / certificate_file(name), pair.chain + b"\n" + pair.key)
        candidate = self._directory / "nginx.conf.new"
        _write(candidate, render(state, self._options).encode())
        await self._check(candidate)
        candidate.replace(self._directory / "nginx.conf")
        for path in (self._directory / "tls").iterdir():
            if f"tls/{path.name}" not in wanted:
                path.unlink()
        self._configured.set()
        if master := self._master():
            os.kill(master, signal.SIGHUP)

    async def run(self) -> None:
        """Keeps nginx running from the first configuration on, until cancelled."""
        await self._configured.wait()
        backoff = Backoff(0.2, 10.0)
        while True:
            began = time.monotonic()
            if (master := self._master()) is None:
                self._end_orphans()
                await self._start()
            else:
                log.info("Taking over a running nginx", pid=master)
                os.kill(master, signal.SIGHUP)
            while (master := self._master()) is not None:
                await _ended(master)
            if time.monotonic() - began > 60:
                backoff.reset()
            delay = backoff.next()
            log.warning("nginx ended and is started again", delay=delay)
            await asyncio.sleep(delay)

    async def stop(self) -> None:
        """Lets requests under way finish, for a few seconds."""
        if master := self._master():
            os.kill(master, signal.SIGQUIT)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(5):
                    await _ended(master)
        if master := self._master():
            os.kill(master, signal.SIGTERM)
            await _ended(master)
        self._end_orphans()

    async def _check(self, configuration: Path) -> None:
        process = await asyncio.create_subprocess_exec(
            self._program, "-t", "-q", "-e", "stderr", "-p", str(self._directory), "-c", str(configuration),
            stdin=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE)
        try:
            async with asyncio.timeout(CHECK_SECONDS):
                _, said = await process.communicate()
        except TimeoutError:
            process.kill()
            raise Refused("nginx -t does not end") from None
        if process.returncode:
            raise Refused(said.decode(errors="replace").strip())

    async def _start(self) -> None:
        """As a daemon: the command ends when the master listens, or with what keeps it from that."""
        process = await asyncio.create_subprocess_exec(
            self._program, "-e", "stderr", "-p", str(self._directory), "-c", str(self._directory / "nginx.conf"),
            stdin=asyncio.subprocess.DEVNULL, stderr=None, start_new_session=True)
        await process.wait()

    def _master(self) -> int | None:
        """The PID of the master that runs with our configuration."""
        try:
            pid = int((self._directory / "nginx.pid").read_text())
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except (OSError, ValueError):
            return None
        return pid if b"master process" in command and os.fsencode(self._directory) in command else None

    def _end_orphans(self) -> None:
        """Workers whose master is gone: those of the session that the PID file still names."""
        with contextlib.suppress(OSError, ValueError):
            session = int((self._directory / "nginx.pid").read_text())
            for pid in _members(session):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def _members(session: int) -> Iterator[int]:
    """The nginx processes of a session; a master leads its own."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, ValueError, IndexError):
                name, _, rest = (entry / "stat").read_text().partition(" (")[2].rpartition(") ")
                if name == "nginx" and int(rest.split()[3]) == session:
                    yield int(entry.name)


async def _ended(pid: int) -> None:
    """Returns when a process, ours or not, is gone."""
    if process := ProcessId.of(pid):
        await process.wait()


def _write(path: Path, content: bytes) -> None:
    """Replaces a file at once, readable by its owner only."""
    if path.exists() and path.read_bytes() == content:
        return
    partial = path.with_name(f"{path.name}.partial")
    with os.fdopen(os.open(partial, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600), "wb") as file:
        file.write(content)
    partial.replace(path)
