"""When rules are written, against the in-memory API and a backend that only takes note."""
from __future__ import annotations

from kubepy.api.resource import ENDPOINT_SLICES, SERVICES
from kubepy.base.clock import VirtualClock, settle
from kubepy.base.task import Tasks
from kubepy.client.informer import InformerFactory
from kubepy.client.memory import MemoryClient
from kubepy.proxy.backend import BackendError
from kubepy.proxy.health import ProxyHealth
from kubepy.proxy.syncer import Options, Syncer


class Backend:
    def __init__(self, clock):
        self.clock, self.writes, self.fail, self.whole = clock, [], 0, True

    async def apply(self, state):
        if self.fail:
            self.fail -= 1
            raise BackendError("no")
        self.whole = True
        self.writes.append((round(self.clock.now() - 1_700_000_000, 1), {str(name): len(state.endpoints.get(name, ()))
                                                                          for name in state.services}))

    async def intact(self):
        return self.whole

    async def cleanup(self):
        pass


class World:
    async def __aenter__(self):
        self.clock, self.client, self.tasks = VirtualClock(), MemoryClient(), Tasks("test")
        self.backend = Backend(self.clock)
        self.health = ProxyHealth(self.clock, 60)
        syncer = Syncer({"IPv4": self.backend}, Options(node="me", clear_conntrack=False), self.clock, self.health)
        factory = InformerFactory(self.client, clock=self.clock)
        syncer.register(factory)
        factory.start(self.tasks)
        self.tasks.start(syncer.run(factory), "syncer")
        await settle(50)
        return self

    async def __aexit__(self, *_):
        await self.tasks.stop()

    async def service(self, name):
        await self.client.create(SERVICES, {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "ns"},
                                            "spec": {"clusterIP": "10.96.0.5", "clusterIPs": ["10.96.0.5"], "ports": [{"port": 80}]}})
        await settle(50)

    async def slice(self, name, *addresses):
        await self.client.create(ENDPOINT_SLICES, {
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4", "ports": [{"name": "", "port": 8080}],
            "metadata": {"name": f"{name}-x", "namespace": "ns", "labels": {"kubernetes.io/service-name": name}},
            "endpoints": [{"addresses": [address]} for address in addresses]})
        await settle(50)


async def test_changes_are_written_at_once_but_not_too_often():
    async with World() as world:
        assert world.backend.writes == [(0.0, {})]
        await world.service("a")
        await world.slice("a", "10.0.0.1")
        await world.service("b")
        await world.clock.advance(3)
        assert world.backend.writes[1:] == [(0.0, {"ns/a": 0}), (1.0, {"ns/a": 1, "ns/b": 0})]


async def test_a_failed_write_is_tried_again_and_shows_in_health():
    async with World() as world:
        assert world.health.healthy()
        world.backend.fail = 5
        await world.service("a")
        await world.clock.advance(2)
        assert len(world.backend.writes) == 1
        await world.clock.advance(60)
        assert world.backend.writes[-1][1] == {"ns/a": 0}
        assert world.health.healthy()


async def test_rules_that_are_gone_are_written_again():
    async with World() as world:
        await world.clock.advance(10)
        world.backend.whole = False
        await world.clock.advance(30)
        assert len(world.backend.writes) == 2
        assert world.backend.whole
