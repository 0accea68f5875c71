"""When rules are written, against the in-memory API and a backend that only takes note."""
from __future__ import annotations

import orjson
import pytest

from kubepy.api.resource import ENDPOINT_SLICES, SERVICES
from kubepy.base.clock import VirtualClock, format_micro_time, settle
from kubepy.base.task import Tasks
from kubepy.client.informer import InformerFactory
from kubepy.client.memory import MemoryClient
from kubepy.proxy.backend import BackendError
from kubepy.proxy.health import ProxyHealth
from kubepy.proxy.metric import PROGRAMMING_SECONDS
from kubepy.proxy.syncer import Options, Syncer


class Backend:
    def __init__(self, clock):
        self.clock, self.writes, self.fail, self.whole = clock, [], 0, True

    async def apply(self, state):
        if self.fail:
            self.fail -= 1
            raise BackendError("no")
        self.whole = True
        self.node = state.node
        self.writes.append((round(self.clock.now() - 1_700_000_000, 1), {str(name): len(state.endpoints.get(name, ()))
                                                                          for name in state.services}))
        return len(self.writes) == 1

    async def intact(self):
        return self.whole

    async def cleanup(self):
        pass


class World:
    async def __aenter__(self):
        self.clock, self.client, self.tasks = VirtualClock(), MemoryClient(), Tasks("test")
        self.backend = Backend(self.clock)
        self.health = ProxyHealth(self.clock, 60)
        self.addresses = ["192.168.0.1"]
        syncer = Syncer({"IPv4": self.backend}, Options(
            node="me", clear_conntrack=False, node_port_ranges=["192.168.0.0/16"], local_addresses=lambda: self.addresses),
            self.clock, self.health)
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

    async def slice(self, name, *addresses, **annotations):
        await self.client.create(ENDPOINT_SLICES, {
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4", "ports": [{"name": "", "port": 8080}],
            "metadata": {"name": f"{name}-x", "namespace": "ns", "labels": {"kubernetes.io/service-name": name},
                         "annotations": {f"endpoints.kubernetes.io/{key.replace('_', '-')}": value for key, value in annotations.items()}},
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


async def test_addresses_that_come_later_serve_node_ports_too():
    async with World() as world:
        assert world.backend.node.addresses == ("192.168.0.1",)
        world.addresses.append("192.168.7.1")
        await world.clock.advance(31)
        assert world.backend.node.addresses == ("192.168.0.1", "192.168.7.1")


def programmed():
    [metric] = PROGRAMMING_SECONDS.labels("IPv4").collect()
    values = {sample.name.rpartition("_")[2]: sample.value for sample in metric.samples if not sample.name.endswith("_bucket")}
    return values["count"], values["sum"]


async def test_it_is_measured_how_long_a_change_took_from_its_cause():
    async with World() as world:
        count, total = programmed()
        await world.service("a")
        await world.slice("a", "10.0.0.1", last_change_trigger_time=format_micro_time(world.clock.now() - 1000))
        await world.clock.advance(10)
        assert programmed() == (count, total), "what was caused before this proxy began is not its doing"
        await world.slice("b", "10.0.0.1", last_change_trigger_time=format_micro_time(world.clock.now() - 4))
        await world.clock.advance(3)
        assert programmed() == (count + 1, total + 4)


@pytest.mark.parametrize(("waited", "eligible", "healthz", "livez"), [
    pytest.param(None, True, 200, 200, id="nothing to write"), pytest.param(59, True, 200, 200, id="a change waits, but not for long"),
    pytest.param(61, True, 503, 503, id="a change waits for too long"), pytest.param(None, False, 503, 200, id="the node is being deleted"),
])
async def test_health(waited, eligible, healthz, livez):
    clock = VirtualClock()
    health = ProxyHealth(clock, 60, ("IPv4", "IPv6"))
    assert (await health.answer_healthz(None)).status == 503, "no rules yet"
    assert (await health.answer_livez(None)).status == 200
    for family in ("IPv4", "IPv6"):
        health.updated(family)
    health.eligible = eligible
    await clock.advance(100)
    if waited:
        health.queued()
        health.updated("IPv4")
        await clock.advance(waited)
    answer = await health.answer_healthz(None)
    assert (answer.status, answer.content_type, answer.headers["X-Content-Type-Options"]) == (healthz, "application/json", "nosniff")
    body = orjson.loads(answer.body)
    began, now = format_micro_time(1_700_000_000), format_micro_time(clock.now())
    late = bool(waited) and waited > 60
    first = format_micro_time(1_700_000_100) if waited else began
    assert body == {"lastUpdated": first if late else now, "currentTime": now, "nodeEligible": eligible, "healthy": not late, "status": {
        "IPv4": {"lastUpdated": first, "healthy": True}, "IPv6": {"lastUpdated": began, "healthy": not late}}}
    answer = await health.answer_livez(None)
    assert answer.status == livez
    assert "nodeEligible" not in orjson.loads(answer.body)
