"""Removing the directories of deleted local-path volumes: the kubelet made them (`DirectoryOrCreate`), so it takes them away.

The provisioner in the controller manager asks for it: `DELETE /localVolumes/pvc-UID?path=…`, which needs the right to delete
`nodes/localvolumes`. Upstream's provisioner runs a pod on the node for it. Whatever is asked, only a directory that is named after
its volume (`pvc-UID_namespace_claim`) is ever removed, is reached without following a link, and is in no pod's use.
"""
from __future__ import annotations

import asyncio
import os
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

_NAME = re.compile(r"pvc-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class NotAllowed(ValueError):
    """It is not the directory of that volume."""


class InUse(Exception):
    """A pod uses it, or it is being removed already."""


def check(name: str, text: str) -> Path:
    """The path, if it can be that volume's directory at all."""
    path = Path(text)
    if not _NAME.fullmatch(name):
        raise NotAllowed(f"{name!r} is not the name of a local-path volume")
    if not path.is_absolute() or os.path.normpath(text) != text or len(path.parts) < 3 or not path.name.startswith(f"{name}_"):
        raise NotAllowed(f"{text!r} is not the directory of volume {name}")
    return path


class LocalVolumes:
    def __init__(self) -> None:
        self._going: set[Path] = set()

    async def remove(self, name: str, text: str, used: Iterable[Path]) -> bool:
        """False when nothing was there. Raises NotAllowed, InUse or OSError."""
        path = check(name, text)
        if path in self._going:
            raise InUse(f"{path} is being removed")
        if any(one == path or path in one.parents for one in used):
            raise InUse(f"{path} is used by a pod")
        self._going.add(path)
        try:
            return await asyncio.to_thread(_remove, path)
        finally:
            self._going.discard(path)


def _remove(path: Path) -> bool:
    """Each directory on the way is opened from the one before and is no link; nor are links in it followed."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
    above = os.open("/", flags)
    try:
        for part in path.parts[1:-1]:
            try:
                below = os.open(part, flags, dir_fd=above)
            except FileNotFoundError:
                return False
            os.close(above)
            above = below
        try:
            os.close(os.open(path.name, flags, dir_fd=above))
        except FileNotFoundError:
            return False
        shutil.rmtree(path.name, dir_fd=above)
        return True
    finally:
        os.close(above)
