"""Pods: defaults, what is refused, the class of service, what an update may change."""
from __future__ import annotations

from typing import Any

import pytest

from kubepy.apiserver.registry.core.pod import KIND
from kubepy.apiserver.registry.core.pod_diff import pod_diff
from kubepy.apiserver.registry.core.pod_qos import qos_class
from kubepy.apiserver.registry.core.pod_status import status_update
from kubepy.apiserver.registry.core.pod_update import ephemeral_update, spec_update
from kubepy.apiserver.registry.core.podspec_defaults import image_tag, pull_policy
from kubepy.apiserver.request import Context, RequestInfo, User

CONTEXT = Context(User("me"), RequestInfo("/", "create"), KIND)


def pod(*, container: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    found = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
             "spec": {"containers": [{"name": "c", "image": "nginx", **(container or {})}], **spec}}
    KIND.strategy.default(found)
    return found


def problems(obj: dict[str, Any]) -> list[str]:
    return [f"{error.field}: {error.reason}" for error in KIND.strategy.validate(CONTEXT, obj)]


def test_the_least_pod_is_filled() -> None:
    spec = pod()["spec"]
    assert {key: value for key, value in spec.items() if key != "containers"} == {
        "restartPolicy": "Always", "terminationGracePeriodSeconds": 30, "dnsPolicy": "ClusterFirst", "securityContext": {},
        "schedulerName": "default-scheduler", "enableServiceLinks": True}
    assert spec["containers"] == [{"name": "c", "image": "nginx", "resources": {}, "terminationMessagePath": "/dev/termination-log",
                                   "terminationMessagePolicy": "File", "imagePullPolicy": "Always"}]
    assert problems(pod()) == []


def test_limits_are_requested_and_host_ports_follow_the_host_network() -> None:
    spec = pod(hostNetwork=True, container={"resources": {"limits": {"cpu": "0.5"}}, "ports": [{"containerPort": 80}]})["spec"]
    assert spec["containers"][0]["resources"] == {"limits": {"cpu": "500m"}, "requests": {"cpu": "500m"}}
    assert spec["containers"][0]["ports"] == [{"containerPort": 80, "hostPort": 80, "protocol": "TCP"}]


@pytest.mark.parametrize(("image", "tag", "policy"), [
    ("nginx", "latest", "Always"), ("nginx:1", "1", "IfNotPresent"), ("host:5000/nginx", "latest", "Always"),
    ("nginx@sha256:" + "0" * 64, "", "IfNotPresent"), ("nginx:latest", "latest", "Always"),
])
def test_only_the_latest_image_is_always_pulled(image: str, tag: str, policy: str) -> None:
    assert image_tag(image) == tag
    assert pull_policy(image) == policy


@pytest.mark.parametrize(("obj", "problem"), [
    (pod(container={"name": "C"}), "spec.containers[0].name: FieldValueInvalid"),
    (pod(container={"image": ""}), "spec.containers[0].image: FieldValueRequired"),
    (pod(container={"image": " i"}), "spec.containers[0].image: FieldValueInvalid"),
    (pod(container={"ports": [{"containerPort": 0}]}), "spec.containers[0].ports[0].containerPort: FieldValueRequired"),
    (pod(container={"env": [{"name": ""}]}), "spec.containers[0].env[0].name: FieldValueRequired"),
    (pod(container={"volumeMounts": [{"name": "v", "mountPath": "/v"}]}), "spec.containers[0].volumeMounts[0].name: FieldValueNotFound"),
    (pod(container={"resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}}),
     "spec.containers[0].resources.requests: FieldValueInvalid"),
    (pod(container={"imagePullPolicy": "Sometimes"}), "spec.containers[0].imagePullPolicy: FieldValueNotSupported"),
    (pod(restartPolicy="Maybe"), "spec.restartPolicy: FieldValueNotSupported"),
    (pod(volumes=[{"name": "v", "emptyDir": {}}, {"name": "v", "emptyDir": {}}]), "spec.volumes[1].name: FieldValueDuplicate"),
    (pod(nodeName="a/b"), "spec.nodeName: FieldValueInvalid"),
    (pod(activeDeadlineSeconds=0), "spec.activeDeadlineSeconds: FieldValueInvalid"),
    (pod(tolerations=[{"operator": "Exists", "value": "x", "key": "k"}]), "spec.tolerations[0].operator: FieldValueInvalid"),
    (pod(schedulingGates=[{"name": "a.com/x"}], nodeName="n"), "spec.nodeName: FieldValueForbidden"),
    (pod(ephemeralContainers=[{"name": "e", "image": "i"}]), "spec.ephemeralContainers: FieldValueForbidden"),
], ids=lambda value: value.partition(":")[0] if isinstance(value, str) else "")
def test_is_refused(obj: dict[str, Any], problem: str) -> None:
    assert problem in problems(obj)


@pytest.mark.parametrize(("resources", "expected"), [
    ({}, "BestEffort"),
    ({"requests": {"cpu": "1"}}, "Burstable"),
    ({"limits": {"cpu": "1"}, "requests": {"cpu": "1"}}, "Burstable"),
    ({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1000m", "memory": "1024Mi"}}, "Guaranteed"),
    ({"limits": {"nvidia.com/gpu": "1"}}, "BestEffort"),
], ids=["nothing", "requests", "no memory", "all equal", "other resources"])
def test_class_of_service(resources: dict[str, Any], expected: str) -> None:
    assert qos_class({"containers": [{"name": "c", "resources": resources}]}) == expected


def test_an_update_may_change_images_deadlines_and_add_tolerations() -> None:
    old = pod()
    new = pod(container={"image": "nginx:2", "imagePullPolicy": "Always"}, activeDeadlineSeconds=5, tolerations=[{"operator": "Exists"}])
    assert spec_update(new, old) == []


@pytest.mark.parametrize(("new", "path"), [
    (pod(container={"command": ["x"]}), "spec"),
    (pod(containers=[{"name": "c", "image": "nginx"}, {"name": "d", "image": "nginx"}]), "spec.containers"),
    (pod(schedulingGates=[{"name": "a.com/x"}]), "spec.schedulingGates[0].name"),
    (pod(priority=3), "spec"),
], ids=["command", "another container", "a gate", "priority"])
def test_an_update_may_not_change(new: dict[str, Any], path: str) -> None:
    assert [error.field for error in spec_update(new, pod())] == [path]


def test_ephemeral_containers_are_only_added() -> None:
    one = {"name": "e", "image": "i"}
    before, after = pod(ephemeralContainers=[one]), pod(ephemeralContainers=[one, {"name": "f", "image": "i"}])
    assert ephemeral_update(after, before) == []
    assert "may not be removed" in ephemeral_update(before, after)[0].body


def test_a_status_keeps_its_class_and_one_address_of_a_family() -> None:
    old = {**pod(), "status": {"qosClass": "BestEffort"}}
    both = {"qosClass": "BestEffort", "podIPs": [{"ip": "10.0.0.1"}, {"ip": "2001:db8::1"}]}
    assert status_update({**old, "status": both}, old) == []
    twice = {"qosClass": "Guaranteed", "podIPs": [{"ip": "10.0.0.1"}, {"ip": "10.0.0.2"}]}
    assert [error.field for error in status_update({**old, "status": twice}, old)] == ["status.qosClass", "status.podIPs"]


@pytest.mark.parametrize(("container", "code", "policy", "allowed"), [
    ({}, 1, "Never", False), ({}, 1, "OnFailure", True), ({}, 0, "OnFailure", False), ({"restartPolicy": "OnFailure"}, 1, "Never", True),
    ({"action": "Restart"}, 42, "Never", True), ({"action": "Restart"}, 1, "Never", False),
    ({"action": "RestartAllContainers"}, 0, "Never", True),
], ids=["never", "on failure", "not after success", "by its own policy", "by its own rule", "another code", "with all containers"])
def test_an_ended_container_runs_again_only_where_it_may(container: dict[str, Any], code: int, policy: str, allowed: bool) -> None:
    if action := container.get("action"):
        container = {"restartPolicy": "Never", "restartPolicyRules": [{"action": action, "exitCodes": {"operator": "In", "values": [42]}}]}

    def shown(state: dict[str, Any]) -> dict[str, Any]:
        return {**pod(container=container, restartPolicy=policy), "status": {"qosClass": "BestEffort", "containerStatuses": [
            {"name": "c", "state": state}]}}

    found = status_update(shown({"running": {}}), shown({"terminated": {"exitCode": code}}))
    assert [error.reason for error in found] == [] if allowed else found[0].field == "status.containerStatuses[0].state"


def test_a_refused_change_is_shown_as_a_diff_of_go_values() -> None:
    old, new = pod(container={"env": [{"name": "A", "value": "<b>"}]}), pod(container={"env": [{"name": "A", "value": "c"}]})
    assert pod_diff(old["spec"], new["spec"]) == (
        '@@ -13,7 +13,7 @@\n    "Env": [\n     {\n      "Name": "A",\n-     "Value": "\\u003cb\\u003e",\n+     "Value": "c",\n'
        '      "ValueFrom": null\n     }\n    ],\n')
    assert pod_diff(old["spec"], {**old["spec"], "hostNetwork": True}).splitlines()[3:6] == [
        '  "SecurityContext": {', '-  "HostNetwork": false,', '+  "HostNetwork": true,']
