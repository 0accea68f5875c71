"""`protectKernelDefaults`: the kernel must be set as the kubelet wants it, or the kubelet does not start.

Known difference: without it upstream sets these values itself; here the machine's settings are left alone (`kubepy node doctor` tells of
those that matter).
"""
from __future__ import annotations

from pathlib import Path

_WANTED = {"vm/overcommit_memory": 1, "vm/panic_on_oom": 0, "kernel/panic": 10, "kernel/panic_on_oops": 1,
           "kernel/keys/root_maxkeys": 1_000_000, "kernel/keys/root_maxbytes": 25_000_000}


def problems(root: Path = Path("/proc/sys")) -> str:
    """"" when all is as it should be."""
    found = []
    for name, wanted in _WANTED.items():
        try:
            actual = int((root / name).read_text())
        except (OSError, ValueError):
            continue
        if actual != wanted:
            found.append(f"invalid kernel flag: {name}, expected value: {wanted}, actual value: {actual}")
    return f"[{', '.join(found)}]" if len(found) > 1 else "".join(found)
