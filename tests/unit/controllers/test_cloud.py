"""Addresses for services of type LoadBalancer; service ranges that come and go."""
from __future__ import annotations

from typing import Any

import pytest
from rig import Rig

from kubepy.api.resource import SERVICES
from kubepy.api.types import Object
from kubepy.controllers import servicecidr
from kubepy.controllers.cloud import pool, service
from kubepy.controllers.cloud.provider import ProviderError
from kubepy.controllers.kit.option import Options


def balanced(name: str, *, ip: str = "", **spec: Any) -> Object:
    return {"metadata": {"name": name, "namespace": "default", "uid": name}, "spec": {"type": "LoadBalancer", **spec},
            "status": {"loadBalancer": {"ingress": [{"ip": ip}]} if ip else {}}}


POOL = pool.parse_pool(["192.0.2.8-192.0.2.10", "2001:db8::/120"])


@pytest.mark.parametrize(("wanted", "others", "expected"), [
    pytest.param(balanced("a"), [], ["192.0.2.8"], id="the first"),
    pytest.param(balanced("a"), [balanced("b", ip="192.0.2.8")], ["192.0.2.9"], id="the first free one"),
    pytest.param(balanced("a", ip="192.0.2.10"), [], ["192.0.2.10"], id="the one it has"),
    pytest.param(balanced("a", ip="203.0.113.1"), [], ["192.0.2.8"], id="not one that left the pool"),
    pytest.param(balanced("a", loadBalancerIP="192.0.2.9"), [], ["192.0.2.9"], id="the one it asks for"),
    pytest.param(balanced("a", ipFamilies=["IPv4", "IPv6"]), [], ["192.0.2.8", "2001:db8::1"], id="one of each family"),
    pytest.param(balanced("a", loadBalancerIP="192.0.2.9"), [balanced("b", ip="192.0.2.9")], "taken", id="another has it"),
    pytest.param(balanced("a", loadBalancerIP="203.0.113.1"), [], "not in the pool", id="it is not ours to give"),
    pytest.param(balanced("a"), [balanced(str(i), ip=f"192.0.2.{i}") for i in (8, 9, 10)], "no free", id="nothing left"),
])
def test_addresses(wanted: Object, others: list[Object], expected: list[str] | str) -> None:
    used = pool.taken([*others, wanted], wanted)
    if isinstance(expected, str):
        with pytest.raises(ProviderError, match=expected):
            pool.choose(wanted, POOL, used)
    else:
        assert [str(address) for address in pool.choose(wanted, POOL, used)] == expected


async def test_services_get_addresses_of_their_own_and_tell_when_there_are_none() -> None:
    async with Rig(service.controller, options=Options(load_balancer_pool=("192.0.2.1-192.0.2.2",))) as rig:
        for name in ("a", "b", "c"):
            await rig.client.create(SERVICES, {"metadata": {"name": name, "namespace": "default"}, "spec": {"type": "LoadBalancer"}})
        await rig.settle()
        found = [service.ingress_of(item) for item in rig.client.all(SERVICES)]
        assert sorted(item[0]["ip"] for item in found if item) == ["192.0.2.1", "192.0.2.2"]
        assert ("SyncLoadBalancerFailed", "Error syncing load balancer: the pool has no free IPv4 address") in rig.events()


@pytest.mark.parametrize(("others", "addresses", "expected"), [
    pytest.param([], ["10.0.0.5"], ["10.0.0.5"], id="an address needs it"),
    pytest.param([], ["10.1.0.5"], [], id="an address of another range"),
    pytest.param(["10.0.0.0/16"], ["10.0.0.5"], [], id="another range holds the address too"),
])
def test_ranges_that_are_needed(others: list[str], addresses: list[str], expected: list[str]) -> None:
    cidr: Object = {"metadata": {"name": "x"}, "spec": {"cidrs": ["10.0.0.0/24"]}}
    rest = [{"metadata": {"name": text}, "spec": {"cidrs": [text]}} for text in others]
    assert servicecidr.orphans(cidr, [cidr, *rest], addresses) == expected


async def test_a_range_is_ready_and_goes_when_nobody_needs_it() -> None:
    async with Rig(servicecidr.controller) as rig:
        client = rig.client
        await client.create(servicecidr.SERVICE_CIDRS, {"metadata": {"name": "x"}, "spec": {"cidrs": ["10.0.0.0/24"]}})
        await client.create(servicecidr.IP_ADDRESSES, {"metadata": {"name": "10.0.0.5"}, "spec": {}})
        await rig.settle()
        cidr = client.all(servicecidr.SERVICE_CIDRS)[0]
        assert cidr["metadata"]["finalizers"] == [servicecidr.FINALIZER]
        assert cidr["status"]["conditions"][0]["status"] == "True"
        await client.delete(servicecidr.SERVICE_CIDRS, "x")
        await rig.settle()
        assert client.all(servicecidr.SERVICE_CIDRS)[0]["status"]["conditions"][0]["reason"] == "Terminating"
        await client.delete(servicecidr.IP_ADDRESSES, "10.0.0.5")
        for _ in range(3):
            await rig.settle(11)
        assert client.all(servicecidr.SERVICE_CIDRS) == []
