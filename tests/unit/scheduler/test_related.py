"""Kinds that cannot be read at first, or ever."""
from __future__ import annotations

from kubepy.api.errors import Forbidden, NotFound
from kubepy.api.resource import NODES, PERSISTENT_VOLUMES, POD_DISRUPTION_BUDGETS, PODS
from kubepy.base.clock import VirtualClock, settle
from kubepy.base.task import Tasks
from kubepy.client.informer import InformerFactory
from kubepy.client.memory import MemoryClient
from kubepy.client.served import until_readable
from kubepy.scheduler.queue import Queue
from kubepy.scheduler.related import device_version, wait_for_devices
from kubepy.scheduler.snapshot import Snapshot
from kubepy.scheduler.watch import Feed


class Server(MemoryClient):
    """Some resources are `refused`; of resource.k8s.io there are `versions`."""

    def __init__(self, clock):
        super().__init__(clock)
        self.refused, self.versions = {}, ["v1"]

    async def list(self, resource, namespace=None, **options):
        error = self.refused.get(resource.plural)
        if resource.group == "resource.k8s.io" and resource.version not in self.versions:
            error = NotFound
        if error is not None:
            raise error("no")
        return await super().list(resource, namespace, **options)


async def test_nothing_is_scheduled_before_pods_and_nodes_can_be_read():
    clock, tasks = VirtualClock(), Tasks("test")
    client = Server(clock)
    client.refused = {"pods": Forbidden}
    waiting = tasks.start(until_readable(client, clock, PODS, NODES), "wait")
    await settle(20)
    assert not waiting.done()  # roles are not bound yet
    del client.refused["pods"]
    await clock.advance(2)
    assert waiting.done()


async def test_what_can_be_read_later_is_taken_as_empty_until_then():
    clock, tasks = VirtualClock(), Tasks("test")
    client, snapshot = Server(clock), Snapshot()
    client.refused = {"persistentvolumes": Forbidden, "poddisruptionbudgets": NotFound, "resourceclaims": Forbidden}
    await client.create(PERSISTENT_VOLUMES, {"metadata": {"name": "pv"}, "spec": {}})
    await client.create(POD_DISRUPTION_BUDGETS, {"metadata": {"name": "b", "namespace": "default"}, "spec": {}, "status": {}})
    factory, feed = InformerFactory(client, clock=clock), Feed(snapshot, Queue({}, clock))
    feed.register(factory)
    factory.start(tasks)
    await settle(50)
    assert factory.synced()
    assert (snapshot.volumes.volumes, feed.budgets()) == ({}, [])
    client.refused.clear()
    await clock.advance(31)
    assert list(snapshot.volumes.volumes) == ["pv"]
    assert len(feed.budgets()) == 1
    await tasks.stop()


async def test_devices_are_looked_at_in_the_newest_version_there_is():
    clock, tasks, found = VirtualClock(), Tasks("test"), []
    client = Server(clock)
    client.versions = ["v1beta1"]
    assert await device_version(client, clock) == ""
    tasks.start(wait_for_devices(client, clock, found.append), "devices")
    await settle(20)
    client.versions = ["v1beta1", "v1beta2"]
    await clock.advance(31)
    assert found == ["v1beta2"]
    client.versions = ["v1beta2", "v1"]
    assert await device_version(client, clock) == "v1"
    await tasks.stop()
