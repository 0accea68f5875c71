"""What changes in pods that run: containers of guaranteed and burstable ones are resized all at once, ephemeral ones are added."""
from __future__ import annotations

import json
from typing import Any

import pytest

from tests.e2e.cluster import Cluster, eventually


def sizes(requests: str = "", limits: str = "") -> Any:
    """Of "20m 16Mi" the CPU and memory, either of which may be missing."""
    def amounts(text: str) -> Any:
        return {("memory" if amount.endswith("Mi") else "cpu"): amount for amount in text.split()}
    return {side: amounts(text) for side, text in (("requests", requests), ("limits", limits)) if text}


PODS: dict[str, dict[str, tuple[Any, Any]]] = {
    "guaranteed": {"c1": (sizes("20m 20Mi", "20m 20Mi"), sizes("30m 30Mi", "30m 30Mi")),
                   "c2": (sizes("40m 40Mi", "40m 40Mi"), sizes("25m 30Mi", "25m 30Mi")),
                   "c3": (sizes("30m 30Mi", "30m 30Mi"), sizes("40m 30Mi", "40m 30Mi"))},
    "burstable": {"c1": ({}, sizes("10m 16Mi", "20m 32Mi")), "c2": (sizes("20m"), sizes("30m", "40m")),
                  "c3": (sizes("20m 16Mi"), sizes("30m 24Mi", "32Mi")),
                  "c4": (sizes("20m 20Mi", "30m 30Mi"), sizes("15m 25Mi", "20m 40Mi")),
                  "c5": (sizes("2m", "10m"), sizes("1m", "5m")), "c6": (sizes("20m", "40m"), sizes("10m", "30m"))},
}
"""The resources of each container before and after: more, less, for the first time, and amounts that are the same to the kernel."""


@pytest.mark.parametrize("name", PODS)
def test_all_containers_of_a_pod_are_resized_at_once(cluster: Cluster, name: str) -> None:
    """What was asked for is what its status, its node and the kernel say; nothing is restarted; `resize` shows the pod itself."""
    containers = [{"name": each, "image": "busybox:1.36", "command": ["sleep", "600"], "resources": before}
                  for each, (before, _) in PODS[name].items()]
    cluster.kubectl("apply", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {
        "terminationGracePeriodSeconds": 0, "containers": containers}}))
    cluster.kubectl("wait", "--for=condition=Ready", f"pod/{name}", "--timeout=150s")
    changes = [{"name": each, "resources": after} for each, (_, after) in PODS[name].items()]
    cluster.kubectl("patch", "pod", name, "--subresource=resize", "-p", json.dumps({"spec": {"containers": changes}}))

    def resized() -> bool:
        found = cluster.get("pod", name)["status"]
        return not any(item["type"].startswith("PodResize") for item in found["conditions"]) and all(
            item["resources"] == PODS[name][item["name"]][1] and item["allocatedResources"] == item["resources"]["requests"]
            for item in found["containerStatuses"])
    eventually("it is resized", resized)
    pod = cluster.get("pod", name)
    assert [item["restartCount"] for item in pod["status"]["containerStatuses"]] == [0] * len(PODS[name])
    assert (pod["metadata"]["generation"], pod["status"]["observedGeneration"]) == (2, 2)
    shown = json.loads(cluster.kubectl("get", "--raw", f"/api/v1/namespaces/{cluster.namespace}/pods/{name}/resize"))
    assert shown["spec"] == pod["spec"]
    for each, (_, after) in PODS[name].items():
        if limit := after.get("limits", {}).get("memory"):
            found = cluster.kubectl("exec", name, "-c", each, "--", "sh", "-c",
                                    "cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || cat /sys/fs/cgroup/memory.max")
            assert int(found) == int(limit.removesuffix("Mi")) << 20


def test_a_second_ephemeral_container_is_added_to_a_pod_that_has_one(cluster: Cluster) -> None:
    cluster.kubectl("run", "looked-into", "--image=busybox:1.36", "--", "sleep", "600")
    cluster.kubectl("wait", "--for=condition=Ready", "pod/looked-into", "--timeout=150s")
    path = f"/api/v1/namespaces/{cluster.namespace}/pods/looked-into/ephemeralcontainers"
    for number in (1, 2):
        pod = cluster.get("pod", "looked-into")
        pod["spec"].setdefault("ephemeralContainers", []).append(
            {"name": f"debugger-{number}", "image": "busybox:1.36", "command": ["sleep", "600"]})
        cluster.kubectl("replace", "--raw", path, "-f", "-", input=json.dumps(pod))
        eventually("it runs", lambda count=number: len([  # type: ignore[misc]
            item for item in cluster.get("pod", "looked-into")["status"].get("ephemeralContainerStatuses") or ()
            if item["state"].get("running")]) == count)
