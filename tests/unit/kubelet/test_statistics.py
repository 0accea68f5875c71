"""What the kubelet says of its containers' usage."""
from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from kubepy.base.clock import VirtualClock
from kubepy.kubelet.cri import runtime_pb2 as pb
from kubepy.kubelet.pod import spec as podspec
from kubepy.kubelet.server.stat import Statistics
from kubepy.kubelet.settings import Settings

LABELS = {podspec.POD_UID: "u", podspec.POD_NAME: "p", podspec.POD_NAMESPACE: "ns"}
SECOND = 10**9


class Runtime:
    """Containers by id: attempt, state, nano-seconds used."""

    def __init__(self, **containers: tuple[int, int, int]) -> None:
        self.containers = containers

    async def container_stats(self) -> list[pb.ContainerStats]:
        return [pb.ContainerStats(
            attributes=pb.ContainerAttributes(id=key, metadata=pb.ContainerMetadata(name="c", attempt=attempt), labels=LABELS),
            cpu=pb.CpuUsage(timestamp=1_700_000_000 * SECOND if used else 0, usage_core_nano_seconds=pb.UInt64Value(value=used)))
                for key, (attempt, _, used) in self.containers.items()]

    async def list_containers(self) -> list[pb.Container]:
        return [pb.Container(id=key, metadata=pb.ContainerMetadata(name="c", attempt=attempt), labels=LABELS, state=state,  # type: ignore[arg-type]
                             created_at=(1_600_000_000 + attempt) * SECOND) for key, (attempt, state, _) in self.containers.items()]

    async def sandbox_stats(self) -> list[pb.PodSandboxStats]:
        return []


async def test_a_container_that_was_started_again_is_counted_once(tmp_path: Path) -> None:
    runtime: Any = Runtime(old=(0, pb.CONTAINER_EXITED, 0), new=(1, pb.CONTAINER_RUNNING, 3 * SECOND))
    statistics = Statistics(Settings(node_name="n", root_dir=str(tmp_path)), runtime, VirtualClock())
    for text in (await statistics.resource_metrics(), await statistics.cadvisor_metrics()):
        samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
        series = Counter((sample.name, *sorted(sample.labels.items())) for sample in samples)
        assert max(series.values()) == 1
        used = [sample.value for sample in samples if sample.name == "container_cpu_usage_seconds_total"]
        assert used == [3.0]
    pod, = (await statistics.summary())["pods"]
    assert pod["cpu"]["time"].startswith("2023-")
