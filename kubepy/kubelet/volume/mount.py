"""mount(2) and umount(2), and what is mounted; paths are the kubelet's mount namespace's."""
from __future__ import annotations

import ctypes
import os
from pathlib import Path

_libc = ctypes.CDLL(None, use_errno=True)
_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_REMOUNT, _MS_BIND, _MS_REC = 1, 2, 4, 8, 32, 4096, 16384
_MNT_DETACH = 2


def _check(result: int, what: str) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), what)


def mount(source: str, target: str, kind: str, flags: int = 0, options: str = "") -> None:
    _check(_libc.mount(source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), options.encode() or None), target)


def mount_tmpfs(target: Path, *, size: int = 0, hugepage: str = "") -> None:
    options = f"size={size}" if size else ""
    if hugepage:
        mount("nodev", str(target), "hugetlbfs", 0, f"pagesize={hugepage}")
    else:
        mount("tmpfs", str(target), "tmpfs", 0, options)


def bind(source: str, target: Path) -> None:
    """`source` may be `/proc/self/fd/N`, so that what was checked is what is mounted."""
    mount(source, str(target), "none", _MS_BIND | _MS_REC)


def unmount(target: Path, *, lazy: bool = False) -> None:
    """Nothing there is no error."""
    result = _libc.umount2(str(target).encode(), _MNT_DETACH if lazy else 0)
    if result != 0 and ctypes.get_errno() not in (22, 2):  # EINVAL: not a mount point; ENOENT
        _check(result, str(target))


def is_mount_point(path: Path) -> bool:
    try:
        return path.stat().st_dev != path.parent.stat().st_dev or _listed(path)
    except FileNotFoundError:
        return False


def _listed(path: Path) -> bool:
    return str(path.resolve()) in mount_points()


def mount_points(below: str = "") -> list[str]:
    """All mount points (below a directory), deepest first."""
    found = []
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            point = line.split(" ", 5)[4].replace("\\040", " ")
            if point.startswith(below):
                found.append(point)
    return sorted(found, key=len, reverse=True)
