"""hostPath volumes: the type is checked (or made) first, for a runtime would make a missing source a directory."""
from __future__ import annotations

import stat
from pathlib import Path


class HostPathError(Exception):
    """The path is not of the wanted type; the message is upstream's."""


def check_host_path(path: Path, kind: str) -> None:
    """Checks `kind` ("" for none); makes what `…OrCreate` asks for."""
    if not kind:
        return
    exists = path.exists()
    if kind == "DirectoryOrCreate" and not exists:
        path.mkdir(parents=True, mode=0o755)
        return
    if kind == "FileOrCreate" and not exists:
        if not path.parent.is_dir():
            raise HostPathError(f"open {path}: no such file or directory")
        path.touch(mode=0o644)
        return
    wanted = kind.removesuffix("OrCreate")
    mode = path.stat().st_mode if exists else 0
    tests = {"Directory": (stat.S_ISDIR, "a directory"), "File": (stat.S_ISREG, "a file"), "Socket": (stat.S_ISSOCK, "a socket file"),
             "CharDevice": (stat.S_ISCHR, "a character device"), "BlockDevice": (stat.S_ISBLK, "a block device")}
    if wanted not in tests:
        raise HostPathError(f"{kind} is an invalid volume type")
    test, text = tests[wanted]
    if not exists or not test(mode):
        raise HostPathError(f"hostPath type check failed: {path} is not {text}")
