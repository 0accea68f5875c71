"""Processes named by PID and start time."""
from __future__ import annotations

import os
import signal
import subprocess

from kubepy.base.process import ProcessId


async def test_a_child_is_waited_for_and_its_status_told() -> None:
    child = subprocess.Popen(["sleep", "60"])
    process = ProcessId.of(child.pid)
    assert process is not None
    assert process.alive()
    process.signal(signal.SIGKILL)
    assert await process.wait() == -signal.SIGKILL
    assert not process.alive()
    child.returncode = -signal.SIGKILL  # reaped above, which Popen cannot know


async def test_a_process_that_is_not_ours_to_reap_is_waited_for_too() -> None:
    shell = subprocess.Popen(["sh", "-c", "sleep 60 & echo $!"], stdout=subprocess.PIPE, text=True)
    assert shell.stdout is not None
    process = ProcessId.of(int(shell.stdout.readline()))
    shell.stdout.close()
    shell.wait()
    assert process is not None
    process.signal(signal.SIGTERM)
    assert await process.wait() is None


def test_a_reused_pid_is_another_process() -> None:
    us = ProcessId.of(os.getpid())
    assert us is not None
    other = ProcessId(us.pid, us.started + 1)
    assert not other.alive()
    other.signal(signal.SIGKILL)  # must not reach us
