"""What is true since this machine was started: files that name the boot they were written in, so that one left by an earlier boot
counts for nothing, wherever it lies."""
from __future__ import annotations

from pathlib import Path

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def boot_id() -> str:
    """The kernel's name for this boot; "" where it has none."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""


def mark(path: Path) -> None:
    """Says that it is so since now. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.new")
    partial.write_text(f"{boot_id()}\n")
    partial.replace(path)


def marked(path: Path) -> bool:
    """Whether it has been said in this boot."""
    try:
        return path.read_text().strip() == boot_id()
    except OSError:
        return False
