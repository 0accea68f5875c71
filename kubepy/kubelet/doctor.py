"""`kubepy node doctor`: what is wrong with this machine as a node, in plain words, and how to mend it.

Facts are gathered first (`look`), judged after (`judge`, pure), so that every finding can be tabled in a test. Nothing is changed.
"""
from __future__ import annotations

import argparse
import asyncio
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from kubepy.kubelet.cri.client import GrpcRuntime
from kubepy.kubelet.cri.interface import CriError
from kubepy.kubelet.runtime import cni_bin_dir

Level = Literal["ok", "warning", "broken"]
_CONTROLLERS = ("cpu", "cpuset", "memory", "pids")
_PLUGINS = ("bridge", "host-local", "loopback", "portmap", "bandwidth")
_PROGRAMS = {"runc": "runc", "iptables-restore": "iptables", "nsenter": "util-linux", "mount": "mount"}
_SYSCTLS = {"net.ipv4.ip_forward": ("1", "pods cannot be reached from other machines"),
            "net.bridge.bridge-nf-call-iptables": ("1", "traffic between pods of this node does not pass through services' rules")}


@dataclass(frozen=True, slots=True)
class Facts:
    """What was seen. A sysctl that does not exist has no entry."""

    root: bool = True
    endpoint: str = ""
    runtime: str = ""
    """Name and version, "" when it does not answer."""
    runtime_problem: str = ""
    conditions: Mapping[str, str] = field(default_factory=dict)
    """The runtime's own complaints by condition."""
    runtime_driver: str = ""
    cgroup: str = ""
    """v1, v2, hybrid, or "" for none."""
    controllers: frozenset[str] = frozenset()
    programs: frozenset[str] = frozenset()
    cni_bin: str = ""
    plugins: frozenset[str] = frozenset()
    cni_configs: tuple[str, ...] = ()
    modules: frozenset[str] = frozenset()
    """Of overlay and br_netfilter, those the kernel has loaded or built in."""
    sysctls: Mapping[str, str] = field(default_factory=dict)
    swap: bool = False
    shared_root: bool = True
    free_disk: float = 1.0
    """Share of the kubelet's file system."""
    free_inodes: float = 1.0
    user_watches: int = 1 << 20


@dataclass(frozen=True, slots=True)
class Finding:
    level: Level
    what: str
    remedy: str = ""


def judge(facts: Facts) -> list[Finding]:
    """The worst first is not the order: things are told from the ground up."""
    found = [_machine(facts), *_cgroups(facts), *_runtime(facts), *_network(facts), *_storage(facts)]
    return [finding for finding in found if finding is not None]


def _machine(facts: Facts) -> Finding | None:
    return None if facts.root else Finding("warning", "not run as root: some things cannot be seen", "sudo kubepy node doctor")


def _cgroups(facts: Facts) -> list[Finding]:
    if not facts.cgroup:
        return [Finding("broken", "no cgroups are mounted: pods cannot be limited or even started",
                        "mount -t cgroup2 none /sys/fs/cgroup")]
    found = [Finding("ok", f"cgroups {facts.cgroup} with {', '.join(sorted(facts.controllers & set(_CONTROLLERS)))}")]
    if missing := sorted(set(_CONTROLLERS) - facts.controllers):
        remedy = f"echo '{' '.join('+' + name for name in missing)}' > /sys/fs/cgroup/cgroup.subtree_control" if facts.cgroup == "v2" else \
            "boot the kernel with cgroup_enable=" + ",".join(missing)
        found.append(Finding("broken", f"cgroup controllers are missing: {', '.join(missing)}", remedy))
    if facts.cgroup == "hybrid":
        found.append(Finding("warning", "cgroup v1 and v2 are mixed; the v1 controllers are used",
                             "boot the kernel with systemd.unified_cgroup_hierarchy=1"))
    if facts.swap:
        found.append(Finding("warning", "swap is on: the kubelet refuses to start unless told otherwise",
                             "swapoff -a (and take it out of /etc/fstab), or --fail-swap-on=false"))
    return found


def _runtime(facts: Facts) -> list[Finding]:
    found = []
    for program, package in _PROGRAMS.items():
        if program not in facts.programs:
            found.append(Finding("broken", f"the program {program} is not installed", f"apt-get install {package}"))
    if not facts.runtime:
        found.append(Finding("broken", f"no container runtime answers at {facts.endpoint}: {facts.runtime_problem}",
                             "start it (systemctl start containerd), or name its socket with --container-runtime-endpoint"))
        return found
    found.append(Finding("ok", f"{facts.runtime} answers at {facts.endpoint}"
                         + (f" and uses the cgroup driver {facts.runtime_driver}" if facts.runtime_driver else "")))
    for kind, text in facts.conditions.items():
        if kind != "NetworkReady":
            found.append(Finding("broken", f"the runtime says {kind} is false: {text}", "look into its log (journalctl -u containerd)"))
    if "overlay" not in facts.modules:
        found.append(Finding("warning", "the kernel has no overlay file system: images are copied, which is slow", "modprobe overlay"))
    return found


def _network(facts: Facts) -> list[Finding]:
    found = []
    if missing := [name for name in _PLUGINS if name not in facts.plugins]:
        found.append(Finding("broken", f"the CNI plugins {', '.join(missing)} are not in {facts.cni_bin}",
                             "apt-get install containernetworking-plugins"))
    if text := facts.conditions.get("NetworkReady"):
        found.append(Finding("warning", f"the pod network is not set up: {text}",
                             "it is once the node has a pod CIDR (kubepy up, kubepy join) or a network add-on is installed"))
    elif facts.cni_configs:
        found.append(Finding("ok", f"the pod network is configured by {facts.cni_configs[0]}"))
    if len(facts.cni_configs) > 1:
        found.append(Finding("warning", f"there are {len(facts.cni_configs)} CNI configurations; only {facts.cni_configs[0]} is used",
                             f"remove {', '.join(facts.cni_configs[1:])}"))
    for name, (wanted, why) in _SYSCTLS.items():
        value = facts.sysctls.get(name)
        if value is None and name.startswith("net.bridge"):
            found.append(Finding("warning", f"the kernel module br_netfilter is not loaded: {why}", "modprobe br_netfilter"))
        elif value != wanted:
            found.append(Finding("broken", f"{name} is {value}: {why}", f"sysctl -w {name}={wanted}"))
    return found


def _storage(facts: Facts) -> list[Finding]:
    found = []
    if not facts.shared_root:
        found.append(Finding("broken", "the root mount is private: containers do not see volumes mounted after the runtime was started",
                             "mount --make-rshared /"))
    if facts.free_disk < 0.10:
        found.append(Finding("broken", f"only {facts.free_disk:.0%} of the disk is free: pods are evicted below 10%",
                             "free some space, such as with ctr -n k8s.io images prune --all"))
    elif facts.free_disk < 0.20:
        found.append(Finding("warning", f"only {facts.free_disk:.0%} of the disk is free: pods are evicted below 10%"))
    if facts.free_inodes < 0.05:
        found.append(Finding("broken", f"only {facts.free_inodes:.0%} of the inodes are free", "remove many small files"))
    if facts.user_watches < 8192:
        found.append(Finding("warning", f"fs.inotify.max_user_watches is only {facts.user_watches}: kubectl logs -f of many pods fails",
                             "sysctl -w fs.inotify.max_user_watches=524288"))
    return found


async def look(endpoint: str, cni_conf: str, root_dir: str) -> Facts:
    runtime, problem, driver, conditions = "", "", "", {}
    client = GrpcRuntime(endpoint, timeout=5)
    try:
        version = await client.version()
        runtime = f"{version.runtime_name} {version.runtime_version.removeprefix('v')}"
        conditions = {condition.type: f"{condition.reason} {condition.message}" for condition in (await client.status()).status.conditions
                      if not condition.status}
        driver = await client.cgroup_driver() or ""
    except CriError as error:
        problem = error.message
    finally:
        await client.close()
    return await asyncio.to_thread(_look, endpoint, cni_conf, root_dir, runtime, problem, driver, conditions)


def _look(endpoint: str, cni_conf: str, root_dir: str, runtime: str, problem: str, driver: str, conditions: dict[str, str]) -> Facts:
    version, controllers = _cgroup()
    binaries = cni_bin_dir()
    place = next((path for path in (root_dir, *map(str, Path(root_dir).parents)) if os.path.exists(path)), "/")
    disk = os.statvfs(place)
    configs = sorted(entry.name for pattern in ("*.conflist", "*.conf", "*.json") for entry in Path(cni_conf).glob(pattern))
    return Facts(
        root=os.geteuid() == 0, endpoint=endpoint, runtime=runtime, runtime_problem=problem, conditions=conditions, runtime_driver=driver,
        cgroup=version, controllers=controllers, programs=frozenset(name for name in _PROGRAMS if shutil.which(name)), cni_bin=binaries,
        plugins=frozenset(name for name in _PLUGINS if os.access(f"{binaries}/{name}", os.X_OK)), cni_configs=tuple(configs),
        modules=_modules(), sysctls={name: value for name in _SYSCTLS if (value := _read("/proc/sys/" + name.replace(".", "/")))},
        swap=len(_read("/proc/swaps").splitlines()) > 1, shared_root=_shared_root(),
        free_disk=disk.f_bavail / max(1, disk.f_blocks), free_inodes=disk.f_favail / disk.f_files if disk.f_files else 1.0,
        user_watches=int(_read("/proc/sys/fs/inotify/max_user_watches") or 1 << 20))


def _cgroup() -> tuple[str, frozenset[str]]:
    """Version and usable controllers, from what is mounted."""
    kinds: dict[str, set[str]] = {}
    for line in _read("/proc/self/mountinfo").splitlines():
        fields, _, rest = line.partition(" - ")
        kind, _, options = rest.partition(" ")
        if kind in ("cgroup", "cgroup2"):
            kinds.setdefault(kind, set()).update(options.split()[-1].split(","))
            if kind == "cgroup2":
                kinds[kind].update(_read(fields.split()[4] + "/cgroup.controllers").split())
    if "cgroup" in kinds:
        return ("hybrid" if "cgroup2" in kinds else "v1"), frozenset(kinds["cgroup"])
    return ("v2", frozenset(kinds["cgroup2"])) if "cgroup2" in kinds else ("", frozenset())


def _modules() -> frozenset[str]:
    loaded = {line.split()[0] for line in _read("/proc/modules").splitlines()}
    if "overlay" in _read("/proc/filesystems"):
        loaded.add("overlay")
    if os.path.exists("/proc/sys/net/bridge"):
        loaded.add("br_netfilter")
    return frozenset(loaded & {"overlay", "br_netfilter"})


def _shared_root() -> bool:
    for line in _read("/proc/self/mountinfo").splitlines():
        fields = line.split()
        if fields[4] == "/":
            return any(option.startswith("shared:") for option in fields[6:fields.index("-")])
    return True


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def report(findings: list[Finding]) -> str:
    signs = {"ok": "ok      ", "warning": "warning ", "broken": "BROKEN  "}
    lines = []
    for finding in findings:
        lines.append(signs[finding.level] + finding.what)
        if finding.remedy:
            lines.append(f"          mend it: {finding.remedy}")
    broken, warnings = (sum(1 for finding in findings if finding.level == level) for level in ("broken", "warning"))
    lines.append("This machine can be a node." if not broken else f"This machine cannot be a node yet: {broken} broken.")
    if warnings:
        lines[-1] += f" {warnings} warning{'s' if warnings > 1 else ''}."
    return "\n".join(lines)


def add_flags(doctor: argparse.ArgumentParser) -> None:
    doctor.add_argument("--container-runtime-endpoint", default="unix:///run/containerd/containerd.sock", metavar="SOCKET",
                        help="socket of the container runtime (default %(default)s)")
    doctor.add_argument("--cni-conf-dir", default="/etc/cni/net.d", metavar="DIR", help="CNI configurations (default %(default)s)")
    doctor.add_argument("--root-dir", default="/var/lib/kubelet", metavar="DIR", help="the kubelet's directory (default %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Exit code 0 when nothing is broken, else 1."""
    findings = judge(asyncio.run(look(args.container_runtime_endpoint, args.cni_conf_dir, args.root_dir)))
    print(report(findings))
    return 1 if any(finding.level == "broken" for finding in findings) else 0
