"""A terminal in a virtual machine, through the directory it shares: what is typed goes there and what is shown comes back as small files
with numbers, `JOB.in-N` and `JOB.out-N`. A file never grows: the machine might not see what is added to one it has read.

Only the standard library is used; `converse` runs here, `answer` in the machine.
"""
from __future__ import annotations

import fcntl
import os
import pty
import select
import shutil
import signal
import struct
import sys
import termios
import time
import tty
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

EVERY = 0.03
"""Seconds between looks at the directory."""


def put(directory: Path, kind: str, number: int, data: bytes) -> None:
    partial = directory / f"{kind}-{number}.new"
    partial.write_bytes(data)
    partial.rename(directory / f"{kind}-{number}")


def take(directory: Path, kind: str, number: int) -> bytes | None:
    """The piece of that number, once it is there; it is removed."""
    path = directory / f"{kind}-{number}"
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    path.unlink()
    return data


def converse(directory: Path, job: str, ended: Callable[[], bool]) -> None:
    """This terminal's keys to the job and what it shows to this terminal, until it has ended (and all is shown)."""
    typed = shown = 0
    keyboard, screen = sys.stdin.fileno(), sys.stdout.fileno()
    with _raw(keyboard):
        while True:
            over = ended()  # before the last look at what it has shown
            while (data := take(directory, f"{job}.out", shown)) is not None:
                shown += 1
                while data:
                    data = data[os.write(screen, data):]
            if over:
                return
            if select.select([keyboard], [], [], EVERY)[0]:
                put(directory, f"{job}.in", typed, os.read(keyboard, 4096))
                typed += 1


def size() -> tuple[int, int]:
    """Rows and columns of this terminal."""
    columns, rows = shutil.get_terminal_size()
    return rows, columns


@contextmanager
def _raw(keyboard: int) -> Iterator[None]:
    """Keys as they are pressed, interrupts among them."""
    if not os.isatty(keyboard):
        yield
        return
    before = termios.tcgetattr(keyboard)
    tty.setraw(keyboard)
    try:
        yield
    finally:
        termios.tcsetattr(keyboard, termios.TCSADRAIN, before)


def answer(directory: Path, job: str, command: Sequence[str], environment: Mapping[str, str], rows: int, columns: int) -> int:
    """Runs a command on a new terminal; its exit code. Raises OSError."""
    if shutil.which(command[0], path=environment.get("PATH")) is None:
        raise FileNotFoundError(f"{command[0]}: not found")
    pid, terminal = pty.fork()
    if pid == 0:
        try:
            os.execvpe(command[0], list(command), dict(environment))
        finally:
            os._exit(127)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    typed = shown = 0
    status: int | None = None
    quiet = 0.0
    try:
        while True:
            while (data := take(directory, f"{job}.in", typed)) is not None:
                typed += 1
                with suppress(OSError):  # it has ended
                    os.write(terminal, data)
            if select.select([terminal], [], [], EVERY)[0]:
                try:
                    data = os.read(terminal, 65536)
                except OSError:  # nobody has the terminal open any more
                    break
                if not data:
                    break
                put(directory, f"{job}.out", shown, data)
                shown, quiet = shown + 1, 0.0
            elif status is not None and (quiet := quiet or time.monotonic()) + 0.5 < time.monotonic():
                break  # something it has left behind still has the terminal open
            if status is None and (found := os.waitpid(pid, os.WNOHANG))[0]:
                status = found[1]
    finally:
        os.close(terminal)
    if status is None:
        status = _reap(pid)
    return os.waitstatus_to_exitcode(status) % 256


def _reap(pid: int) -> int:
    for _ in range(100):
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return status
        time.sleep(0.05)
    os.kill(pid, signal.SIGKILL)
    return os.waitpid(pid, 0)[1]
