"""Pressure stall information: how long tasks have waited for CPU, memory or disks, of the node and of each pod and container.

The kernel gives it for the machine (`/proc/pressure`) and, with control groups of version 2, for each group (`cpu.pressure` and so on).
"""
from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from kubepy.kubelet.cgroup.tree import Cgroups

KINDS = ("cpu", "memory", "io")
Pressure = dict[str, dict[str, float]]
"""`some` and `full`, each with `total` (microseconds) and averages in percent."""
_AVERAGES = ("avg10", "avg60", "avg300")


class Pressures:
    """Finds the groups of pods and containers; knows nothing on version 1, or where the kernel does not count."""

    def __init__(self, cgroups: Cgroups) -> None:
        self._cgroups = cgroups

    def pod(self, uid: str) -> Path | None:
        if not self._cgroups.v2 or not self._cgroups.per_qos:
            return None
        for quality in ("Burstable", "BestEffort", "Guaranteed"):
            path = self._cgroups.directories(self._cgroups.name(quality, uid))[""]
            if path.exists():
                return path
        return None

    def container(self, uid: str, container_id: str) -> Path | None:
        """`<id>` with the cgroupfs driver, `cri-containerd-<id>.scope` with systemd's."""
        pod = self.pod(uid)
        if pod is None:
            return None
        plain = pod / container_id
        return plain if plain.exists() else next(pod.glob(f"*{container_id}*"), None)


def read(file: Callable[[str], Path]) -> dict[str, Pressure]:
    """By kind, of the files that `file(kind)` names; nothing of those that cannot be read."""
    found: dict[str, Pressure] = {}
    for kind in KINDS:
        try:
            text = file(kind).read_text()
            found[kind] = dict(_lines(text))
        except (OSError, ValueError):
            continue
    return {kind: pressure for kind, pressure in found.items() if pressure}


def _lines(text: str) -> Iterator[tuple[str, dict[str, float]]]:
    for line in text.splitlines():
        name, *words = line.split()
        values = dict(word.split("=") for word in words)
        yield name, {"total": int(values["total"]), **{key: float(values[key]) for key in _AVERAGES}}


def of_node() -> dict[str, Pressure]:
    return read(lambda kind: Path("/proc/pressure", kind))


def of_group(directory: Path | None) -> dict[str, Pressure]:
    return {} if directory is None else read(lambda kind: directory / f"{kind}.pressure")


def show(entry: dict[str, Any], pressures: dict[str, Pressure], stamp: str) -> None:
    """Puts them where the summary has them; disks have an entry of their own."""
    for kind, pressure in pressures.items():
        psi = {name: pressure.get(name, {"total": 0, **dict.fromkeys(_AVERAGES, 0.0)}) for name in ("full", "some")}
        if kind == "io":
            entry["io"] = {"time": stamp, "psi": psi}
        elif kind in entry:
            entry[kind]["psi"] = psi


_TEXTS = (("stalled", "full", "Total time duration no tasks in the container could make progress due to {} congestion."),
          ("waiting", "some", "Total time duration tasks in the container have waited due to {} congestion."))
METRICS = tuple((f"container_pressure_{kind}_{word}_seconds_total", kind, part, text.format(shown))
                for kind, shown in (("cpu", "CPU"), ("memory", "memory"), ("io", "IO")) for word, part, text in _TEXTS)
"""cAdvisor's names: (metric, kind, part, help)."""
