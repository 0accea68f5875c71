"""fsGroup: a writable volume belongs to the pod's group (upstream's SetVolumeOwnership)."""
from __future__ import annotations

import os
import stat
from pathlib import Path


def set_group(path: Path, gid: int, *, read_only: bool = False, only_if_root_differs: bool = False) -> None:
    """Gives everything below `path` to the group, readable (and writable) for it, with set-group-ID on directories.

    `only_if_root_differs` is fsGroupChangePolicy OnRootMismatch."""
    file_bits, directory_bits = (0o440, 0o2550) if read_only else (0o660, 0o2770)
    if only_if_root_differs:
        root = path.stat()
        if root.st_gid == gid and root.st_mode & directory_bits == directory_bits:
            return
    for folder, _, names in os.walk(path, topdown=False):
        for name in names:
            file = os.path.join(folder, name)
            status = os.lstat(file)
            os.lchown(file, -1, gid)
            if not stat.S_ISLNK(status.st_mode):
                os.chmod(file, status.st_mode & 0o7777 | file_bits)
        status = os.lstat(folder)
        os.lchown(folder, -1, gid)
        os.chmod(folder, status.st_mode & 0o7777 | directory_bits)
