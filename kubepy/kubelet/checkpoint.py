"""Files in which parts of the kubelet keep what must outlive it: replaced whole, and on a full disk as soon as it can be."""
from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import orjson

from kubepy.base.file import replace_file
from kubepy.base.log import get_logger

log = get_logger("checkpoint")


class Checkpoint:
    """One file of JSON, for its owner's eyes only. The directory is made when it is missing."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._unsaved: bytes | None = None
        self._turn = threading.Lock()

    def load(self) -> Any:
        """What was kept; None where there is nothing. Raises OSError, ValueError."""
        try:
            return orjson.loads(self.path.read_bytes())
        except FileNotFoundError:
            return None

    def save(self, state: Any) -> None:
        """Raises OSError; the file is then what it was."""
        self._write(orjson.dumps(state, option=orjson.OPT_NON_STR_KEYS))

    def keep(self, state: Any) -> None:
        """As `save`, but what cannot be written now is written by `retry`: the kubelet goes by what it knows meanwhile."""
        self.put(orjson.dumps(state, option=orjson.OPT_NON_STR_KEYS))

    def put(self, data: bytes) -> None:
        """`keep` of what is JSON already; may be called from a thread."""
        self._unsaved = None
        try:
            self._write(data)
        except OSError as error:
            log.error("State is not kept yet", error, path=str(self.path))
            self._unsaved = data

    def retry(self) -> None:
        if self._unsaved is not None:
            self.put(self._unsaved)

    def _write(self, data: bytes) -> None:
        with self._turn:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
            replace_file(self.path, data)
