"""Files that are read again when they change, so that certificates and configuration rotate without a restart.

    files = Files()
    files.follow("client CA", [path], verifier.load)
    tasks.keep(files.keep, "files")

Looking costs one `stat` a file every few seconds. What cannot be read (half-written, missing, wrong) is logged and tried again at
the next look; until then what was read before stays in force.
"""
from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kubepy.base.clock import Clock, SystemClock
from kubepy.base.log import get_logger

log = get_logger("files")
SECONDS = 3.0

Stamp = tuple[int, int, int] | None


def stamp(path: str) -> Stamp:
    """What changes when a file is written or replaced; None when it is not there."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


@dataclass(slots=True)
class _Group:
    what: str
    paths: tuple[str, ...]
    load: Callable[[], None]
    loaded: tuple[Stamp, ...]
    failed: tuple[Stamp, ...] | None = None
    """What was last found unusable, so that it is told once."""


class Files:
    def __init__(self, clock: Clock | None = None, seconds: float = SECONDS) -> None:
        self._clock = clock or SystemClock()
        self._seconds = seconds
        self._groups: list[_Group] = []

    def follow(self, what: str, paths: Sequence[str], load: Callable[[], None]) -> None:
        """Calls `load` when one of the files has changed; it raises OSError or ValueError (so `ssl.SSLError`) to be asked again."""
        group = tuple(path for path in paths if path)
        if group:
            self._groups.append(_Group(what, group, load, tuple(map(stamp, group))))

    def look(self) -> None:
        for group in self._groups:
            now = tuple(map(stamp, group.paths))
            if now == group.loaded:
                continue
            try:
                group.load()
            except (OSError, ValueError) as error:
                if now != group.failed:
                    group.failed = now
                    log.error("A file that changed cannot be used, what was read before stays", error, what=group.what,
                              files=",".join(group.paths))
                continue
            group.loaded, group.failed = now, None
            log.info("Read again what has changed", what=group.what, files=",".join(group.paths))

    async def keep(self) -> None:
        """Looks for ever."""
        while True:
            await self._clock.sleep(self._seconds)
            self.look()
