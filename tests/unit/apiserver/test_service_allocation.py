"""Services' families, addresses and ports, on stores in memory."""
from __future__ import annotations

import ipaddress
from collections.abc import AsyncIterator
from typing import Any

import pytest

from kubepy.api.errors import Invalid
from kubepy.apiserver.service.allocator import IP_ADDRESSES, NODE_PORTS, Addresses, NodePorts, candidates, static_size
from kubepy.apiserver.service.reserve import ServiceReserver
from kubepy.apiserver.storage.backend import Backend
from kubepy.apiserver.storage.memory import MemoryKV
from kubepy.base.clock import SystemClock


@pytest.fixture
async def backend() -> AsyncIterator[Backend]:
    backend = Backend(MemoryKV())
    yield backend
    await backend.close()


def reserver(backend: Backend, cidr: str = "10.96.0.0/28", ports: tuple[int, int] = (30000, 30003)) -> ServiceReserver:
    addresses = Addresses(ipaddress.ip_network(cidr), backend.store(IP_ADDRESSES), SystemClock())  # type: ignore[arg-type]
    return ServiceReserver([addresses], NodePorts(ports, backend.store(NODE_PORTS)))  # type: ignore[arg-type]


def service(name: str, **spec: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "d"},
            "spec": {"type": "ClusterIP", "ports": [{"port": 80, "protocol": "TCP"}], **spec}}


async def take(services: ServiceReserver, obj: dict[str, Any], old: dict[str, Any] | None = None, *, keep: bool = True) -> Any:
    services.prepare(obj, old)
    return await services.reserve(obj, old, keep=keep)


async def test_every_address_is_given_once_until_none_is_left(backend: Backend) -> None:
    services = reserver(backend)
    given = set()
    for number in range(14):
        obj = service(f"s{number}")
        await take(services, obj)
        given.add(obj["spec"]["clusterIP"])
    assert len(given) == 14
    assert not given & {"10.96.0.0", "10.96.0.15"}
    with pytest.raises(Exception, match="range is full"):
        await take(services, service("one-more"))


async def test_two_servers_never_give_the_same(backend: Backend) -> None:
    one, other = reserver(backend), reserver(backend)
    first, second = service("a", clusterIP="10.96.0.5"), service("b", clusterIP="10.96.0.5")
    await take(one, first)
    with pytest.raises(Invalid, match="already allocated"):
        await take(other, second)
    await one.deleted(first)
    await take(other, second)


async def test_a_failed_write_gives_everything_back(backend: Backend) -> None:
    services = reserver(backend)
    wanted = {"type": "NodePort", "clusterIP": "10.96.0.5", "ports": [{"port": 80, "protocol": "TCP", "nodePort": 30001}]}
    reservation = await take(services, service("a", **wanted))
    await reservation.undo()
    await take(services, service("b", **wanted))


async def test_a_dry_run_keeps_nothing(backend: Backend) -> None:
    services = reserver(backend)
    await take(services, service("a", clusterIP="10.96.0.5"), keep=False)
    await take(services, service("b", clusterIP="10.96.0.5"))


async def test_a_change_of_type_frees_the_node_port(backend: Backend) -> None:
    services = reserver(backend)
    old = service("a", type="NodePort")
    await take(services, old)
    new = service("a", ports=[dict(old["spec"]["ports"][0])])
    reservation = await take(services, new, old)
    assert "nodePort" not in new["spec"]["ports"][0]
    assert new["spec"]["clusterIP"] == old["spec"]["clusterIP"]
    await reservation.commit()
    await take(services, service("b", type="NodePort", ports=[{"port": 80, "nodePort": old["spec"]["ports"][0]["nodePort"]}]))


async def test_a_port_outside_the_range_is_refused(backend: Backend) -> None:
    with pytest.raises(Invalid, match="The range of valid ports is 30000-30003"):
        await take(reserver(backend), service("a", type="NodePort", ports=[{"port": 80, "nodePort": 80}]))


@pytest.mark.parametrize(("size", "expected"), [(16, 0), (65534, 256), (1024, 64)])
def test_the_lower_part_is_kept_for_requests(size: int, expected: int) -> None:
    assert static_size(size, 16, 256, 16) == expected


def test_the_lower_part_is_tried_last() -> None:
    tried = candidates(64, 16)
    assert min(tried[:40]) >= 16
    assert set(tried) == set(range(64))
