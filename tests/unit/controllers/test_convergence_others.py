"""Every other controller ends where it should too, whatever goes wrong on the way (see `chaos`): one scene for each group of them."""
from __future__ import annotations

import random
from pathlib import Path

import pytest
from chaos import chaos, settled
from rig import Rig
from scene import Scene, World
from scene_cluster import Autoscalers, Bootstraps, Certificates, Clouds, LegacyTokens
from scene_directories import LocalPaths
from scene_dns import NameServers
from scene_groups import DeviceRules, Migrations, PoolStatus, Publishing, Recycled, StorageVersions
from scene_nodes import Attachments, Balancers, Claims, DeviceTaints, Labels, Nodes, Volumes
from scene_workloads import Budgets, Crons, Endpoints, Garbage, Namespaces, Orphans, Quotas, Replication

from kubepy.controllers import replicaset
from kubepy.controllers.daemonset import reconcile as daemonset
from kubepy.controllers.deployment import reconcile as deployment
from kubepy.controllers.job import reconcile as job
from kubepy.controllers.manager import CONTROLLERS
from kubepy.controllers.statefulset import reconcile as statefulset

SEEDS = range(3)
SCENES = (Namespaces, Garbage, Endpoints, Replication, Budgets, Quotas, Crons, Orphans, Nodes, Volumes, Attachments, Claims, Balancers,
          Autoscalers, Certificates, Bootstraps, LegacyTokens, LocalPaths, Clouds, DeviceTaints,
          Labels, StorageVersions, Migrations, Publishing, PoolStatus, DeviceRules, NameServers, Recycled)
QUIET = {Nodes}
"""Scenes whose nodes fall silent when nobody plays them: what is written then is right."""
WORKLOADS = {deployment.controller, replicaset.replicaset, statefulset.controller, daemonset.controller, job.controller}
"""Those of test_convergence."""


def test_every_controller_has_a_scene() -> None:
    played = {build for scene in SCENES for build in scene.builds} | WORKLOADS
    assert [entry.name for entry in CONTROLLERS if entry.build not in played] == []


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", SCENES, ids=lambda kind: kind.__name__.lower())
async def test_converges(kind: type[Scene], seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = kind()
    client = scene.client(seed)
    client.strict = scene.strict
    scene.prepare(client, tmp_path, monkeypatch)
    async with Rig(*scene.builds, options=scene.options, client=client) as rig:
        world = World(rig, client.random, {})
        await scene.begin(world)
        number = 0

        async def user(dice: random.Random) -> None:
            nonlocal number
            number += 1
            await scene.act(world, number)

        lapse = 0.0 if kind in QUIET else 400.0
        await chaos(rig, user, after=0 if kind in QUIET else scene.after, lapse=lapse, pods=scene.pods)
        await scene.late(world)
        scene.check(world)
        if kind not in QUIET and kind is not Crons:
            await settled(rig)
        scene.check(world)
