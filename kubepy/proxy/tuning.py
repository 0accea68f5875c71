"""What the kernel's connection tracking is told: how many connections it may hold, and how long idle ones stay (kube-proxy's Conntracker).

A connection that one side has closed and the other has not (CLOSE_WAIT) would be forgotten after a minute, while through a Service it
lives only as long as its entry.

Known difference: a table that is larger already stays so. In a network namespace that is not the machine's first the kernel lets
nobody change the table's size, which is logged and no error.
"""
from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from kubepy.base.log import get_logger

log = get_logger("conntrack")
_SETTINGS = Path("/proc/sys/net/netfilter")
_HASH_SIZE = Path("/sys/module/nf_conntrack/parameters/hashsize")
MAX = "nf_conntrack_max"
MOST = 1 << 20
"""However many CPUs there are; a higher minimum counts all the same."""


@dataclass(frozen=True, slots=True)
class Tuning:
    """Zero leaves the kernel's own; times in seconds."""

    max_per_core: int = 32768
    minimum: int = 131072
    tcp_established: float = 86400.0
    tcp_close_wait: float = 3600.0
    tcp_be_liberal: bool = False
    udp: float = 0.0
    udp_stream: float = 0.0


def plan(wanted: Tuning, cpus: int, current: Callable[[str], int | None]) -> dict[str, int]:
    """The settings that have to change; `current` gives one that is in force, None when the kernel does not have it."""
    most = max(min(wanted.max_per_core * cpus, MOST), wanted.minimum) if wanted.max_per_core > 0 else 0
    values = {"nf_conntrack_tcp_timeout_established": int(wanted.tcp_established),
              "nf_conntrack_tcp_timeout_close_wait": int(wanted.tcp_close_wait), "nf_conntrack_tcp_be_liberal": int(wanted.tcp_be_liberal),
              "nf_conntrack_udp_timeout": int(wanted.udp), "nf_conntrack_udp_timeout_stream": int(wanted.udp_stream)}
    found = {name: value for name, value in values.items() if value > 0 and current(name) not in (None, value)}
    held = current(MAX)
    if held is not None and held < most:
        found[MAX] = most
    return found


def tune(wanted: Tuning) -> None:
    """Sets what has to change. What cannot be set is logged: Services work all the same."""
    if not _SETTINGS.exists() and shutil.which("modprobe"):
        subprocess.run(["modprobe", "nf_conntrack"], check=False, capture_output=True)
    for name, value in plan(wanted, os.cpu_count() or 1, _read).items():
        try:
            (_SETTINGS / name).write_text(str(value))
            if name == MAX and int(_HASH_SIZE.read_text()) < value // 4:
                _HASH_SIZE.write_text(str(value // 4))
        except (OSError, ValueError) as error:
            log.warning("Cannot set", setting=name, value=value, err=error)
        else:
            log.info("Set", setting=name, value=value)


def _read(name: str) -> int | None:
    try:
        return int((_SETTINGS / name).read_text())
    except (OSError, ValueError):
        return None
