"""The machine's CPUs, and how sets of them are written (`0-3,7`)."""
from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, order=True)
class Cpu:
    """Ordered as CPUs are handed out: socket by socket, core by core."""

    socket: int
    core: int
    id: int
    node: int = 0
    """NUMA node."""


def parse(text: str) -> frozenset[int]:
    """Raises ValueError."""
    found: set[int] = set()
    for part in text.strip().split(",") if text.strip() else ():
        first, dash, last = part.partition("-")
        found.update(range(int(first), int(last if dash else first) + 1))
    return frozenset(found)


def text_of(cpus: Iterable[int]) -> str:
    ordered = sorted(cpus)
    runs: list[list[int]] = []
    for cpu in ordered:
        if runs and runs[-1][1] == cpu - 1:
            runs[-1][1] = cpu
        else:
            runs.append([cpu, cpu])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)


def read_topology(root: str = "/sys/devices/system/cpu") -> list[Cpu]:
    """Raises OSError where the kernel does not say which CPUs are online."""
    online = parse(Path(root, "online").read_text())

    def number(cpu: int, name: str, default: int) -> int:
        try:
            return max(0, int(Path(root, f"cpu{cpu}", "topology", name).read_text()))
        except (OSError, ValueError):
            return default

    nodes = read_nodes(root.replace("system/cpu", "system/node"))
    return sorted(Cpu(number(cpu, "physical_package_id", 0), number(cpu, "core_id", cpu), cpu, nodes.get(cpu, 0)) for cpu in online)


def read_nodes(root: str = "/sys/devices/system/node") -> dict[int, int]:
    """The NUMA node of each CPU; empty where the kernel knows none."""
    found: dict[int, int] = {}
    for directory in Path(root).glob("node[0-9]*"):
        try:
            cpus = parse((directory / "cpulist").read_text())
        except (OSError, ValueError):
            continue
        found.update(dict.fromkeys(cpus, int(directory.name.removeprefix("node"))))
    return found


def read_distances(root: str = "/sys/devices/system/node") -> dict[int, list[int]]:
    """How far each NUMA node is from each other."""
    found: dict[int, list[int]] = {}
    for directory in Path(root).glob("node[0-9]*"):
        with contextlib.suppress(OSError, ValueError):
            found[int(directory.name.removeprefix("node"))] = [int(text) for text in (directory / "distance").read_text().split()]
    return found


def take(cpus: Sequence[Cpu], free: frozenset[int], count: int) -> frozenset[int] | None:
    """`count` of the free CPUs: whole sockets first, then whole cores, then threads of cores that are already broken up."""
    if len(free) < count:
        return None
    taken: set[int] = set()

    def whole(groups: dict[tuple[int, ...], list[int]]) -> None:
        for members in groups.values():
            left = set(members) - taken
            if len(left) == len(members) and left <= free and len(taken) + len(left) <= count:
                taken.update(left)

    whole(_group(cpus, lambda cpu: (cpu.socket,)))
    cores = _group(cpus, lambda cpu: (cpu.socket, cpu.core))
    whole(cores)
    ordered = sorted((cpu for cpu in cpus if cpu.id in free and cpu.id not in taken),
                     key=lambda cpu: (len(set(cores[(cpu.socket, cpu.core)]) & free), cpu))
    taken.update(cpu.id for cpu in ordered[:count - len(taken)])
    return frozenset(taken)


def _group(cpus: Sequence[Cpu], key: Callable[[Cpu], tuple[int, ...]]) -> dict[tuple[int, ...], list[int]]:
    groups: dict[tuple[int, ...], list[int]] = {}
    for cpu in cpus:
        groups.setdefault(key(cpu), []).append(cpu.id)
    return groups
