"""Runs the programs that talk to the kernel."""
from __future__ import annotations

import asyncio
import subprocess

from kubepy.proxy.backend import BackendError

TIMEOUT = 120.0
"""Seconds until a program is given up."""


async def run(*command: str, stdin: bytes = b"") -> bytes:
    """Its output; raises BackendError with what it complained of."""
    try:  # in a thread: an event loop's pipes break when a program that fails stops reading
        done = await asyncio.to_thread(subprocess.run, command, input=stdin, capture_output=True, timeout=TIMEOUT, check=False)
    except OSError as error:
        raise BackendError(f"{command[0]}: {error.strerror or error}") from error
    except subprocess.TimeoutExpired as error:
        raise BackendError(f"{command[0]}: no answer within {TIMEOUT:.0f} s") from error
    if done.returncode:
        raise BackendError(f"{' '.join(command)}: exit status {done.returncode}: {done.stderr.decode(errors='replace').strip()[:2000]}")
    return done.stdout
