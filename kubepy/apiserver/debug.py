"""/debug/pprof/* (with --profiling) and /debug/flags/v: what the process does, for those whom RBAC lets see these paths.

The paths are upstream's; what they show is Python's: stacks of tasks for goroutines, sampled stacks (as flame graph tools read them) for
a CPU profile, counts of objects for the heap. Known difference: there are no symbols and no traces to fetch.
"""
from __future__ import annotations

import asyncio
import collections
import gc
import sys
import threading
import time
import traceback
from pathlib import Path

from kubepy.api.errors import BadRequest, MethodNotAllowed
from kubepy.apiserver.exchange import Exchange
from kubepy.base import log as logs

_TEXT = b"text/plain; charset=utf-8"
_INDEX = """<html><head><title>/debug/pprof/</title></head><body>/debug/pprof/<br>
<a href="cmdline">cmdline</a> the command line<br><a href="goroutine">goroutine</a> stacks of all tasks<br>
<a href="heap">heap</a> objects by type<br><a href="profile">profile</a> stacks sampled for ?seconds=30<br></body></html>"""
_LONGEST = 60.0
_SAMPLES = 100
"""A second."""


async def answer(exchange: Exchange, path: str, *, profiling: bool) -> bool:
    """Serves a path below /debug; False for what is not there."""
    if path == "/debug/flags/v":
        await _verbosity(exchange)
        return True
    name = path.removeprefix("/debug/pprof").strip("/")
    if not profiling or not path.startswith("/debug/pprof"):
        return False
    if name == "":
        await exchange.answer(200, _INDEX.encode(), b"text/html; charset=utf-8")
    elif name == "cmdline":
        await exchange.answer(200, "\0".join(sys.orig_argv).encode(), _TEXT)
    elif name == "goroutine":
        await exchange.answer(200, _tasks().encode(), _TEXT)
    elif name == "heap":
        await exchange.answer(200, _objects().encode(), _TEXT)
    elif name == "profile":
        asked = exchange.query.get("seconds", ["30"])[0]
        if not asked.isdigit() or not 0 < int(asked) <= _LONGEST:
            raise BadRequest(f"seconds must be between 1 and {_LONGEST:.0f}")
        await exchange.answer(200, (await asyncio.to_thread(_sample, float(asked), threading.get_ident())).encode(), _TEXT)
    else:
        return False
    return True


async def _verbosity(exchange: Exchange) -> None:
    """PUT sets how much is logged, until the process ends."""
    if exchange.method != "PUT":
        raise MethodNotAllowed("the server does not allow this method on the requested resource", {})
    text = (await exchange.body()).decode(errors="replace").strip()
    if not text.isdigit() or int(text) > 10:
        raise BadRequest(f'failed to set klog.logging.Verbosity {text}: strconv.ParseInt: parsing "{text}": invalid syntax')
    logs.set_verbosity(int(text))
    await exchange.answer(200, f"successfully set klog.logging.verbosity to {text}".encode(), _TEXT)


def _tasks() -> str:
    tasks = asyncio.all_tasks()
    lines = [f"{len(tasks)} tasks"]
    for task in tasks:
        lines.append(f"\n{task.get_name()}:")
        lines += [f"  {frame.f_code.co_filename}:{frame.f_lineno} {frame.f_code.co_name}" for frame in task.get_stack(limit=20)]
    return "\n".join(lines) + "\n"


def _objects() -> str:
    counts = collections.Counter(type(item).__qualname__ for item in gc.get_objects())
    return "".join(f"{count:10} {name}\n" for name, count in counts.most_common(100))


def _sample(seconds: float, thread: int) -> str:
    """Folded stacks of one thread with how often each was seen. Runs in another thread."""
    stacks: collections.Counter[str] = collections.Counter()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        frame = sys._current_frames().get(thread)
        if frame is not None:
            stacks[";".join(f"{item.name} ({Path(item.filename).name}:{item.lineno})" for item in traceback.extract_stack(frame))] += 1
        time.sleep(1 / _SAMPLES)
    return "".join(f"{stack} {count}\n" for stack, count in stacks.most_common())
