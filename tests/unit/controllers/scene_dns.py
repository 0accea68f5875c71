"""Name servers come, go, fall silent and change their address; each node's slice says in the end what is."""
from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from chaos import Flaky
from scene import Scene, World

from kubepy.api.resource import ENDPOINT_SLICES, NODES, SERVICES
from kubepy.controllers.endpoint import ask, nameserver
from kubepy.controllers.kit.option import Options


class NameServers(Scene):
    builds = (nameserver.controller,)
    options = Options(node_dns_service="kube-system/kube-dns")
    after = 30

    def __init__(self) -> None:
        self.living = {"n0", "n1"}

    def prepare(self, client: Flaky, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        async def answer(targets: Mapping[str, tuple[str, int]]) -> dict[str, str]:
            return {node: node for node in targets if node in self.living}

        monkeypatch.setattr(ask, "ask", answer)

    async def begin(self, world: World) -> None:
        await world.create(SERVICES, "kube-dns", "kube-system", spec={
            "clusterIP": "10.96.0.10", "ports": [{"name": "dns", "port": 53, "protocol": "UDP", "targetPort": 10053}]})
        for number in range(3):
            await self._node(world, number)

    async def _node(self, world: World, number: int) -> None:
        await world.create(NODES, f"n{number}", None, spec={},
                           status={"addresses": [{"type": "InternalIP", "address": f"192.0.2.{number}"}]})

    async def act(self, world: World, number: int) -> None:
        which, node = world.dice.random(), f"n{world.dice.randrange(4)}"
        if which < 0.4:
            self.living ^= {node}
        elif which < 0.6 and (found := world.some(NODES)) is not None:
            address = f"192.0.2.{world.dice.randrange(10, 200)}"
            await world.patch(NODES, found, {"status": {"addresses": [{"type": "InternalIP", "address": address}]}}, "status")
        elif which < 0.7 and (found := world.some(NODES)) is not None:
            await world.delete(NODES, found)
        elif which < 0.9:
            await self._node(world, int(node[1:]))
        elif (found := world.some(ENDPOINT_SLICES)) is not None:
            await world.delete(ENDPOINT_SLICES, found)

    async def late(self, world: World) -> None:
        self.living = {"n0", "n3"}
        await self._node(world, 0)
        await world.rig.settle(20)

    def check(self, world: World) -> None:
        nodes = {node["metadata"]["name"]: node["status"]["addresses"][0]["address"] for node in world.all(NODES)}
        ready = {}
        for piece in world.all(ENDPOINT_SLICES):
            [endpoint] = piece["endpoints"]
            node = endpoint["nodeName"]
            assert endpoint["addresses"] == [nodes[node]], "a slice of a node that is gone or of an address it had"
            assert piece["metadata"]["name"] == f"kube-dns-{node}"
            if endpoint["conditions"]["ready"]:
                ready[node] = endpoint["hints"]
        assert ready == {node: {"forNodes": [{"name": node}]} for node in self.living & nodes.keys()}
