"""`kubepy down`: stops the cluster on this machine; its data stays unless `--purge` is given."""
from __future__ import annotations

import argparse
import asyncio
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from kubepy.base.process import ProcessId
from kubepy.cli import supervisor
from kubepy.cli.component import plan_components
from kubepy.cli.kubeconfig import remove_admin
from kubepy.cli.node import kill_leftovers, stop_pods
from kubepy.cli.progress import Progress
from kubepy.cli.settings import Settings, default_data_dir
from kubepy.kubelet.cgroup.tree import Cgroups

STOP_TIMEOUT = 120.0
"""Seconds the supervisor gets to stop everything in order."""


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="kubepy down", description="Stops the cluster on this machine and the containers of its pods.",
        epilog="`kubepy up` brings it back with all its objects; after --purge nothing of it is left.")
    parser.add_argument("--data-dir", type=Path, default=default_data_dir())
    parser.add_argument("--kubeconfig", type=Path, help="with --purge: the file to take the admin's access out of")
    parser.add_argument("--keep-pods", action="store_true", help="leave containers and service rules in place (for an upgrade)")
    parser.add_argument("--purge", action="store_true", help="also remove every trace: objects, volumes, certificates, images")
    options = parser.parse_args(argv)
    progress = Progress()
    settings = Settings.load(options.data_dir)
    if settings is None:
        progress.done(f"Nothing to stop: there is no cluster in {options.data_dir}")
        return 0
    with progress:
        return asyncio.run(_take_down(settings, options, progress))


async def _take_down(settings: Settings, options: argparse.Namespace, progress: Progress) -> int:
    pid = supervisor.running_pid(settings)
    process = ProcessId.of(pid) if pid else None
    if process:
        progress.doing("Stopping the control plane" if options.keep_pods else "Stopping pods and the control plane")
        process.signal(signal.SIGTERM if options.keep_pods else supervisor.STOP_WITH_PODS)
        try:
            await asyncio.wait_for(process.wait(), STOP_TIMEOUT)
        except TimeoutError:
            progress.fail(f"the supervisor (pid {pid}) has not stopped after {STOP_TIMEOUT:.0f} s; see {settings.log_dir}/supervisor.log")
            return 1
    else:
        await _stop_orphans(settings, keep_pods=options.keep_pods)
    progress.done("everything is stopped", f"{progress.seconds:.1f} s")
    if not options.keep_pods:
        _command("proxy", "--cleanup", "--proxy-mode=iptables", f"--network-ready-file={settings.network_ready_file}")
    if options.purge:
        if not settings.runtime_endpoint:
            kill_leftovers(str(settings.containerd_socket))
        _purge(settings)
        if settings.role == "control-plane":
            remove_admin(options.kubeconfig)
        progress.done(f"{settings.data_dir}{' and the kubectl context are' if settings.role == 'control-plane' else ' is'} removed")
    return 0


async def _stop_orphans(settings: Settings, *, keep_pods: bool) -> None:
    """Ends parts whose supervisor was killed, in the order it would have used."""
    known = supervisor.read_state(settings).get("parts", {})
    for component in reversed(plan_components(settings)):
        part = known.get(component.name, {})
        process = ProcessId(part.get("pid", 0), part.get("started", 0))
        if not process.pid or not process.alive():
            continue
        if component.name == "containerd" and not keep_pods:
            await stop_pods(settings.cri_endpoint)
        process.signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), component.grace)
        except TimeoutError:
            process.signal(signal.SIGKILL)
    settings.state_file.unlink(missing_ok=True)


def _command(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "kubepy.cli.main", *arguments], check=False, capture_output=True, timeout=60)


def mounts_below(mountinfo: str, roots: Iterable[Path]) -> list[str]:
    """The mount points below these directories (not the directories themselves: they may be disks of their own), deepest first.
    `mountinfo` is as in proc(5), with white space in octal."""
    tops = tuple(f"{root.resolve()}/" for root in roots)
    points = (re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), line.split()[4]) for line in mountinfo.splitlines())
    return sorted((point for point in points if point.startswith(tops)), key=len, reverse=True)


def _purge(settings: Settings) -> None:
    """Unmounts what is still mounted below the data directory, deepest first, and removes it all, and the pods' control groups."""
    Cgroups(settings.cgroup_root, driver=settings.cgroup_driver).remove_all()
    directories = (settings.data_dir, settings.run_dir)
    for point in mounts_below(Path("/proc/self/mountinfo").read_text(), directories):
        subprocess.run(["umount", "--lazy", point], check=False, capture_output=True)
    if settings.network_backend != "none":
        subprocess.run(["ip", "link", "delete", "cni0"], check=False, capture_output=True)
    for directory in directories:
        shutil.rmtree(directory.resolve(), ignore_errors=True)
