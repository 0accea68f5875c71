"""`/logs/…`: the node's /var/log, as Go's file server shows it: listings of directories, contents of files.

Known difference: no ranges and no conditional requests; links that lead out of the directory are not followed.
"""
from __future__ import annotations

import asyncio
import html
import mimetypes
import os
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

_PIECE = 1 << 18


class NoSuchFile(Exception):
    pass


def find(root: Path, parts: list[str]) -> Path:
    """The file or directory. Raises NoSuchFile for what is not there, or not below the root."""
    home = root.resolve()
    path = Path(os.path.realpath(home.joinpath(*parts)))
    if ".." in parts or not path.exists() or (path != home and home not in path.parents):
        raise NoSuchFile("/".join(parts))
    return path


def listing(directory: Path) -> bytes:
    names = sorted(entry.name + ("/" if entry.is_dir() else "") for entry in directory.iterdir())
    lines = "".join(f'<a href="{quote(name)}">{html.escape(name)}</a>\n' for name in names)
    return f'<!doctype html>\n<meta name="viewport" content="width=device-width">\n<pre>\n{lines}</pre>\n'.encode()


def kind_of(path: Path) -> str:
    guessed = mimetypes.guess_type(path.name)[0] or "text/plain"
    return f"{guessed}; charset=utf-8" if guessed.startswith("text/") else guessed


async def content(path: Path) -> AsyncIterator[bytes]:
    """As much as the file has when it is opened."""
    with await asyncio.to_thread(open, path, "rb") as file:
        left = (await asyncio.to_thread(os.fstat, file.fileno())).st_size
        while left > 0 and (piece := await asyncio.to_thread(file.read, min(_PIECE, left))):
            left -= len(piece)
            yield piece
