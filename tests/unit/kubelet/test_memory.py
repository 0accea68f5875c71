"""Memory of NUMA nodes: whose it is, and where more than one must help out."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kubepy.kubelet.memory.manager import MemoryManager, read_nodes, reserved_of
from kubepy.kubelet.topology import AllocationError, Hint
from tests.unit.kubelet.test_plan import container, pod

GI = 1 << 30
MACHINE = {0: {"memory": 8 * GI, "hugepages-2Mi": 1 * GI}, 1: {"memory": 8 * GI}}
RESERVED = reserved_of([{"numaNode": 0, "limits": {"memory": "1Gi"}}])


def guaranteed(uid: str, **more: str) -> dict[str, Any]:
    amounts = {"cpu": "1", **{name.replace("_", "-"): value for name, value in more.items()}}
    made = pod(container(resources={"requests": amounts, "limits": amounts}))
    made["metadata"] = {"name": uid, "uid": uid, "namespace": "default"}
    return made


def give(manager: MemoryManager, spec: dict[str, Any], nodes: frozenset[int] | None = None) -> None:
    manager.allocate(spec, spec["spec"]["containers"][0], nodes)


def test_memory_is_accounted_to_nodes_and_comes_back_and_survives_a_restart(tmp_path: Path) -> None:
    def manager() -> MemoryManager:
        return MemoryManager("Static", MACHINE, RESERVED, tmp_path / "memory_manager_state")

    first = manager()
    give(first, guaranteed("a", memory="6Gi"))
    give(first, guaranteed("b", memory="6Gi"))
    give(first, guaranteed("c", memory="3Gi"))
    assert [first.nodes(uid, "c") for uid in ("a", "b", "c", "d")] == ["0", "1", "0,1", ""]
    again = manager()
    assert again.given("c", "c") == {"memory": {0: GI, 1: 2 * GI}}
    with pytest.raises(AllocationError, match="no NUMA nodes with enough memory is available"):
        give(again, guaranteed("d", memory="1Gi"))
    again.release(lambda uid: uid != "a")
    give(again, guaranteed("d", memory="6Gi"))
    assert again.nodes("d", "c") == "0"


def test_hints_say_which_nodes_have_it(tmp_path: Path) -> None:
    manager = MemoryManager("Static", MACHINE, RESERVED, tmp_path / "state")
    spec = guaranteed("a", memory="8Gi", hugepages_2Mi="512Mi")
    assert manager.hints(spec, spec["spec"]["containers"][0], frozenset({0, 1})) == {
        "memory": [Hint(frozenset({1}), True), Hint(frozenset({0, 1}), False)],
        "hugepages-2Mi": [Hint(frozenset({0}), True), Hint(frozenset({0, 1}), False)]}
    give(manager, guaranteed("b", memory="9Gi"), frozenset({0, 1}))
    assert manager.nodes("b", "c") == "0,1"


def test_others_and_the_policy_none_get_nothing(tmp_path: Path) -> None:
    static = MemoryManager("Static", MACHINE, RESERVED, tmp_path / "state")
    burstable = pod(container(resources={"requests": {"memory": "1Gi"}}))
    give(static, burstable)
    none = MemoryManager("None", MACHINE, RESERVED, tmp_path / "state")
    give(none, guaranteed("a", memory="64Gi"))
    assert (static.nodes("u", "c"), none.nodes("a", "c"), none.allocatable()) == ("", "", {})


def test_what_the_kernel_says_of_its_nodes(tmp_path: Path) -> None:
    pages = tmp_path / "node0" / "hugepages" / "hugepages-2048kB"
    pages.mkdir(parents=True)
    (pages / "nr_hugepages").write_text("512\n")
    (tmp_path / "node0" / "meminfo").write_text("Node 0 MemTotal:       8388608 kB\nNode 0 MemFree:        1 kB\n")
    assert read_nodes(str(tmp_path)) == {0: {"memory": 7 * GI, "hugepages-2Mi": GI}}
