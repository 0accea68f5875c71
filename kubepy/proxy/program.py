"""Runs the programs that talk to the kernel."""
from __future__ import annotations

import asyncio
import subprocess
import tempfile
import threading
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, closing, suppress

from kubepy.proxy.backend import BackendError

TIMEOUT = 120.0
"""Seconds until a program is given up."""


async def run(*command: str, stdin: bytes = b"") -> bytes:
    """Its output; raises BackendError with what it complained of."""
    try:  # in a thread: an event loop's pipes break when a program that fails stops reading
        done = await asyncio.to_thread(subprocess.run, command, input=stdin, capture_output=True, timeout=TIMEOUT, check=False)
    except OSError as error:
        raise BackendError(f"{command[0]}: {error.strerror or error}") from error
    except subprocess.TimeoutExpired as error:
        raise BackendError(f"{command[0]}: no answer within {TIMEOUT:.0f} s") from error
    if done.returncode:
        raise BackendError(f"{' '.join(command)}: exit status {done.returncode}: {done.stderr.decode(errors='replace').strip()[:2000]}")
    return done.stdout


async def restore(command: Sequence[str], texts: Iterable[str]) -> None:
    """Gives each text to a program of its own (iptables-restore), one transaction after the other; raises BackendError at the first that
    is refused. Each program reads all of its text but for the COMMIT while the one before is at work: reading takes a third of the time,
    and the kernel's part, which takes the rest, is another processor's."""
    await asyncio.to_thread(_restore, command, texts)


def _restore(command: Sequence[str], texts: Iterable[str]) -> None:
    with ExitStack() as stack:
        before: _Transaction | None = None
        for text in texts:
            now = stack.enter_context(closing(_Transaction(command, text)))
            if before is not None:
                before.finish()
            now.commit()
            before = now
        if before is not None:
            before.finish()


class _Transaction:
    """A program that has read its text up to the first COMMIT."""

    def __init__(self, command: Sequence[str], text: str) -> None:
        self._command = command
        head, commit, tail = text.partition("COMMIT\n")
        self._rest = commit + tail
        self._complaint = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        try:
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=self._complaint)
        except OSError as error:
            self._complaint.close()
            raise BackendError(f"{command[0]}: {error.strerror or error}") from error
        self._limit = threading.Timer(TIMEOUT, self._process.kill)
        self._limit.start()
        self._write(head)

    def _write(self, text: str, last: bool = False) -> None:
        assert self._process.stdin is not None
        if self._process.stdin.closed:
            return
        with suppress(BrokenPipeError):  # it has ended; `finish` says why
            self._process.stdin.write(text.encode())
            self._process.stdin.flush()
        if last:
            with suppress(BrokenPipeError):
                self._process.stdin.close()

    def commit(self) -> None:
        self._write(self._rest, last=True)

    def finish(self) -> None:
        """Waits; raises BackendError."""
        code = self._process.wait()
        self._complaint.seek(0)
        complaint = self._complaint.read(2000).decode(errors="replace").strip()
        self.close()
        if code:
            raise BackendError(f"{' '.join(self._command)}: exit status {code}: {complaint}")

    def close(self) -> None:
        """Ends it if it has not ended: without its COMMIT nothing has been changed."""
        if self._complaint.closed:
            return
        self._limit.cancel()
        self._process.kill()
        self._write("", last=True)
        self._process.wait()
        self._complaint.close()
