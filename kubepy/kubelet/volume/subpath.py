"""subPath mounts that cannot leave their volume, whatever links a container has put into it.

The path is resolved once, checked to lie in the volume, then opened one component at a time without following links; what was
opened is bind-mounted below the pod's directory, and only that is handed to the runtime.
"""
from __future__ import annotations

import os
import stat
from pathlib import Path

from kubepy.kubelet.volume.mount import bind, is_mount_point, unmount


class SubPathError(Exception):
    pass


def prepare_subpath(volume: Path, subpath: str, target: Path) -> Path:
    """Bind-mounts `volume/subpath` (made as a directory when missing) at `target`; returns `target`. Raises SubPathError."""
    if subpath.startswith("/") or ".." in subpath.split("/"):
        raise SubPathError(f"subPath {subpath!r} must be relative and inside the volume")
    root = volume.resolve()
    resolved = Path(os.path.realpath(root / subpath))
    if resolved != root and root not in resolved.parents:
        raise SubPathError(f"subpath {str(resolved)!r} not within volume path {str(root)!r}")
    descriptor = open_inside(root, resolved.relative_to(root).parts)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if is_mount_point(target):
            unmount(target, lazy=True)
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):
            target.mkdir(exist_ok=True)
        else:
            target.touch(exist_ok=True)
        bind(f"/proc/self/fd/{descriptor}", target)
    finally:
        os.close(descriptor)
    return target


def open_inside(root: Path, parts: tuple[str, ...]) -> int:
    """A descriptor of what is at the path; a directory that had to be made gets the volume's mode, whatever the umask."""
    current = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    mode, made = stat.S_IMODE(os.fstat(current).st_mode), False
    try:
        for part in parts:
            try:
                following = os.open(part, os.O_PATH | os.O_NOFOLLOW, dir_fd=current)
            except FileNotFoundError:
                os.mkdir(part, mode, dir_fd=current)
                made = True
                following = os.open(part, os.O_PATH | os.O_NOFOLLOW, dir_fd=current)
            if stat.S_ISLNK(os.fstat(following).st_mode):
                os.close(following)
                raise SubPathError(f"unexpected symlink found at {part!r}")
            os.close(current)
            current = following
        if made:
            os.chmod(f"/proc/self/fd/{current}", mode)
    except BaseException:
        os.close(current)
        raise
    return current
