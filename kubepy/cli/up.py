"""`kubepy up`: a whole single-node cluster on this machine, from nothing to a Ready node."""
from __future__ import annotations

import argparse
import asyncio
import dataclasses
import os
import subprocess
import sys
import time
from ipaddress import ip_network
from pathlib import Path
from typing import TextIO

from kubepy import KUBERNETES_VERSION
from kubepy.api.errors import ApiError
from kubepy.api.resource import NODES
from kubepy.api.types import Object
from kubepy.base.log import configure
from kubepy.base.task import Tasks
from kubepy.cli import preflight, prepare, supervisor
from kubepy.cli.addons import apply_addons
from kubepy.cli.component import Component, plan_components
from kubepy.cli.kubeconfig import merge_admin
from kubepy.cli.process import ProcessId
from kubepy.cli.progress import Progress
from kubepy.cli.settings import Settings, default_data_dir, default_node_ip, default_node_name
from kubepy.client.http import HttpClient
from kubepy.client.kubeconfig import load

NODE_TIMEOUT = 120.0
"""Seconds until `up` gives up waiting; the supervisor goes on trying."""


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="kubepy up", description="Brings up a Kubernetes cluster with one node on this machine and keeps it running.",
        epilog="`kubepy status` shows what runs, `kubepy down` stops it. Run again at any time: what already runs is left alone.")
    parser.add_argument("--data-dir", type=Path, default=default_data_dir(), help="where everything is kept (default: %(default)s)")
    parser.add_argument("--node-name", help="the node's name (default: this machine's host name)")
    parser.add_argument("--node-ip", help="the node's address (default: that of the default route)")
    parser.add_argument("--secure-port", type=int, help="the API server's port (default: 6443)")
    parser.add_argument("--kubelet-port", type=int, help="the kubelet's port (default: 10250)")
    parser.add_argument("--dns-port", type=int, help="the port cluster DNS listens on behind its Service (default: 10053)")
    parser.add_argument("--metrics-port", type=int, help="the metrics server's port (default: 4443)")
    parser.add_argument("--etcd-port", type=int, help="the first of three ports of the cluster's own etcd (default: 2379)")
    parser.add_argument("--service-cidr", help="addresses for Services (default: 10.96.0.0/16)")
    parser.add_argument("--pod-cidr", help="addresses for pods (default: 10.244.0.0/16)")
    parser.add_argument("--etcd-servers", help="use these etcd servers (comma-separated URLs) instead of starting one")
    parser.add_argument("--container-runtime-endpoint", dest="runtime_endpoint",
                        help="use this CRI socket instead of starting a containerd")
    parser.add_argument("--workers", type=int, help="API server processes (default: 1)")
    parser.add_argument("--kubeconfig", type=Path, help="merge the admin's access into this file (default: $KUBECONFIG or ~/.kube/config)")
    parser.add_argument("-v", dest="verbosity", type=int, help="log verbosity of every part, 0 to 10 (default: 2)")
    return parser


def settings_from(options: argparse.Namespace) -> Settings:
    """The saved settings of this data directory, changed by what was given; raises ValueError for unusable values."""
    saved = Settings.load(options.data_dir) or Settings(data_dir=options.data_dir)
    names = {field.name for field in dataclasses.fields(Settings)} - {"data_dir"}
    given = {name: value for name, value in vars(options).items() if name in names and value is not None}
    settings = dataclasses.replace(saved, **given)
    for cidr in (settings.service_cidr, settings.pod_cidr):
        ip_network(cidr)
    return dataclasses.replace(settings, node_name=settings.node_name or default_node_name(),
                               node_ip=given.get("node_ip") or settings.node_ip or default_node_ip())


def main(argv: list[str]) -> int:
    options = parser().parse_args(argv)
    progress = Progress()
    try:
        settings = settings_from(options)
    except ValueError as error:
        progress.fail(str(error))
        return 2
    running = supervisor.running_pid(settings)
    alive = any(_is_running(part) for part in supervisor.read_state(settings).get("parts", {}).values())
    problems = preflight.check(settings, running=running is not None or alive)
    if problems:
        for problem in problems:
            progress.fail(f"{problem.what}\n  → {problem.remedy}")
        return 1
    with progress, command_log(settings) as stream:
        configure(settings.verbosity, stream=stream)  # what this command logs belongs in a file: the terminal shows progress
        settings.save()
        prepare.prepare_files(settings, progress)
        if running is None:
            start_supervisor(settings)
        try:
            return asyncio.run(_bring_up(settings, progress, options.kubeconfig))
        except KeyboardInterrupt:
            progress.warn("Interrupted; the cluster goes on starting in the background (kubepy status, kubepy down)")
            return 130


def command_log(settings: Settings) -> TextIO:
    settings.log_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    return open(os.open(settings.log_dir / "up.log", os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600), "a")


def start_supervisor(settings: Settings) -> None:
    """Starts the supervisor detached from this terminal, where needed in a mount namespace whose mounts are shared.

    Volumes are mounted by the kubelet and must be seen by containerd's containers, which needs shared propagation at /."""
    command = [sys.executable, "-m", "kubepy.cli.main", "supervise", f"--data-dir={settings.data_dir}"]
    alive = next((part["pid"] for name, part in supervisor.read_state(settings).get("parts", {}).items()
                  if name in ("containerd", "kubelet") and _is_running(part)), None)
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


async def _bring_up(settings: Settings, progress: Progress, kubeconfig: Path | None) -> int:
    deadline = time.monotonic() + NODE_TIMEOUT
    components = plan_components(settings)
    seen: set[str] = set()
    warned: set[tuple[str, int]] = set()
    client: HttpClient | None = None
    containerd_ready = asyncio.Event()
    tasks = Tasks("up")
    images = tasks.start(prepare.import_pause(settings, containerd_ready), "sandbox-image")
    try:
        node: Object | None = None
        while time.monotonic() < deadline:
            _report(settings, components, seen, warned, progress)
            if "containerd" in seen:
                containerd_ready.set()
            if "apiserver" in seen and client is None:
                client = HttpClient(load(settings.kubeconfig("admin")))
                await apply_addons(client, settings)
                merge_admin(settings, kubeconfig, progress)
            if client and (node is None or not _is_ready(node)):
                node = await _node(client, settings.node_name)
            if node and _is_ready(node) and len(seen) == len(components):
                await images
                version = node["status"]["nodeInfo"]["kubeletVersion"]
                progress.done(f"node {settings.node_name} Ready", f"{version}, {progress.seconds:.1f} s")
                progress.console.print(
                    f"\nKubernetes {KUBERNETES_VERSION} is up at https://{settings.node_ip}:{settings.secure_port}\n"
                    "  kubectl get nodes              the cluster, with any kubectl\n"
                    "  kubepy status                  what runs, and how it fares\n"
                    "  kubepy down                    stop everything; the data stays\n"
                    f"  {settings.log_dir}    the logs")
                return 0
            await asyncio.sleep(0.1)
    finally:
        await tasks.stop()
        if client:
            await client.close()
    progress.fail(f"not everything is ready after {NODE_TIMEOUT:.0f} s; kubepy goes on trying. Still missing:")
    parts = supervisor.read_state(settings).get("parts", {})
    for component in components:
        if component.name not in seen:
            part = parts.get(component.name, {})
            progress.console.print(f"  {component.name}: {part.get('message') or part.get('phase', 'not started')}"
                                   f" ({settings.log_dir / component.name}.log)")
    if len(seen) == len(components):
        progress.console.print(f"  node {settings.node_name}: {_why_not_ready(node)}")
    return 1


def _report(settings: Settings, components: tuple[Component, ...], seen: set[str], warned: set[tuple[str, int]],
            progress: Progress) -> None:
    parts = supervisor.read_state(settings).get("parts", {})
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


def _is_ready(node: Object) -> bool:
    return _ready_condition(node).get("status") == "True"


def _why_not_ready(node: Object | None) -> str:
    return "not registered" if node is None else _ready_condition(node).get("message", "no Ready condition yet")


def _is_running(part: Object) -> bool:
    return ProcessId(part["pid"], part["started"]).alive()


def _root_is_shared() -> bool:
    with open("/proc/self/mountinfo") as file:
        return any(" shared:" in line for line in file if line.split()[4] == "/")
