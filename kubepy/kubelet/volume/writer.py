"""Files that change all at once: a directory of links into a time-stamped one, swapped by one rename (upstream's AtomicWriter).

    dir/..2026_11_21_15_00_00.123/config.yaml     the files
    dir/..data -> ..2026_11_21_15_00_00.123        swapped atomically
    dir/config.yaml -> ..data/config.yaml          what containers open
"""
from __future__ import annotations

import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

DATA = "..data"


@dataclass(frozen=True, slots=True)
class Content:
    """One file: bytes, permission bits, and its owner when that is not root."""

    data: bytes
    mode: int = 0o644
    uid: int | None = None


def write_atomically(directory: Path, files: Mapping[str, Content], *, gid: int | None = None) -> bool:
    """Makes the directory hold exactly `files` (relative paths); returns whether anything changed.

    With `gid` everything belongs to that group and is readable for it (fsGroup on a read-only volume)."""
    for name in files:
        if name.startswith("/") or ".." in name.split("/") or not name:
            raise ValueError(f"invalid path {name!r} in a volume")
    directory.mkdir(parents=True, exist_ok=True)
    link = directory / DATA
    current = directory / os.readlink(link) if link.is_symlink() else None
    if current is not None and _same(current, files):
        _link_names(directory, files)
        return False
    stamp = directory / (time.strftime("..%Y_%m_%d_%H_%M_%S.") + f"{time.monotonic_ns() % 10**10:010d}")
    stamp.mkdir(mode=0o755)
    stamp.chmod(0o755)
    for name, content in files.items():
        path = stamp / name
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.write(descriptor, content.data) if len(content.data) < 4096 else _write_all(descriptor, content.data)
            if content.uid is not None or gid is not None:
                os.fchown(descriptor, -1 if content.uid is None else content.uid, -1 if gid is None else gid)
            os.fchmod(descriptor, content.mode | (0o440 if gid is not None else 0))
        finally:
            os.close(descriptor)
    if gid is not None:
        for folder in (directory, stamp, *(path for path in stamp.rglob("*") if path.is_dir())):
            os.chown(folder, -1, gid)
            folder.chmod(folder.stat().st_mode & 0o7777 | 0o2550)
    temporary = directory / "..data_tmp"
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(stamp.name)
    temporary.replace(link)
    _link_names(directory, files)
    for entry in directory.iterdir():
        if entry.name.startswith("..") and entry.name not in (DATA, stamp.name):
            shutil.rmtree(entry, ignore_errors=True)
    return True


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view):]


def _same(current: Path, files: Mapping[str, Content]) -> bool:
    try:
        present = {str(path.relative_to(current)) for path in current.rglob("*") if not path.is_dir()}
        return present == set(files) and all((current / name).read_bytes() == content.data for name, content in files.items())
    except OSError:
        return False


def _link_names(directory: Path, files: Mapping[str, Content]) -> None:
    """The visible names are the first components of the paths."""
    wanted = {name.split("/", 1)[0] for name in files}
    for name in wanted:
        path = directory / name
        if not path.is_symlink():
            path.symlink_to(f"{DATA}/{name}")
    for entry in directory.iterdir():
        if entry.is_symlink() and not entry.name.startswith("..") and entry.name not in wanted:
            entry.unlink()
