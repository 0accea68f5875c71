"""DaemonSets: a pod on each node that fits, rolling updates within their limits."""
from __future__ import annotations

import pytest
from rig import Rig, workload

from kubepy.api.resource import CONTROLLER_REVISIONS, DAEMON_SETS, NODES, PODS
from kubepy.api.types import Object
from kubepy.controllers.daemonset import reconcile
from kubepy.controllers.daemonset.eligible import fit, node_of


def node(name: str, *taints: tuple[str, str], **labels: str) -> Object:
    return {"metadata": {"name": name, "labels": labels}, "spec": {"taints": [{"key": key, "effect": effect} for key, effect in taints]}}


def daemonset(**spec: object) -> Object:
    return {"spec": {"template": {"metadata": {}, "spec": spec}}}


@pytest.mark.parametrize(("owner", "the_node", "expected"), [
    pytest.param(daemonset(), node("n"), (True, True), id="any node"),
    pytest.param(daemonset(nodeSelector={"disk": "ssd"}), node("n"), (False, False), id="not selected"),
    pytest.param(daemonset(), node("n", ("x", "NoSchedule")), (False, True), id="a taint keeps new ones away"),
    pytest.param(daemonset(), node("n", ("x", "NoExecute")), (False, False), id="a taint drives them away"),
    pytest.param(daemonset(), node("n", ("node.kubernetes.io/not-ready", "NoExecute"), ("node.kubernetes.io/unschedulable", "NoSchedule")),
                 (True, True), id="nodes in trouble and cordoned ones keep their daemons"),
    pytest.param(daemonset(tolerations=[{"operator": "Exists"}]), node("n", ("x", "NoExecute")), (True, True), id="tolerated"),
])
def test_fit(owner: Object, the_node: Object, expected: tuple[bool, bool]) -> None:
    assert fit(owner, the_node) == expected


NEW: Object = {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "b"}]}}}}


async def settle(rig: Rig, passes: int = 6) -> None:
    for _ in range(passes):
        for pod in rig.client.all(PODS):
            if not pod["spec"].get("nodeName"):
                await rig.client.create(PODS, {"target": {"name": node_of(pod)}}, "default", name=pod["metadata"]["name"],
                                        subresource="binding")
        await rig.run_pods()
        await rig.settle()


def nodes(rig: Rig) -> list[str]:
    return sorted(pod["spec"]["nodeName"] for pod in rig.client.all(PODS))


def images(rig: Rig) -> list[str]:
    return sorted(pod["spec"]["containers"][0]["image"] for pod in rig.client.all(PODS))


async def test_pods_follow_nodes() -> None:
    async with Rig(reconcile.controller) as rig:
        rig.client.load(NODES, node("a"), node("b"), node("c", ("x", "NoSchedule")))
        await rig.client.create(DAEMON_SETS, workload("DaemonSet"))
        await settle(rig)
        assert nodes(rig) == ["a", "b"]
        status = rig.client.all(DAEMON_SETS)[0]["status"]
        assert {key: status[key] for key in ("desiredNumberScheduled", "currentNumberScheduled", "numberReady", "numberAvailable",
                                             "updatedNumberScheduled", "numberMisscheduled")} == {
            "desiredNumberScheduled": 2, "currentNumberScheduled": 2, "numberReady": 2, "numberAvailable": 2, "updatedNumberScheduled": 2,
            "numberMisscheduled": 0}
        rig.client.load(NODES, node("d"))
        await rig.client.patch(NODES, "a", {"spec": {"taints": [{"key": "x", "effect": "NoExecute"}]}})
        await settle(rig)
        assert nodes(rig) == ["b", "d"]


async def test_a_rolling_update_replaces_one_at_a_time() -> None:
    async with Rig(reconcile.controller) as rig:
        rig.client.load(NODES, *(node(name) for name in "abc"))
        await rig.client.create(DAEMON_SETS, workload("DaemonSet"))
        await settle(rig)
        await rig.client.patch(DAEMON_SETS, "web", NEW, "default")
        await rig.settle()
        leaving = [pod for pod in rig.client.all(PODS) if pod["metadata"].get("deletionTimestamp")]
        assert len(leaving) == 1
        await settle(rig, 10)
        assert images(rig) == ["b", "b", "b"]
        assert [item["revision"] for item in rig.client.all(CONTROLLER_REVISIONS)] in ([1, 2], [2, 1])


async def test_surge_starts_the_new_before_the_old_goes() -> None:
    async with Rig(reconcile.controller) as rig:
        rig.client.load(NODES, *(node(name) for name in "ab"))
        strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
        await rig.client.create(DAEMON_SETS, workload("DaemonSet", updateStrategy=strategy))
        await settle(rig)
        await rig.client.patch(DAEMON_SETS, "web", NEW, "default")
        await rig.settle()
        assert images(rig) == ["a", "a", "b"]
        assert not any(pod["metadata"].get("deletionTimestamp") for pod in rig.client.all(PODS))
        await settle(rig, 10)
        assert images(rig) == ["b", "b"]
