"""The log backend: one JSON event a line, appended to a file that is rotated by size and whose old parts go by age and number."""
from __future__ import annotations

import gzip
import os
import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path

from kubepy.base.clock import Clock

_DAY = 86400.0


class LogFile:
    """Several processes may append to one file: each line is one write, and a file another process moved away is opened anew."""

    def __init__(self, path: str, clock: Clock, *, max_megabytes: int = 100, max_backups: int = 0, max_days: int = 0,
                 compress: bool = False) -> None:
        """`-` is the standard output; 0 means no limit, for the size 100 MB. Raises OSError."""
        self._clock = clock
        self._path = None if path == "-" else Path(path)
        self._limit = (max_megabytes or 100) << 20
        self._backups, self._days, self._compress = max_backups, max_days, compress
        self._fd = -1
        if self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._open()

    def _open(self) -> None:
        assert self._path is not None
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def write(self, data: bytes) -> None:
        """Whole lines."""
        if self._path is None:
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
            return
        try:
            there = os.stat(self._path)
        except FileNotFoundError:
            there = None
        own = os.fstat(self._fd)
        if there is None or (there.st_ino, there.st_dev) != (own.st_ino, own.st_dev):
            self._open()
        elif there.st_size and there.st_size + len(data) > self._limit:
            self._rotate()
        os.write(self._fd, data)

    def _rotate(self) -> None:
        assert self._path is not None
        now = self._clock.now()
        stamp = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H-%M-%S.%f")[:-3]
        moved = self._path.with_name(f"{self._path.stem}-{stamp}{self._path.suffix}")
        os.rename(self._path, moved)
        self._open()
        if self._compress:
            with open(moved, "rb") as source, gzip.open(f"{moved}.gz", "wb") as target:
                shutil.copyfileobj(source, target)
            os.chmod(f"{moved}.gz", 0o600)
            moved.unlink()
        self._clean(now)

    def _clean(self, now: float) -> None:
        assert self._path is not None
        old = sorted(self._path.parent.glob(f"{self._path.stem}-*{self._path.suffix}*"), reverse=True)
        for position, path in enumerate(old):
            if (self._backups and position >= self._backups) or (self._days and now - path.stat().st_mtime > self._days * _DAY):
                path.unlink(missing_ok=True)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
