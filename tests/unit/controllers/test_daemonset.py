"""DaemonSets: a pod on each node that fits, rolling updates within their limits."""
from __future__ import annotations

from typing import Any

import pytest
from rig import Rig, workload

from kubepy.api.resource import CONTROLLER_REVISIONS, DAEMON_SETS, NODES, PODS
from kubepy.api.types import Object
from kubepy.controllers.daemonset import plan, reconcile
from kubepy.controllers.daemonset.eligible import fit, node_of
from kubepy.controllers.kit.revision import HASH_LABEL


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


def daemon(where: str, revision: str = "new", *, ready: bool = True, phase: str = "Running", leaving: bool = False, age: int = 0) -> Object:
    return {"metadata": {"name": f"{where}-{revision}{age}", "labels": {HASH_LABEL: revision},
                         "creationTimestamp": f"2023-11-{20 - age:02d}T00:00:00Z", **({"deletionTimestamp": "x"} if leaving else {})},
            "spec": {"nodeName": where},
            "status": {"phase": phase, "conditions": [{"type": "Ready", "status": "True" if ready else "False"}]}}


def by_node(pods: list[Object]) -> dict[str, list[Object]]:
    found: dict[str, list[Object]] = {}
    for pod in pods:
        found.setdefault(pod["spec"]["nodeName"], []).append(pod)
    return found


def strategy(**rolling: Any) -> Object:
    return workload("DaemonSet", updateStrategy={"type": "RollingUpdate", "rollingUpdate": rolling})


def names(pods: list[Object]) -> list[str]:
    return [pod["metadata"]["name"] for pod in pods]


ABC = [node(name) for name in "abc"]
OLD = [daemon(name, "old") for name in "abc"]


@pytest.mark.parametrize(("owner", "pods", "create", "delete"), [
    pytest.param(strategy(), [], ["a", "b", "c"], [], id="one for each node"),
    pytest.param(strategy(), [daemon("a"), daemon("b"), daemon("c", leaving=True)], [], [], id="a successor waits for the one that goes"),
    pytest.param(strategy(), [daemon("a"), daemon("b"), daemon("c", phase="Failed")], [], ["c-new0"], id="a failed one goes first"),
    pytest.param(strategy(), [*OLD, daemon("a")], [], ["a-old0"], id="two on a node: by name, when both are as old"),
    pytest.param(strategy(), [daemon("a"), daemon("a", age=3), daemon("b"), daemon("c")], [], ["a-new0"],
                 id="two on a node: the older stays"),
    pytest.param(strategy(), [daemon("a", ready=False, age=3), daemon("a"), daemon("b"), daemon("c")], [], ["a-new3"],
                 id="two on a node: the ready one stays"),
    pytest.param(strategy(maxSurge=1, maxUnavailable=0), [*OLD, daemon("a", ready=False)], [], [],
                 id="surging: the old one stays meanwhile"),
    pytest.param(strategy(maxSurge=1, maxUnavailable=0), [*OLD, daemon("a")], [], ["a-old0"], id="surging: until the new one is there"),
    pytest.param(strategy(maxSurge=1, maxUnavailable=0), [daemon("a", "old", ready=False), daemon("a", ready=False), *OLD[1:]], [],
                 ["a-old0"], id="surging: or it serves nobody itself"),
])
def test_what_each_node_needs(owner: Object, pods: list[Object], create: list[str], delete: list[str]) -> None:
    found = plan.manage(owner, ABC, by_node(pods), "new", 0.0)
    assert (found.create, names(found.delete)) == (create, delete)


@pytest.mark.parametrize(("owner", "pods", "create", "delete"), [
    pytest.param(strategy(), OLD, [], ["a-old0"], id="one at a time"),
    pytest.param(strategy(maxUnavailable=2), OLD, [], ["a-old0", "b-old0"], id="two at a time"),
    pytest.param(strategy(maxUnavailable="40%"), OLD, [], ["a-old0", "b-old0"], id="a part of three, rounded up"),
    pytest.param(strategy(), [daemon("a", ready=False), *OLD[1:]], [], [], id="one is away already"),
    pytest.param(strategy(), [*OLD[:2], daemon("c", "old", ready=False)], [], ["c-old0"], id="one that serves nobody costs nothing"),
    pytest.param(strategy(), [daemon(name) for name in "abc"], [], [], id="all are new"),
    pytest.param(strategy(maxSurge=1, maxUnavailable=0), OLD, ["a"], [], id="one beside the old"),
    pytest.param(strategy(maxSurge=1, maxUnavailable=0), [*OLD, daemon("a", ready=False)], [], [], id="the new one is not there yet"),
    pytest.param(strategy(maxSurge="50%", maxUnavailable=0), [*OLD[:2], daemon("c", "old", ready=False)], ["c", "a"], [],
                 id="beside one that serves nobody first"),
])
def test_the_next_step_of_an_update(owner: Object, pods: list[Object], create: list[str], delete: list[str]) -> None:
    found = plan.roll(owner, ABC, by_node(pods), "new", 0.0)
    assert (found.create, names(found.delete)) == (create, delete)
