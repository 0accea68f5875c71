"""Pods told by the node's own range: waited for, and watched."""
from __future__ import annotations

import asyncio

import pytest

from kubepy.api.resource import NODES
from kubepy.base.clock import VirtualClock, settle
from kubepy.base.task import Tasks
from kubepy.client.daemon import Daemon, Health
from kubepy.client.informer import InformerFactory
from kubepy.client.memory import MemoryClient
from kubepy.proxy import flag, main
from kubepy.proxy.backend import BackendError


def node(*ranges):
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "me"}, "spec": {"podCIDRs": list(ranges)} if ranges else {}}


async def test_the_node_and_its_ranges_are_waited_for():
    client, clock = MemoryClient(), VirtualClock()
    args = flag.parser().parse_args(["--hostname-override=me"])
    waiting = asyncio.ensure_future(main._pod_ranges(Daemon("kube-proxy", args, client, clock, Tasks("test"), Health())))
    for objects in ((), (node(),)):
        client.load(NODES, *objects)
        await clock.advance(5)
        assert not waiting.done()
    client.load(NODES, node("10.1.2.0/24", "fd00:1::/64"))
    await clock.advance(5)
    assert await waiting == ("10.1.2.0/24", "fd00:1::/64")


async def test_other_ranges_end_the_process():
    client, tasks = MemoryClient(), Tasks("test")
    client.load(NODES, node("10.1.2.0/24"))
    factory, ended = InformerFactory(client), asyncio.get_running_loop().create_future()
    main._end_when_ranges_change(factory, "me", ("10.1.2.0/24",), ended)
    factory.start(tasks)
    await settle(50)
    assert not ended.done()
    client.load(NODES, node("10.1.3.0/24"))
    await settle(50)
    with pytest.raises(BackendError, match="starting again"):
        ended.result()
    await tasks.stop()
