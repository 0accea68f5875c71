"""Starts the supervisor and waits until all it runs is ready: what `kubepy up` and `kubepy join` have in common."""
from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TextIO

from kubepy.api.errors import ApiError
from kubepy.api.resource import NODES
from kubepy.api.types import Object
from kubepy.base.process import ProcessId
from kubepy.base.task import Tasks
from kubepy.cli import prepare, supervisor
from kubepy.cli.component import Component, plan_components
from kubepy.cli.progress import Progress
from kubepy.cli.settings import Settings
from kubepy.client.http import HttpClient
from kubepy.client.kubeconfig import load

NODE_TIMEOUT = 120.0
"""Seconds until one gives up waiting; the supervisor goes on trying."""

Connected = Callable[[HttpClient], Awaitable[None]]
"""Called once, as soon as the API server answers."""


def is_alive(settings: Settings) -> bool:
    """Whether any part runs, with or without a supervisor."""
    return any(is_running(part) for part in supervisor.read_state(settings).get("parts", {}).values())


def command_log(settings: Settings) -> TextIO:
    """Where a command's own log goes: the terminal shows progress."""
    settings.log_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    return open(os.open(settings.log_dir / "up.log", os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600), "a")


def start_supervisor(settings: Settings) -> None:
    """Starts the supervisor detached from this terminal, where needed in a mount namespace whose mounts are shared.

    Volumes are mounted by the kubelet and must be seen by containerd's containers, which needs shared propagation at /."""
    command = [sys.executable, "-m", "kubepy.cli.main", "supervise", f"--data-dir={settings.data_dir}"]
    alive = next((part["pid"] for name, part in supervisor.read_state(settings).get("parts", {}).items()
                  if name in ("containerd", "kubelet") and is_running(part)), None)
    if alive:
        command = ["nsenter", f"--mount=/proc/{alive}/ns/mnt", *command]
    elif not _root_is_shared():
        command = ["unshare", "--mount", "--propagation", "shared", *command]
    settings.run_dir.mkdir(parents=True, exist_ok=True)
    settings.log_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    log = os.open(settings.log_dir / "supervisor.log", os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)
    try:
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd="/",
                         env={**os.environ, "PYTHONPATH": _import_path()})
    finally:
        os.close(log)


def _import_path() -> str:
    """Where this `kubepy` was imported from, so that a checkout that is not installed starts its own code."""
    here = str(Path(__file__).resolve().parents[2])
    rest = os.environ.get("PYTHONPATH", "")
    return f"{here}{os.pathsep}{rest}" if rest else here


async def bring_up(settings: Settings, progress: Progress, connected: Connected, farewell: str, *, registered: Connected | None = None,
                   complete: Connected | None = None) -> int:
    """Waits for every part and for the node, then prints `farewell`; the exit status. `registered` is called once the Node exists,
    `complete` when everything is ready."""
    deadline = time.monotonic() + NODE_TIMEOUT
    components = plan_components(settings)
    names = {component.name for component in components}
    seen: set[str] = set()
    warned: set[tuple[str, int]] = set()
    client: HttpClient | None = None
    containerd_ready = asyncio.Event()
    tasks = Tasks("up")
    images = tasks.start(prepare.import_pause(settings, containerd_ready), "sandbox-image")
    try:
        node: Object | None = None
        while time.monotonic() < deadline:
            report(settings, components, seen, warned, progress)
            if "containerd" in seen:
                containerd_ready.set()
            if client is None and ("apiserver" in seen or "apiserver" not in names):
                client = HttpClient(load(settings.client))
                await connected(client)
            if client and (node is None or not is_ready(node)):
                node = await _node(client, settings.node_name)
            if client and node and registered:
                await registered(client)
                registered = None
            if node and is_ready(node) and len(seen) == len(components):
                await images
                if client and complete:
                    await complete(client)
                version = node["status"]["nodeInfo"]["kubeletVersion"]
                progress.done(f"node {settings.node_name} Ready", f"{version}, {progress.seconds:.1f} s")
                progress.say(farewell)
                return 0
            await asyncio.sleep(0.1)
    finally:
        await tasks.stop()
        if client:
            await client.close()
    progress.fail(f"not everything is ready after {NODE_TIMEOUT:.0f} s; kubepy goes on trying. Still missing:")
    parts = supervisor.current_parts(settings)
    for component in components:
        if component.name not in seen:
            part = parts.get(component.name, {})
            progress.say(f"  {component.name}: {part.get('message') or part.get('phase', 'not started')}"
                                   f" ({settings.log_dir / component.name}.log)")
    if len(seen) == len(components):
        progress.say(f"  node {settings.node_name}: {_why_not_ready(node)}")
    return 1


def report(settings: Settings, components: tuple[Component, ...], seen: set[str], warned: set[tuple[str, int]],
           progress: Progress) -> None:
    """Says what has become ready, and what is restarted, since the last time (`seen` and `warned` remember)."""
    parts = supervisor.current_parts(settings)
    for component in components:
        part = parts.get(component.name, {})
        if part.get("phase") == "ready" and component.name not in seen:
            seen.add(component.name)
            progress.done(f"{component.name} ready", f"pid {part['pid']}, {part['seconds']:.1f} s")
        elif part.get("phase") == "restarting" and part["restarts"] in (1, 3) and (component.name, part["restarts"]) not in warned:
            warned.add((component.name, part["restarts"]))
            said = _last_line(settings.log_dir / f"{component.name}.log")
            progress.warn(f"{component.name} {part['message']} and is started again{said}")
    waiting = [component.name for component in components if component.name not in seen]
    progress.doing(f"Starting {', '.join(waiting)}" if waiting else f"Waiting for node {settings.node_name}")


def _last_line(path: Path) -> str:
    """What a part said last, for people who would otherwise have to look."""
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError:
        return ""
    return f":\n  {lines[-1][:300]}" if lines else ""


async def _node(client: HttpClient, name: str) -> Object | None:
    try:
        return await client.get(NODES, name)
    except (ApiError, ConnectionError, TimeoutError):
        return None


def _ready_condition(node: Object) -> Object:
    conditions = node.get("status", {}).get("conditions", [])
    return next((item for item in conditions if item["type"] == "Ready"), {})


def is_ready(node: Object) -> bool:
    return _ready_condition(node).get("status") == "True"


def _why_not_ready(node: Object | None) -> str:
    return "not registered" if node is None else _ready_condition(node).get("message", "no Ready condition yet")


def is_running(part: Object) -> bool:
    return ProcessId(part["pid"], part["started"]).alive()


def _root_is_shared() -> bool:
    with open("/proc/self/mountinfo") as file:
        return any(" shared:" in line for line in file if line.split()[4] == "/")
