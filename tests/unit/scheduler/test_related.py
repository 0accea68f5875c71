"""Kinds that cannot be read at first, or ever."""
from __future__ import annotations

from kubepy.api.errors import Forbidden, NotFound
from kubepy.api.resource import PERSISTENT_VOLUMES, POD_DISRUPTION_BUDGETS
from kubepy.base.clock import VirtualClock, settle
from kubepy.base.task import Tasks
from kubepy.client.memory import MemoryClient
from kubepy.scheduler.related import KINDS, Probe


class Server(MemoryClient):
    def __init__(self):
        super().__init__()
        self.refused = {}

    async def list(self, resource, namespace=None, **options):
        error = self.refused.get(resource.plural)
        if error is not None:
            raise error("no")
        return await super().list(resource, namespace, **options)


async def test_what_can_be_read_later_is_registered_later():
    client, clock, tasks, late = Server(), VirtualClock(), Tasks("test"), []
    client.refused = {"pods": Forbidden, "persistentvolumes": Forbidden, "resourceclaims": NotFound, "poddisruptionbudgets": NotFound}
    probe = Probe(client, clock)
    waiting = tasks.start(probe.wait(), "wait")
    await settle(20)
    assert not waiting.done()  # roles are not bound yet
    del client.refused["pods"]
    await clock.advance(2)
    assert waiting.done()
    kinds, devices = await probe.found()
    assert kinds == KINDS - {PERSISTENT_VOLUMES, POD_DISRUPTION_BUDGETS}
    assert devices == ""
    tasks.start(probe.look_again(lambda *found: late.append(found)), "again")
    await settle(20)
    del client.refused["persistentvolumes"]
    await clock.advance(31)
    assert late == [(frozenset({PERSISTENT_VOLUMES}), "")]
    client.refused.clear()
    await clock.advance(31)
    assert late[1:] == [(frozenset({POD_DISRUPTION_BUDGETS}), "v1")]
    await tasks.stop()
