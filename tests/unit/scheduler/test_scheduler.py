"""The whole scheduler against the in-memory API, on a virtual clock."""
from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from kubepy.api.resource import PODS
from kubepy.base.clock import settle

spec = importlib.util.spec_from_file_location("world", Path(__file__).with_name("world.py"))
world_module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(world_module)
World = world_module.World


async def test_a_pod_is_bound_and_told_so():
    async with World() as world:
        await world.node("n1")
        await world.pod("a", requests={"cpu": "1"})
        assert await world.where("a") == "n1"
        assert world.recorder.events == [("a", "Normal", "Scheduled", "Successfully assigned default/a to n1")]
        assert world.scheduler.snapshot.used[0, 0] == 1000
        assert not world.scheduler.snapshot.assumed


async def test_a_pod_that_fits_nowhere_says_why_and_is_bound_when_a_node_comes():
    async with World() as world:
        await world.node("n1", cpu="1")
        await world.node("n2", taints=[{"key": "a", "effect": "NoSchedule"}])
        await world.pod("a", requests={"cpu": "2"})
        found = await world.client.get(PODS, "a", "default")
        [condition] = found["status"]["conditions"]
        assert condition["message"].startswith("0/2 nodes are available: 1 Insufficient cpu, 1 node(s) had untolerated taint(s).")
        assert (condition["status"], condition["reason"]) == ("False", "Unschedulable")
        assert world.recorder.events[0][:3] == ("a", "Warning", "FailedScheduling")
        await world.node("n3")
        await world.clock.advance(2)
        assert await world.where("a") == "n3"


async def test_what_a_node_declares_reaches_the_scheduler():
    async with World() as world:
        await world.node("n1", features=["RestartAllContainersOnContainerExits"])
        await world.pod("a", initContainers=[{"name": "i", "restartPolicyRules": [{"action": "RestartAllContainers"}]}])
        assert await world.where("a") == "n1"


async def test_no_nodes():
    async with World() as world:
        await world.pod("a")
        assert world.recorder.events[0][3] == "no nodes available to schedule pods"
        await world.node("n1")
        await world.clock.advance(2)
        assert await world.where("a") == "n1"


async def test_a_gated_pod_waits_for_its_gates():
    async with World() as world:
        await world.node("n1")
        await world.pod("a", schedulingGates=[{"name": "g"}])
        assert await world.where("a") is None
        assert not world.recorder.events
        await world.client.patch(PODS, "a", {"spec": {"schedulingGates": None}}, "default")
        await settle(80)
        assert await world.where("a") == "n1"


async def test_pods_of_other_schedulers_are_left_alone_but_counted():
    async with World() as world:
        await world.node("n1", cpu="1")
        await world.pod("a", schedulerName="other")
        assert await world.where("a") is None
        await world.pod("b", node="n1", requests={"cpu": "1"})
        await world.pod("c", requests={"cpu": "1"})
        assert await world.where("c") is None


@pytest.mark.parametrize("lost", [False, True], ids=["refused", "answer lost"])
async def test_a_failed_binding_is_tried_again_once(lost):
    async with World() as world:
        await world.node("n1")
        failures = []

        async def before(*args, **kwargs):
            pass

        original = world.client.create

        async def create(resource, obj, namespace=None, *, name=None, subresource=None, dry_run=False):
            if subresource == "binding" and not failures:
                failures.append(name)
                if lost:
                    await original(resource, obj, namespace, name=name, subresource=subresource)
                raise ConnectionError("gone")
            return await original(resource, obj, namespace, name=name, subresource=subresource, dry_run=dry_run)

        world.client.create = create
        await world.pod("a", requests={"cpu": "1"})
        await world.clock.advance(3)
        assert await world.where("a") == "n1"
        assert world.scheduler.snapshot.used[0, 0] == 1000
        assert [event[2] for event in world.recorder.events] == (["Scheduled"] if lost else ["FailedScheduling", "Scheduled"])


async def test_priority_goes_first():
    async with World() as world:
        await world.pod("low", requests={"cpu": "1"})
        await world.pod("high", requests={"cpu": "1"}, priority=10)
        await world.node("n1", cpu="1")
        await world.clock.advance(2)
        assert await world.where("high") == "n1"
        assert await world.where("low") is None
        await world.client.delete(PODS, "high", "default", grace_period_seconds=0)
        await world.clock.advance(10)
        assert await world.where("low") == "n1"


async def test_a_pod_preempts_and_takes_the_place():
    async with World() as world:
        await world.node("n1", cpu="1")
        await world.pod("low", requests={"cpu": "1"})
        await world.pod("high", requests={"cpu": "1"}, priority=10)
        low = await world.client.get(PODS, "low", "default")
        assert "deletionTimestamp" in low["metadata"]
        assert "PreemptionByScheduler" in {entry.get("reason") for entry in low["status"]["conditions"]}
        assert (await world.client.get(PODS, "high", "default"))["status"]["nominatedNodeName"] == "n1"
        preempted = next(event for event in world.recorder.events if event[2] == "Preempted")
        assert preempted[0] == "low"
        await world.client.delete(PODS, "low", "default", grace_period_seconds=0)  # the kubelet is done with it
        await world.clock.advance(5)
        assert await world.where("high") == "n1"


async def test_a_pod_that_cannot_preempt_says_so():
    async with World() as world:
        await world.node("n1", cpu="1")
        await world.pod("first", requests={"cpu": "1"})
        await world.pod("second", requests={"cpu": "1"})
        assert world.recorder.events[-1][3] == (
            "0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, preemption: 0/1 nodes are available: "
            "1 No preemption victims found for incoming pod.")


async def test_a_pod_that_must_be_apart_is_woken_only_by_those_it_fled():
    async with World() as world:
        apart = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
            {"labelSelector": {"matchLabels": {"app": "x"}}, "topologyKey": "kubernetes.io/hostname"}]}}
        await world.node("n1")
        await world.pod("first", labels={"app": "x"})
        await world.pod("other", labels={"app": "y"})
        await world.pod("second", labels={"app": "x"}, affinity=apart)
        entry = world.scheduler.queue.entries["default/second"]
        assert entry.attempts == 1
        await world.client.delete(PODS, "other", "default", grace_period_seconds=0)
        await world.clock.advance(20)
        assert entry.attempts == 1
        await world.client.delete(PODS, "first", "default", grace_period_seconds=0)
        await world.clock.advance(20)
        assert await world.where("second") == "n1"


async def test_a_plugin_that_fails_over_one_pod_does_not_stop_the_others():
    async with World() as world:
        await world.node("n1")
        [fit] = [plugin for plugin in world.scheduler.config.profiles["default-scheduler"].filters if plugin.name == "NodeResourcesFit"]
        original = fit.filter
        fit.filter = lambda cycle: original(cycle) if cycle.pod.name != "bad" else cycle.nonsense
        await world.pod("bad")
        await world.pod("good")
        assert await world.where("good") == "n1"
        assert await world.where("bad") is None
        fit.filter = original
        await world.clock.advance(3)
        assert await world.where("bad") == "n1"
