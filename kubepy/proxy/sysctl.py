"""Kernel settings under /proc/sys. Where a setting is right already nothing is written, which needs no rights."""
from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from kubepy.base.log import get_logger

log = get_logger("proxy")
_ROOT = Path("/proc/sys")


def ensure(settings: Mapping[str, str]) -> None:
    """By path below /proc/sys. What this kernel does not have is left out; what cannot be set is logged."""
    for path, value in settings.items():
        file = _ROOT / path
        try:
            if file.read_text().strip() != value:
                file.write_text(value)
        except FileNotFoundError:
            continue
        except OSError as error:
            log.warning("Cannot set", setting=path, value=value, err=error)
