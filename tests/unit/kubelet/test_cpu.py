"""CPUs of one's own: who gets which, and what is left for the others."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kubepy.kubelet.cpu.manager import CpuManager
from kubepy.kubelet.cpu.topology import Cpu, parse, take, text_of
from kubepy.kubelet.cri import runtime_pb2 as pb
from kubepy.kubelet.topology import AllocationError
from tests.unit.kubelet.test_plan import container, pod

# two sockets of two cores of two threads; threads of a core are 0 and 4, 1 and 5, …
MACHINE = sorted(Cpu(cpu % 4 // 2, cpu % 4, cpu) for cpu in range(8))


@pytest.mark.parametrize(("free", "count", "expected"), [
    ("0-7", 1, "0"), ("0-7", 2, "0,4"), ("0-7", 4, "0-1,4-5"), ("0-7", 3, "0-1,4"), ("1-7", 1, "4"), ("2-3,5-7", 4, "2-3,6-7"),
    ("1-2", 3, None),
], ids=["one", "a whole core", "a whole socket", "a core and a thread of the next", "the other thread of a core that is broken up already",
        "the socket that is whole", "more than there are"])
def test_which_cpus_are_taken(free: str, count: int, expected: str | None) -> None:
    found = take(MACHINE, parse(free), count)
    assert (None if found is None else text_of(found)) == expected


def guaranteed(uid: str, cpu: str) -> dict[str, Any]:
    amounts = {"cpu": cpu, "memory": "1Gi"}
    made = pod(container(resources={"requests": amounts, "limits": amounts}))
    made["metadata"] = {"name": uid, "uid": uid, "namespace": "default"}
    return made


def admit(manager: CpuManager, spec: dict[str, Any]) -> None:
    for entry in spec["spec"]["containers"]:
        manager.allocate(spec, entry)


def test_options_whole_cores_alone_and_reserved_cpus_for_nobody(tmp_path: Path) -> None:
    manager = CpuManager("static", MACHINE, parse("0,4"), tmp_path / "state", {"full-pcpus-only": "true", "strict-cpu-reservation": "true"})
    assert text_of(manager.shared()) == "1-3,5-7"
    with pytest.raises(AllocationError, match="requested 1 cpus not multiple cpus per core = 2") as raised:
        admit(manager, guaranteed("one", "1"))
    assert raised.value.reason == "SMTAlignmentError"
    admit(manager, guaranteed("four", "4"))
    assert len({cpu % 4 for cpu in parse(manager.cpuset("four", "c"))}) == 2, "both threads of each core"
    with pytest.raises(AllocationError, match="available physical CPUs = 2, requested CPUs = 4"):
        admit(manager, guaranteed("more", "4"))


def test_whole_cpus_are_exclusive_and_come_back_and_survive_a_restart(tmp_path: Path) -> None:
    def manager() -> CpuManager:
        return CpuManager("static", MACHINE, 1, tmp_path / "cpu_manager_state")

    first = manager()
    admit(first, guaranteed("two", "2"))
    admit(first, guaranteed("half", "1500m"))
    own = parse(first.cpuset("two", "c"))
    assert len(own) == 2
    assert 0 not in own, "the reserved one is nobody's"
    assert parse(first.cpuset("half", "c")) == parse("0-7") - own
    again = manager()
    assert parse(again.cpuset("two", "c")) == own
    with pytest.raises(AllocationError, match="not enough cpus available to satisfy request: requested=6, available=5"):
        admit(again, guaranteed("six", "6"))
    again.release(lambda uid: uid != "two")
    admit(again, guaranteed("six", "6"))
    assert len(parse(again.cpuset("half", "c"))) == 2


def test_the_policy_none_restricts_nobody(tmp_path: Path) -> None:
    none = CpuManager("none", MACHINE, 0, tmp_path / "state")
    admit(none, guaranteed("two", "2"))
    assert none.cpuset("two", "c") == ""


async def test_running_containers_learn_what_is_left_for_them(tmp_path: Path) -> None:
    told: list[tuple[str, str]] = []

    class Runtime:
        async def list_containers(self) -> list[pb.Container]:
            return [pb.Container(id=uid, metadata=pb.ContainerMetadata(name="c"), state=pb.CONTAINER_RUNNING,
                                 labels={"io.kubernetes.pod.uid": uid}) for uid in ("two", "other")]

        async def update_container(self, container_id: str, resources: pb.LinuxContainerResources) -> None:
            told.append((container_id, resources.cpuset_cpus))

    manager = CpuManager("static", MACHINE, 0, tmp_path / "state")
    admit(manager, guaranteed("two", "2"))
    for _ in range(2):
        await manager.reconcile(Runtime(), lambda uid: True)  # type: ignore[arg-type]
    assert told == [("two", "0,4"), ("other", "1-3,5-7")]
