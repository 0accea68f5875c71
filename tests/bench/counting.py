"""Steps (bytecodes of Python) of a process by function, between two SIGUSR1; `steps_server` and `steps_manager` use it.

The second signal writes `{"file function": [steps, calls]}` to the file that $KUBEPY_STEPS names, with what `counts` holds under
keys that begin with "=". With $KUBEPY_STEPS_OFF only these are counted, at full speed.
"""
from __future__ import annotations

import json
import os
import signal
import sys
from collections import Counter
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

ROOT = str(Path(__file__).resolve().parent.parent.parent) + "/"
counts: Counter[str] = Counter()
"""What else the process counts while it is asked to."""
_steps: Counter[CodeType] = Counter()
_calls: Counter[CodeType] = Counter()
_counting = False


def install() -> None:
    signal.signal(signal.SIGUSR1, _toggle)


def _trace(frame: FrameType, event: str, _: Any) -> Any:
    if event == "opcode":
        _steps[frame.f_code] += 1
    elif event == "call":
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        _calls[frame.f_code] += 1
    return _trace


def _toggle(number: int, frame: FrameType | None) -> None:
    global _counting
    _counting = not _counting
    if _counting:
        _steps.clear()
        _calls.clear()
        counts.clear()
        if not os.environ.get("KUBEPY_STEPS_OFF"):
            sys.settrace(_trace)
        return
    sys.settrace(None)
    found: dict[str, list[int]] = {f"={name}": [count, count] for name, count in counts.items()}
    for code, steps in _steps.items():
        row = found.setdefault(f"{code.co_filename.removeprefix(ROOT)} {code.co_name}", [0, 0])
        row[0] += steps
        row[1] += _calls[code]
    target = Path(os.environ["KUBEPY_STEPS"])
    target.with_suffix(".part").write_text(json.dumps(found))
    target.with_suffix(".part").rename(target)
