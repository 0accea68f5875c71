"""Temporary directories that say whose they are, so that what a killed run has left (data, processes, network namespaces) goes with the
next one.

A directory is `kubepy-KIND-PID-…`; it is swept when no process has that PID any more, where PIDs mean the same (a virtual machine that
sees this machine's files has others): that is in its file `owner`. Network namespaces that belong to it are in `namespaces`, a prefix a
line.
"""
from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
from pathlib import Path

NAMED = re.compile(r"kubepy-[a-z0-9]+-(\d+)-\w+")
NAMESPACES = Path("/run/netns")


def directory(kind: str) -> Path:
    """A new one of this process. Short: a Unix socket's path ends after 107 bytes."""
    made = Path(tempfile.mkdtemp(prefix=f"kubepy-{kind}-{os.getpid()}-"))
    (made / "owner").write_text(_where())
    return made


def _where() -> str:
    """This start of the kernel, and the namespace of this process' PID."""
    return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {os.readlink('/proc/self/ns/pid')}"


def bound(command: list[str]) -> list[str]:
    """The command, such that it ends with this process, however that ends (Linux minds the thread, so only the first one's count)."""
    if threading.current_thread() is not threading.main_thread() or shutil.which("setpriv") is None:
        return command
    return ["setpriv", "--pdeathsig", "KILL", *command]


def sweep(top: Path | None = None) -> list[str]:
    """Removes what dead processes have left; the directories' names."""
    top, swept = top or Path(tempfile.gettempdir()), []
    for path in top.iterdir():
        named = NAMED.fullmatch(path.name)
        if named is None or Path("/proc", named[1]).exists():
            continue
        try:
            if (path / "owner").read_text() != _where() or path.stat().st_uid != os.getuid():
                continue
        except OSError:
            continue
        for pid in _users(str(path)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        prefixes = (path / "namespaces").read_text().split() if (path / "namespaces").exists() else []
        for name in sorted(entry.name for entry in NAMESPACES.glob("kubepy-*")) if prefixes else ():
            if name.startswith(tuple(prefixes)):
                subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)
        for mount in reversed(Path("/proc/self/mounts").read_text().splitlines()):
            if mount.split()[1].startswith(f"{path}/"):
                subprocess.run(["umount", "-l", mount.split()[1]], check=False, capture_output=True)
        shutil.rmtree(path, ignore_errors=True)
        swept.append(path.name)
    return swept


def _users(path: str) -> list[int]:
    """The processes whose command lines name the directory, and all that they have started: supervisors before what they look after."""
    parents: dict[int, int] = {}
    found: set[int] = set()
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes()
            parents[pid] = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, IndexError):
            continue
        if path.encode() in words and pid != os.getpid():
            found.add(pid)
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return sorted(found)
