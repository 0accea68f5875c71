"""How many volumes a CSI driver takes, as its CSINode says it over time."""
from __future__ import annotations

from typing import Any

import pytest

from kubepy.api.resource import CSI_DRIVERS, CSI_NODES
from kubepy.base.clock import VirtualClock, settle
from kubepy.base.task import Tasks
from kubepy.client.memory import MemoryClient
from kubepy.kubelet.csi import csi_pb2 as csi
from kubepy.kubelet.csi.registry import Registry, with_count

NODE: Any = {"metadata": {"name": "n1"}, "spec": {"drivers": [
    {"name": "d", "nodeID": "i", "topologyKeys": None, "allocatable": {"count": 7}}, {"name": "other", "nodeID": "i"}]}}


@pytest.mark.parametrize(("count", "wanted"), [
    pytest.param(7, None, id="the same"), pytest.param(3, {"count": 3}, id="fewer"), pytest.param(0, "none", id="any number")])
def test_the_count_of_one_driver_changes(count: int, wanted: Any) -> None:
    found = with_count(NODE, "d", count)
    assert (found is None) is (wanted is None)
    if found is not None:
        first, second = found["spec"]["drivers"]
        assert first == {**NODE["spec"]["drivers"][0], "allocatable": None if wanted == "none" else wanted}
        assert second == NODE["spec"]["drivers"][1]


class Driver:
    count, asked = 7, 0

    async def info(self) -> csi.NodeGetInfoResponse:
        self.asked += 1
        return csi.NodeGetInfoResponse(node_id="i", max_volumes_per_node=self.count)


async def test_a_driver_is_asked_as_often_as_it_wants_and_when_the_node_is_full() -> None:
    clock, client, driver, tasks = VirtualClock(), MemoryClient(), Driver(), Tasks("test")
    await client.create(CSI_NODES, NODE)
    await client.create(CSI_DRIVERS, {"metadata": {"name": "d"}, "spec": {"nodeAllocatableUpdatePeriodSeconds": 60}})
    registry = Registry(client, "n1", lambda: {}, lambda: None, clock)
    registry._drivers["d"] = driver  # type: ignore[assignment]
    tasks.keep(registry.run, "csi")

    async def shown() -> int:
        return int((await client.get(CSI_NODES, "n1"))["spec"]["drivers"][0]["allocatable"]["count"])

    for _ in range(13):
        await clock.advance(10)
        await settle()
    assert driver.asked in (2, 3)
    driver.count = 5
    for _ in range(7):
        await clock.advance(10)
        await settle()
    assert await shown() == 5
    driver.count = 4
    await clock.advance(11)
    await registry.recount("d")
    await registry.recount("d")
    assert await shown() == 4
    await tasks.stop()
