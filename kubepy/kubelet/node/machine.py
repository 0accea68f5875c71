"""What the machine is and has, read from the kernel."""
from __future__ import annotations

import os
import platform
import socket
from dataclasses import dataclass, field
from pathlib import Path

from kubepy.base.boot import boot_id


@dataclass(frozen=True, slots=True)
class Machine:
    """Amounts in bytes; `storage` is the file system of the kubelet's root directory."""

    cpus: int = 1
    memory: int = 0
    storage: int = 0
    swap: int = 0
    hugepages: dict[str, int] = field(default_factory=dict)
    """By resource name (`hugepages-2Mi`)."""
    machine_id: str = ""
    system_uuid: str = ""
    boot_id: str = ""
    kernel: str = ""
    os_image: str = ""
    arch: str = "amd64"
    pids: int = 0
    """Processes the kernel can have."""


def read_machine(root_dir: str) -> Machine:
    info = meminfo()
    try:
        stat = os.statvfs(root_dir)
        storage = stat.f_blocks * stat.f_frsize
    except OSError:
        storage = 0
    machine_id = _read("/etc/machine-id")
    uuid = _read("/sys/class/dmi/id/product_uuid") or machine_id
    return Machine(os.cpu_count() or 1, info.get("MemTotal", 0), storage, info.get("SwapTotal", 0), _hugepages(), machine_id, uuid.lower(),
                   boot_id(), platform.release(), _os_image(),
                   {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine()),
                   int(_read("/proc/sys/kernel/pid_max") or 0))


def meminfo() -> dict[str, int]:
    """/proc/meminfo in bytes."""
    result = {}
    for line in _read("/proc/meminfo").splitlines():
        key, _, rest = line.partition(":")
        words = rest.split()
        if words and words[0].isdigit():
            result[key] = int(words[0]) * (1024 if len(words) > 1 else 1)
    return result


def _hugepages() -> dict[str, int]:
    result = {}
    for entry in Path("/sys/kernel/mm/hugepages").glob("hugepages-*kB"):
        size = int(entry.name.removeprefix("hugepages-").removesuffix("kB"))
        name = f"hugepages-{size >> 20}Gi" if size >= 1 << 20 else f"hugepages-{size >> 10}Mi" if size >= 1024 else f"hugepages-{size}Ki"
        result[name] = int(_read(str(entry / "nr_hugepages")) or 0) * size * 1024
    return result


def _os_image() -> str:
    for line in _read("/etc/os-release").splitlines():
        if line.startswith("PRETTY_NAME="):
            return line.partition("=")[2].strip().strip('"')
    return "Linux"


def _read(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace").strip()
    except OSError:
        return ""


def default_ip() -> str:
    """The address the machine uses towards others; no packet is sent."""
    for family, target in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect((target, 9))
                return str(probe.getsockname()[0])
            except OSError:
                continue
    return "127.0.0.1"
