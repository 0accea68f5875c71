"""Environment variables from a file that an init container has left in an emptyDir (`valueFrom.fileKeyRef`).

One variable a line, `NAME=value` or `NAME='value'`, whose quotes may hold several lines; `#` begins a comment line. The file is opened
component by component without following links: what a container has put there must not lead out of its volume.
"""
from __future__ import annotations

import os
import re
import stat
from pathlib import Path

_LIMIT = 64 << 10
_NAME = re.compile(r"[!-<>-~]+\Z")


class EnvFileError(Exception):
    pass


def read_file(volume: Path, path: str) -> str | None:
    """The text of a file in the volume, None when there is none. Raises EnvFileError."""
    parts = [part for part in path.split("/") if part and part != "."]
    if not parts or ".." in parts:
        raise EnvFileError(f"path {path!r} must be inside the volume")
    current = os.open(volume, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for index, part in enumerate(parts):
            kind = os.O_DIRECTORY if index < len(parts) - 1 else os.O_NONBLOCK
            try:
                following = os.open(part, os.O_RDONLY | os.O_NOFOLLOW | kind, dir_fd=current)
            except FileNotFoundError:
                return None
            except OSError as error:
                raise EnvFileError(f"couldn't parse env file: {path}: {error.strerror}") from error
            os.close(current)
            current = following
        status = os.fstat(current)
        if not stat.S_ISREG(status.st_mode):
            raise EnvFileError(f"couldn't parse env file: {path} is not a file")
        if status.st_size > _LIMIT:
            raise EnvFileError(f"couldn't parse env file: {path} is larger than {_LIMIT} bytes")
        with os.fdopen(os.dup(current), "rb") as file:
            return file.read(_LIMIT).decode(errors="replace")
    finally:
        os.close(current)


def parse(text: str) -> dict[str, str]:
    """All variables of the file. Raises EnvFileError."""
    found: dict[str, str] = {}
    position = 0
    while position < len(text):
        end = text.find("\n", position)
        end = len(text) if end < 0 else end
        line = text[position:end].strip()
        start, position = position, end + 1
        if not line or line.startswith("#"):
            continue
        name, equals, value = line.partition("=")
        if not equals or not _NAME.match(name):
            raise EnvFileError(f"couldn't parse env file: invalid line {line[:40]!r}")
        value = value.strip()
        if value.startswith("'"):
            opening = text.index("'", start)
            closing = text.find("'", opening + 1)
            if closing < 0:
                raise EnvFileError(f"couldn't parse env file: unterminated quote of {name!r}")
            value = text[opening + 1:closing]
            after = text.find("\n", closing)
            position = len(text) if after < 0 else after + 1
            if text[closing + 1:len(text) if after < 0 else after].strip():
                raise EnvFileError(f"couldn't parse env file: text after the quote of {name!r}")
        found[name] = value
    return found
