"""Pods' cgroups as transient slices of systemd, for the systemd cgroup driver: systemd would undo what is written past it.

Asked through `busctl`, and only when something has changed; on a machine without it (or without systemd) the directories are made by
hand, which serves as long as nobody else manages them.
"""
from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from kubepy.base.log import get_logger
from kubepy.kubelet.container.resource import PERIOD, cpu_weight

log = get_logger("cgroup")
INFINITY = (1 << 64) - 1
BUS = Path("/run/dbus/system_bus_socket")
"""Where runc, too, asks systemd."""
_MANAGER = ("org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager")
Run = Callable[[Sequence[str]], int]
"""A command to its exit code."""


@dataclass(frozen=True, slots=True)
class Limits:
    """As the kernel counts them: CPU shares, microseconds in a period, bytes, processes; 0 is no limit."""

    shares: int = 2
    quota: int = 0
    memory: int = 0
    pids: int = 0


def properties(limits: Limits, *, v2: bool) -> list[str]:
    """The unit's properties as busctl takes them: name, signature, value of each."""
    per_second = limits.quota * 1_000_000 // PERIOD if limits.quota else INFINITY
    values = (("CPUWeight", cpu_weight(limits.shares)) if v2 else ("CPUShares", limits.shares), ("CPUQuotaPerSecUSec", per_second),
              ("MemoryMax" if v2 else "MemoryLimit", limits.memory or INFINITY), ("TasksMax", limits.pids or INFINITY))
    return [word for name, value in values for word in (name, "t", str(value))]


def parent_of(name: str) -> str:
    """`kubepods-burstable-podu.slice` is in `kubepods-burstable.slice`; a slice of one word in the root."""
    head, dash, _ = name.removesuffix(".slice").rpartition("-")
    return f"{head}.slice" if dash else "-.slice"


class Slices:
    def __init__(self, *, v2: bool, run: Run | None = None) -> None:
        self._v2 = v2
        self._run = run or _run
        self._applied: dict[str, Limits] = {}

    @staticmethod
    def available() -> bool:
        """Whether systemd manages this machine, and can be asked."""
        return shutil.which("busctl") is not None and Path("/run/systemd/system").is_dir() and BUS.exists()

    def ensure(self, name: str, limits: Limits) -> bool:
        """Makes the slice or changes it; False when systemd would not."""
        if self._applied.get(name) == limits:
            return True
        wanted = properties(limits, v2=self._v2)
        count = len(wanted) // 3
        if name in self._applied:
            done = self._call("SetUnitProperties", "sba(sv)", name, "true", str(count), *wanted)
        else:
            fixed = ("Description", "s", f"kubepy slice {name}", "DefaultDependencies", "b", "false", "Wants", "as", "1", parent_of(name),
                     "MemoryAccounting", "b", "true", "CPUAccounting", "b", "true", "TasksAccounting", "b", "true")
            done = self._call("StartTransientUnit", "ssa(sv)a(sa(sv))", name, "replace", str(count + 6), *fixed, *wanted, "0") or \
                self._call("SetUnitProperties", "sba(sv)", name, "true", str(count), *wanted)  # it was there from before
        if done:
            self._applied[name] = limits
        else:
            log.warning("systemd does not make the slice", name=name)
        return done

    def remove(self, name: str) -> None:
        self._applied.pop(name, None)
        self._call("StopUnit", "ss", name, "replace")

    def _call(self, method: str, signature: str, *words: str) -> bool:
        return self._run(("busctl", "--system", "--quiet", "call", *_MANAGER, method, signature, *words)) == 0


def _run(command: Sequence[str]) -> int:
    try:
        return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=10, check=False).returncode
    except (OSError, subprocess.TimeoutExpired):
        return 1
