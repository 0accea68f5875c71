"""Every other controller ends where it should too, whatever goes wrong on the way (see `chaos`): one scene for each group of them."""
from __future__ import annotations

import random

import pytest
from chaos import Flaky, chaos, settled
from rig import Rig
from scene import Scene, World
from scene_nodes import Attachments, Balancers, Claims, Nodes, Volumes
from scene_workloads import Budgets, Crons, Endpoints, Garbage, Namespaces, Quotas, Replication

SEEDS = range(3)
SCENES = (Namespaces, Garbage, Endpoints, Replication, Budgets, Quotas, Crons, Nodes, Volumes, Attachments, Claims, Balancers)
QUIET = {Nodes}
"""Scenes whose nodes fall silent when nobody plays them: what is written then is right."""


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", SCENES, ids=lambda kind: kind.__name__.lower())
async def test_converges(kind: type[Scene], seed: int) -> None:
    scene = kind()
    client = Flaky(seed)
    client.strict = scene.strict
    async with Rig(*scene.builds, options=scene.options, client=client) as rig:
        world = World(rig, client.random, {})
        await scene.begin(world)
        number = 0

        async def user(dice: random.Random) -> None:
            nonlocal number
            number += 1
            await scene.act(world, number)

        lapse = 0.0 if kind in QUIET else 400.0
        await chaos(rig, user, after=0 if kind in QUIET else scene.after, lapse=lapse, pods=False)
        await scene.late(world)
        scene.check(world)
        if kind not in QUIET and kind is not Crons:
            await settled(rig)
        scene.check(world)
