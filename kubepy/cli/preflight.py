"""Looks at the machine before anything is started, and says exactly what to do about what is missing."""
from __future__ import annotations

import os
import shutil
import socket
from dataclasses import dataclass
from pathlib import Path

from kubepy.cli.progress import Progress
from kubepy.cli.settings import Settings

CNI_DIRECTORIES = (Path("/opt/cni/bin"), Path("/usr/lib/cni"), Path("/usr/libexec/cni"))
CNI_PLUGINS = ("bridge", "host-local", "loopback", "portmap", "bandwidth")
SOCKET_PATH_LIMIT = 104
"""Bytes that containerd takes for the path of a Unix socket."""


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong, and the command or flag that mends it."""

    what: str
    remedy: str


def cni_directory() -> Path | None:
    """The first directory that holds every CNI plugin we use."""
    return next((path for path in CNI_DIRECTORIES if all((path / name).exists() for name in CNI_PLUGINS)), None)


def refuse(settings: Settings, progress: Progress, *, running: bool) -> bool:
    """Whether something is missing, having said what."""
    problems = check(settings, running=running)
    for problem in problems:
        progress.fail(f"{problem.what}\n  → {problem.remedy}")
    return bool(problems)


def check(settings: Settings, *, running: bool) -> list[Problem]:
    """Everything that would keep a cluster from starting; ports are not checked while one is `running`."""
    problems = []
    if os.geteuid() != 0:
        problems.append(Problem("kubepy must run as root: it starts containers and programs the network", "sudo kubepy …"))
    here = settings.role == "control-plane"
    needed = {
        "etcd": ("etcd-server", here and not settings.etcd_servers, " (or point --etcd-servers at one that runs)"),
        "containerd": ("containerd", not settings.runtime_endpoint, " (or point --container-runtime-endpoint at one that runs)"),
        "runc": ("runc", not settings.runtime_endpoint, ""),
        "iptables-restore": ("iptables", True, ""),
        "nft": ("nftables", settings.network_backend != "none" or settings.proxy_mode == "nftables", " (policies are written with it)"),
        "ipset": ("ipset", settings.proxy_mode == "ipvs", " (or choose another --proxy-mode)"),
        "nginx": ("nginx-light", settings.ingress, " (or leave out --ingress)"),
    }
    for program, (package, wanted, otherwise) in needed.items():
        if wanted and shutil.which(program) is None:
            problems.append(Problem(f"the program {program} is not installed", f"apt-get install {package}{otherwise}"))
    if cni_directory() is None:
        places = ", ".join(map(str, CNI_DIRECTORIES))
        problems.append(Problem(f"no directory of {places} has the CNI plugins {', '.join(CNI_PLUGINS)}",
                                "apt-get install containernetworking-plugins"))
    if not settings.runtime_endpoint and len(f"{settings.containerd_socket}.ttrpc") > SOCKET_PATH_LIMIT:
        problems.append(Problem(f"the path {settings.data_dir} is too long for the sockets in it", "choose a shorter --data-dir"))
    if not running:
        problems += _taken_ports(settings)
    return problems


def _taken_ports(settings: Settings) -> list[Problem]:
    ports = {settings.kubelet_port: "--kubelet-port", 10248: "", 10249: "", 10256: ""}
    if settings.dns:
        ports[10054] = ""
    if settings.role == "control-plane":
        ports |= {settings.secure_port: "--secure-port", settings.metrics_port: "--metrics-port",
                  10257: "", 10259: ""}
    if settings.dns and (settings.role == "control-plane" or settings.api_server):  # which port it is, a machine that joins hears later
        ports[settings.dns_port] = "--dns-port" if settings.role == "control-plane" else "`kubepy up --dns-port` on the control plane"
    if settings.role == "control-plane" and not settings.etcd_servers:
        ports[settings.etcd_port] = "--etcd-port"
    if settings.ingress:
        ports |= {80: "", 443: "", 10254: ""}
    problems = []
    for port, flag in ports.items():
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind(("0.0.0.0", port))
            except OSError:
                remedy = f"stop what listens there (ss -ltnp 'sport = :{port}')" + (f" or choose another with {flag}" if flag else "")
                problems.append(Problem(f"port {port} is in use", remedy))
    return problems
