"""Structured logs in klog's form: `I1121 15:17:55.123456    4711 name] "Message" key="value"`, or JSON.

Verbosity follows klog: `log.v(4).info(...)` is written when the daemon runs with `-v 4` or more.
Values are quoted, so a log line is always one line. Secrets must never be passed as values.
"""
from __future__ import annotations

import os
import sys
import threading
import time
import traceback
from dataclasses import dataclass
from typing import Any, TextIO

import orjson


@dataclass(slots=True)
class _Settings:
    verbosity: int = 0
    json: bool = False
    stream: TextIO | None = None


_settings = _Settings()
_lock = threading.Lock()


def set_verbosity(verbosity: int) -> None:
    """Changes it while the process runs."""
    _settings.verbosity = verbosity


def configure(verbosity: int = 0, *, json: bool = False, stream: TextIO | None = None) -> None:
    """Sets the process's verbosity (0 to 10), form and stream (default: standard error)."""
    _settings.verbosity, _settings.json, _settings.stream = verbosity, json, stream


class Logger:
    """Writes lines for one part of a daemon, with fixed fields of its own."""

    __slots__ = ("_fields", "_name")

    def __init__(self, name: str, fields: dict[str, Any] | None = None) -> None:
        self._name = name
        self._fields = fields or {}

    def bind(self, **fields: Any) -> Logger:
        """The same logger with more fixed fields."""
        return Logger(self._name, {**self._fields, **fields})

    def v(self, level: int) -> Logger | _Silent:
        return self if _settings.verbosity >= level else _SILENT

    def info(self, message: str, **fields: Any) -> None:
        self._write("I", message, fields)

    def warning(self, message: str, **fields: Any) -> None:
        self._write("W", message, fields)

    def error(self, message: str, error: BaseException | None = None, **fields: Any) -> None:
        """An error; with an exception its text is a field, and its traceback follows from verbosity 4."""
        if error is not None:
            fields["err"] = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            if _settings.verbosity >= 4:
                fields["traceback"] = "".join(traceback.format_exception(error))
        self._write("E", message, fields)

    def _write(self, severity: str, message: str, fields: dict[str, Any]) -> None:
        now = time.time()
        merged = {**self._fields, **fields}
        if _settings.json:
            record = {"ts": round(now, 6), "severity": severity, "logger": self._name, "msg": message, **merged}
            line = orjson.dumps(record, default=str).decode()
        else:
            stamp = time.strftime("%m%d %H:%M:%S", time.localtime(now))
            text = "".join(f" {key}={_quote(value)}" for key, value in merged.items())
            line = f"{severity}{stamp}.{int(now % 1 * 1e6):06d} {os.getpid():7d} {self._name}] {_quote(message)}{text}"
        with _lock:
            stream = _settings.stream or sys.stderr
            try:
                stream.write(line + "\n")
                stream.flush()
            except (OSError, ValueError):  # a full disk or a closed pipe must not stop the daemon
                pass


class _Silent:
    """Takes what a disabled verbosity level would have written."""

    __slots__ = ()

    def info(self, message: str, **fields: Any) -> None: ...

    def warning(self, message: str, **fields: Any) -> None: ...

    def error(self, message: str, error: BaseException | None = None, **fields: Any) -> None: ...


_SILENT = _Silent()


def get_logger(name: str) -> Logger:
    return Logger(name)


def _quote(value: Any) -> str:
    if isinstance(value, (bool, int, float)) or value is None:
        return str(value)
    return orjson.dumps(str(value)).decode()
