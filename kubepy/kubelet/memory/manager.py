"""Whose memory is on which NUMA node: guaranteed pods' memory and huge pages are accounted to nodes, and their containers kept on them.

Follows upstream's static policy and state file name. Known differences: the state's form is our own; sets of nodes that overlap in part are
not kept apart (upstream refuses a container whose nodes another group uses differently).
"""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from kubepy.api.scheduling import amount, amounts
from kubepy.api.types import Object
from kubepy.base.log import get_logger
from kubepy.kubelet.checkpoint import Checkpoint
from kubepy.kubelet.pod import spec as podspec
from kubepy.kubelet.topology import AllocationError, Hint, hints_of, subsets

log = get_logger("memory")
Blocks = dict[str, dict[int, int]]
"""By resource (memory, hugepages-…): bytes by NUMA node."""


def read_nodes(root: str = "/sys/devices/system/node") -> dict[int, dict[str, int]]:
    """Bytes of each NUMA node by resource; a machine that tells of none is one node without a number of bytes."""
    found: dict[int, dict[str, int]] = {}
    for directory in Path(root).glob("node[0-9]*"):
        have: dict[str, int] = {}
        try:
            for line in (directory / "meminfo").read_text().splitlines():
                words = line.split()
                if len(words) >= 4 and words[2] == "MemTotal:":
                    have["memory"] = int(words[3]) * 1024
            for pages in (directory / "hugepages").glob("hugepages-*kB"):
                size = int(pages.name.removeprefix("hugepages-").removesuffix("kB"))
                name = f"hugepages-{size >> 20}Gi" if size >= 1 << 20 else f"hugepages-{size >> 10}Mi"
                have[name] = int((pages / "nr_hugepages").read_text()) * size * 1024
        except (OSError, ValueError):
            continue
        have["memory"] = have.get("memory", 0) - sum(value for name, value in have.items() if name != "memory")
        found[int(directory.name.removeprefix("node"))] = have
    return found


def reserved_of(entries: Sequence[Mapping[str, object]]) -> dict[int, dict[str, int]]:
    """KubeletConfiguration's `reservedMemory`, in bytes."""
    found: dict[int, dict[str, int]] = {}
    for entry in entries:
        limits = entry.get("limits") or {}
        assert isinstance(limits, dict)
        found[int(str(entry["numaNode"]))] = {name: amount("memory", value) for name, value in limits.items()}
    return found


class MemoryManager:
    """Policy `Static`, or `None`, which gives nobody anything."""

    def __init__(self, policy: str, nodes: Mapping[int, Mapping[str, int]], reserved: Mapping[int, Mapping[str, int]],
                 state_file: Path) -> None:
        self.static = policy == "Static"
        self._free_when_empty = {node: {name: value - reserved.get(node, {}).get(name, 0) for name, value in have.items()}
                                 for node, have in nodes.items()}
        self.checkpoint = Checkpoint(state_file)
        self._given: dict[str, dict[str, Blocks]] = {}
        if self.static:
            self._load()

    def _wanted(self, pod: Object, container: Object) -> dict[str, int]:
        ends = podspec.is_init(pod, container["name"]) and not podspec.is_sidecar(container)
        has = container["name"] in self._given.get(podspec.uid_of(pod), {})
        if not self.static or ends or has or podspec.qos_class(pod) != "Guaranteed":
            return {}
        limits = amounts((container.get("resources") or {}).get("limits"))
        return {name: value for name, value in limits.items() if value and (name == "memory" or name.startswith("hugepages-"))}

    def _free(self, name: str) -> dict[int, int]:
        left = {node: have.get(name, 0) for node, have in self._free_when_empty.items()}
        for parts in self._given.values():
            for blocks in parts.values():
                for node, value in blocks.get(name, {}).items():
                    left[node] = left.get(node, 0) - value
        return left

    def hints(self, pod: Object, container: Object, nodes: frozenset[int]) -> dict[str, Sequence[Hint] | None]:
        return {name: hints_of(nodes, {node: have.get(name, 0) for node, have in self._free_when_empty.items()}, self._free(name), value)
                for name, value in self._wanted(pod, container).items()}

    def allocate(self, pod: Object, container: Object, nodes: frozenset[int] | None = None) -> None:
        """Accounts the container's memory to these nodes, or to the fewest that have it. Raises AllocationError."""
        blocks: Blocks = {}
        for name, value in self._wanted(pod, container).items():
            free = self._free(name)
            places = [nodes] if nodes is not None else list(subsets(free))
            chosen = next((place for place in places if sum(free.get(node, 0) for node in place) >= value), None)
            if chosen is None:
                raise AllocationError("[memorymanager] failed to get the default NUMA affinity, no NUMA nodes with enough memory is "
                                      "available")
            for node in sorted(chosen):
                part = min(value, max(0, free.get(node, 0)))
                if part:
                    blocks.setdefault(name, {})[node] = part
                    value -= part
        if blocks:
            self._given.setdefault(podspec.uid_of(pod), {})[container["name"]] = blocks
            self._save()
            log.info("Memory given", pod=podspec.full_name(pod), container=container["name"], nodes=self.nodes(podspec.uid_of(pod),
                                                                                                              container["name"]))

    def has_own(self, uid: str) -> bool:
        return bool(self._given.get(uid))

    def given(self, uid: str, container: str) -> Blocks:
        return self._given.get(uid, {}).get(container, {})

    def nodes(self, uid: str, container: str) -> str:
        """The NUMA nodes the container is kept on, "" for no restriction."""
        found = {node for by_node in self.given(uid, container).values() for node in by_node}
        return ",".join(map(str, sorted(found)))

    def allocatable(self) -> Blocks:
        """By resource, what containers can have on each node."""
        found: Blocks = {}
        for node, have in self._free_when_empty.items():
            for name, value in have.items():
                if value > 0:
                    found.setdefault(name, {})[node] = value
        return found if self.static else {}

    def release(self, known: Callable[[str], bool]) -> None:
        gone = [uid for uid in self._given if not known(uid)]
        for uid in gone:
            del self._given[uid]
        if gone:
            self._save()

    def _load(self) -> None:
        try:
            entries = (self.checkpoint.load() or {"entries": {}})["entries"]
            self._given = {uid: {name: {kind: {int(node): value for node, value in by_node.items()} for kind, by_node in blocks.items()}
                                 for name, blocks in parts.items()} for uid, parts in entries.items()}
        except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
            log.warning("The memory manager's state cannot be read and is begun anew", path=str(self.checkpoint.path), err=error)

    def _save(self) -> None:
        self.checkpoint.keep({"policyName": "Static", "entries": self._given})
