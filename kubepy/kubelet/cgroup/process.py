"""Processes that are put into cgroups of their own: the kubelet (`kubeletCgroups`) and the rest of the system (`systemCgroups`).

Looked after once a minute, as upstream: what has been started in the root cgroup since goes too, but for process 1 and the kernel's
threads.
"""
from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

from kubepy.base.clock import Clock
from kubepy.base.log import get_logger
from kubepy.kubelet.cgroup.tree import Cgroups

log = get_logger("cgroup")
_PERIOD = 60.0


class Processes:
    def __init__(self, tree: Cgroups, kubelet: str, system: str, proc: Path = Path("/proc")) -> None:
        """Names of cgroups; "" leaves processes where they are."""
        self._tree, self._kubelet, self._system, self._proc = tree, kubelet.strip("/"), system.strip("/"), proc

    async def run(self, clock: Clock) -> None:
        while self._kubelet or self._system:
            await asyncio.to_thread(self.place)
            await clock.sleep(_PERIOD)

    def place(self) -> None:
        """Puts everything where it belongs."""
        if self._kubelet:
            self._move([os.getpid()], self._kubelet)
        if self._system:
            self._move(self._strays(), self._system)

    def _strays(self) -> list[int]:
        found: set[int] = set()
        for directory in self._tree.hierarchies():
            with contextlib.suppress(OSError):
                found |= {int(text) for text in (directory / "cgroup.procs").read_text().split()}
        return sorted(pid for pid in found if pid > 1 and pid != os.getpid() and self._has_program(pid))

    def _has_program(self, pid: int) -> bool:
        """The kernel's threads have none."""
        try:
            return bool(os.readlink(self._proc / str(pid) / "exe"))
        except OSError:
            return False

    def _move(self, pids: Iterable[int], name: str) -> None:
        for hierarchy in self._tree.hierarchies():
            directory = hierarchy / name
            try:
                directory.mkdir(parents=True, exist_ok=True)
                there = (directory / "cgroup.procs").read_text().split()
            except OSError as error:
                log.warning("A cgroup for processes cannot be made", cgroup=str(directory), err=error)
                continue
            for pid in pids:
                if str(pid) not in there:
                    with contextlib.suppress(OSError):  # it may have ended
                        (directory / "cgroup.procs").write_text(f"{pid}\n")
