"""What the conformance suite demands of pods on a node ([sig-node]): each demand is a pod of ours, and most of them run at once.

The API operations of the group's kinds (ConfigMap, Secret, Lease, PodTemplate, RuntimeClass, Node, the resource.k8s.io kinds) are the
recorded conversations'; exec and logs over WebSocket are `kubectl exec` and `logs` (test_2_kubectl); gRPC probes and image volumes are
in tests/integration/kubelet; eviction by taints is in two_nodes/test_scheduling.
"""
from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.batch import Batch, Case, Result, case, container
from tests.e2e.cluster import Cluster, eventually
from tests.images import ECHO, SAY

NS = "pods"
SMALL = {"requests": {"cpu": "100m", "memory": "32Mi"}, "limits": {"cpu": "200m", "memory": "64Mi"}}


def named(**values: Any) -> Any:
    """Environment variables: text, or a source."""
    return [{"name": name, **({"value": value} if isinstance(value, str) else {"valueFrom": value})} for name, value in values.items()]


def of_field(path: str) -> Any:
    return {"fieldRef": {"fieldPath": path}}


def of_resource(name: str) -> Any:
    return {"resourceFieldRef": {"resource": name}}


def say(**fields: Any) -> Case:
    return case(fields.pop("command", None), fields.pop("prints"), image=SAY, **fields)


WORK: dict[str, Any] = {"volumes": [{"name": "w", "emptyDir": {}}]}
MOUNTED: dict[str, Any] = {"volumeMounts": [{"name": "w", "mountPath": "/w"}]}


def rule(action: str) -> dict[str, Any]:
    return {"restartPolicy": "Never", "restartPolicyRules": [{"action": action, "exitCodes": {"operator": "In", "values": [42]}}]}


CASES: dict[str, Case] = {
    "ConfigMap and Secret keys and all of them, with prefixes, in the environment": case(
        "env", "ONE=a", "TWO=top", "first=a", "second=b", "conf_first=a", "password=top", "sec_password=top", "OPTIONAL=",
        env=[*named(ONE={"configMapKeyRef": {"name": "conf", "key": "first"}}, TWO={"secretKeyRef": {"name": "hidden", "key": "password"}}),
             {"name": "NOTHING", "valueFrom": {"configMapKeyRef": {"name": "absent", "key": "x", "optional": True}}},
             {"name": "OPTIONAL", "value": ""}],
        envFrom=[{"configMapRef": {"name": "conf"}}, {"prefix": "conf_", "configMapRef": {"name": "conf"}},
                 {"secretRef": {"name": "hidden"}}, {"prefix": "sec_", "secretRef": {"name": "hidden"}}]),
    "image defaults where command and args are blank": say(prints="entry default"),
    "args replace the image's command": say(prints="entry given", args=["given"]),
    "a command replaces the image's entrypoint and drops its command": say(prints="mine", command=["echo", "mine"]),
    "command and args replace both": say(prints="mine given", command=["echo", "mine"], args=["given"]),
    "downward API in the environment": case(
        "env", r"NAME=case-\d+", f"SPACE={NS}-[0-9a-f]+", r"POD=10\.244\.0\.\d+", "HOST=198.51.100.2", "HOSTS=198.51.100.2",
        "UID=[0-9a-f-]{36}", "CPU_L=1", "CPU_R=1", "MEM_L=67108864", "MEM_R=33554432", resources=SMALL,
        env=named(NAME=of_field("metadata.name"), SPACE=of_field("metadata.namespace"), POD=of_field("status.podIP"),
                  HOST=of_field("status.hostIP"), HOSTS=of_field("status.hostIPs"), UID=of_field("metadata.uid"),
                  CPU_L=of_resource("limits.cpu"), CPU_R=of_resource("requests.cpu"), MEM_L=of_resource("limits.memory"),
                  MEM_R=of_resource("requests.memory"))),
    "limits that are not set are the node's allocatable": case(
        "env", "CPU=[1-9][0-9]*", "MEM=[1-9][0-9]{7,}", env=named(CPU=of_resource("limits.cpu"), MEM=of_resource("limits.memory"))),
    "variables in variables, command and args": case(
        ["sh", "-c", "echo $(SECOND) $0", "$(FIRST)-$$(FIRST)-$(NONE)"], r"b-a a-\$\(FIRST\)-\$\(NONE\)",
        env=named(FIRST="a", SECOND="b-$(FIRST)")),
    "service variables": case("env", "TARGET_SERVICE_HOST=10.96.[0-9.]+", "TARGET_SERVICE_PORT=80", "TARGET_PORT_80_TCP=tcp://10.96.[0-9.]+:80"),
    "hostAliases and managed hosts file": case(
        "cat /etc/hosts; echo --; cat /etc/hosts | head -n 1", "# Kubernetes-managed hosts file.*", "123.45.67.89\tfoo\tbar",
        spec={"hostAliases": [{"ip": "123.45.67.89", "hostnames": ["foo", "bar"]}]}),
    "the host's hosts file where the pod shares its network": case(
        "grep -c Kubernetes-managed.*hostNetwork /etc/hosts || echo none", "1|none", spec={"hostNetwork": True}),
    "a hosts file of one's own is left alone": case(
        "cat /etc/hosts", "own", volumeMounts=[{"name": "own", "mountPath": "/etc/hosts", "subPath": "hosts"}],
        spec={"volumes": [{"name": "own", "configMap": {"name": "conf", "items": [{"key": "hosts", "path": "hosts"}]}}]}),
    "a read-only root file system": case(
        "echo x >/file || echo refused", "refused", securityContext={"readOnlyRootFilesystem": True}),
    "a writable root file system": case("echo written >/file; cat /file", "written", securityContext={"readOnlyRootFilesystem": False}),
    "runAsUser 65534": case("id -u", "65534", securityContext={"runAsUser": 65534}),
    "user and group of the container": case("id -u; id -g", "1001", "2002", securityContext={"runAsUser": 1001, "runAsGroup": 2002}),
    "user and group of the pod": case("id -u; id -g", "1001", "2002", spec={"securityContext": {"runAsUser": 1001, "runAsGroup": 2002}}),
    "not privileged": case("ip link add dummy0 type bridge || echo refused", "refused", securityContext={"privileged": False}),
    "no privilege escalation": case("grep NoNewPrivs /proc/self/status", r"NoNewPrivs:\s1",
                                    securityContext={"allowPrivilegeEscalation": False, "runAsUser": 1000}),
    "safe sysctls": case("cat /proc/sys/kernel/shm_rmid_forced", "1",
                         spec={"securityContext": {"sysctls": [{"name": "kernel.shm_rmid_forced", "value": "1"}]}}),
    "unsafe sysctls are refused by the node": case(
        "true", phase="Failed", spec={"securityContext": {"sysctls": [{"name": "kernel.msgmax", "value": "10"}]}}),
    "init containers run in order before the containers": Case(
        {"initContainers": [container("echo one >>/w/log", name="i1", volumeMounts=[{"name": "w", "mountPath": "/w"}]),
                            container("echo two >>/w/log", name="i2", volumeMounts=[{"name": "w", "mountPath": "/w"}])],
         "containers": [container("cat /w/log | tr '\\n' ' '; echo", volumeMounts=[{"name": "w", "mountPath": "/w"}])],
         "volumes": [{"name": "w", "emptyDir": {}}]}, ("one two ",)),
    "an init container that fails fails a pod that never restarts": Case(
        {"initContainers": [container("exit 1", name="i1")], "containers": [container("echo never")]}, (), "Failed"),
    "restartPolicy Never: a failure is the end": case("exit 3", phase="Failed"),
    "restartPolicy OnFailure: until it succeeds": case(
        "echo x >>/w/n; [ $(wc -l </w/n) -ge 2 ]", spec={"restartPolicy": "OnFailure", "volumes": [{"name": "w", "emptyDir": {}}]},
        volumeMounts=[{"name": "w", "mountPath": "/w"}]),
    "restart rules: an exit code that starts it again": case(
        "echo x >>/w/n; [ $(wc -l </w/n) -ge 2 ] || exit 42", spec=WORK, **MOUNTED, **rule("Restart")),
    "restart rules: or all containers, init containers first": case(
        "echo x >>/w/n; tr '\\n' ' ' </w/log; [ $(wc -l </w/n) -ge 2 ] || exit 42", "init init ", **MOUNTED,
        **rule("RestartAllContainers"), spec={**WORK, "initContainers": [container("echo init >>/w/log", name="i", **MOUNTED)]}),
    "subPathExpr": case(
        "echo kept >/sub/file; cat /all/dir-x/file", "kept", env=named(KEY="x"),
        volumeMounts=[{"name": "w", "mountPath": "/sub", "subPathExpr": "dir-$(KEY)"}, {"name": "w", "mountPath": "/all"}],
        spec={"volumes": [{"name": "w", "emptyDir": {}}]}),
    "termination message: empty when it succeeds": case("echo output", terminationMessagePolicy="FallbackToLogsOnError"),
    "termination message: the file, when it succeeds": case(
        "echo -n OK >/dev/termination-log", terminationMessagePolicy="FallbackToLogsOnError"),
    "termination message: the log, when it fails": case(
        "echo -n DONE; exit 1", phase="Failed", terminationMessagePolicy="FallbackToLogsOnError"),
    "termination message: another path, not root": case(
        "echo -n DONE >/dev/custom", terminationMessagePath="/dev/custom", securityContext={"runAsUser": 1000}),
    "a RuntimeClass without overhead": case("true", spec={"runtimeClassName": "plain"}),
    "a RuntimeClass with overhead": case("true", spec={"runtimeClassName": "heavy"}),
}
MESSAGES = {"empty when it succeeds": "", "the file, when it succeeds": "OK", "the log, when it fails": "DONE",
            "another path, not root": "DONE"}


@pytest.fixture(scope="module")
def batch(one_node: Cluster) -> Iterator[Batch]:
    found = Batch(one_node, NS)
    found.apply(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "conf"},
         "data": {"first": "a", "second": "b", "hosts": "own\n"}},
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "hidden"},
         "data": {"password": base64.b64encode(b"top").decode()}},
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "target"}, "spec": {"ports": [{"port": 80}]}},
        *({"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": name}, "handler": "runc", **more}
          for name, more in (("plain", {}), ("heavy", {"overhead": {"podFixed": {"cpu": "10m", "memory": "8Mi"}}}))))
    yield found
    found.delete()


@pytest.fixture(scope="module")
def results(batch: Batch) -> dict[str, Result]:
    return batch.run(CASES)


@pytest.mark.parametrize("title", CASES)
def test_pods_that_end(results: dict[str, Result], title: str) -> None:
    CASES[title].check(results[title])


@pytest.mark.parametrize("title", MESSAGES)
def test_termination_messages(results: dict[str, Result], title: str) -> None:
    terminated = results[f"termination message: {title}"].pod["status"]["containerStatuses"][0]["state"]["terminated"]
    assert terminated.get("message", "") == MESSAGES[title]


def test_what_ended_pods_say(results: dict[str, Result]) -> None:
    assert results["unsafe sysctls are refused by the node"].pod["status"]["reason"] == "SysctlForbidden"
    assert results["restartPolicy OnFailure: until it succeeds"].pod["status"]["containerStatuses"][0]["restartCount"] == 1
    failed = results["restartPolicy Never: a failure is the end"].pod["status"]["containerStatuses"][0]["state"]["terminated"]
    assert (failed["exitCode"], failed["reason"]) == (3, "Error")
    assert results["a RuntimeClass with overhead"].pod["spec"]["overhead"] == {"cpu": "10m", "memory": "8Mi"}
    assert "overhead" not in results["a RuntimeClass without overhead"].pod["spec"]
    conditions = {item["type"]: item["status"]
                  for item in results["an init container that fails fails a pod that never restarts"].pod["status"]["conditions"]}
    assert (conditions["Initialized"], conditions["Ready"]) == ("False", "False")
    assert results["image defaults where command and args are blank"].pod["status"]["qosClass"] == "BestEffort"
    assert results["downward API in the environment"].pod["status"]["qosClass"] == "Burstable"


@pytest.mark.parametrize(("change", "message"), [
    pytest.param({"runtimeClassName": "absent"}, 'RuntimeClass "absent" not found', id="a RuntimeClass that does not exist"),
    pytest.param({"securityContext": {"sysctls": [{"name": "foo-", "value": "1"}]}}, "Invalid value", id="a sysctl that cannot be"),
])
def test_pods_that_are_refused(batch: Batch, change: Any, message: str) -> None:
    pod = batch.pod("refused", {"containers": [container("true")], **change})
    said = batch.kubectl("create", "-f", "-", input=json.dumps(pod), check=False)
    assert message in said


def probed(kind: str, probe: Any, command: str, **more: Any) -> Any:
    probe = {"periodSeconds": 1, "failureThreshold": 1, **probe}
    return {"restartPolicy": "Always", "containers": [container(command, **{kind: probe}, **more)]}


SERVER = "mkdir /w; echo ok >/w/healthz; httpd -p 8080 -h /w; sleep {}; rm /w/healthz; sleep 600"
LASTING: dict[str, Any] = {
    "exec-dies": probed("livenessProbe", {"exec": {"command": ["cat", "/tmp/health"]}},
                        "echo ok >/tmp/health; sleep 3; rm /tmp/health; sleep 600"),
    "exec-lives": probed("livenessProbe", {"exec": {"command": ["cat", "/tmp/health"]}, "initialDelaySeconds": 1},
                         "echo ok >/tmp/health; sleep 600"),
    "http-dies": probed("livenessProbe", {"httpGet": {"path": "/healthz", "port": 8080}, "initialDelaySeconds": 1}, SERVER.format(3)),
    "http-lives": probed("livenessProbe", {"httpGet": {"path": "/healthz", "port": 8080}, "failureThreshold": 3}, SERVER.format(600)),
    "tcp-lives": probed("livenessProbe", {"tcpSocket": {"port": 8080}, "failureThreshold": 3}, SERVER.format(600)),
    "tcp-dies": probed("livenessProbe", {"tcpSocket": {"port": 8081}, "initialDelaySeconds": 2}, SERVER.format(600)),
    "never-ready": probed("readinessProbe", {"exec": {"command": ["false"]}}, "sleep 600"),
    "later-ready": probed("readinessProbe", {"exec": {"command": ["true"]}, "initialDelaySeconds": 6}, "sleep 600"),
    "init-fails": {"restartPolicy": "Always", "initContainers": [container("exit 1", name="i")], "containers": [container("echo never")]},
    "always-fails": {"restartPolicy": "Always", "containers": [container("exit 1")]},
    "hooked": {"restartPolicy": "Always", "terminationGracePeriodSeconds": 15, "containers": [container("sleep 600", lifecycle={
        "postStart": {"exec": {"command": ["sh", "-c", "wget -q -O - http://$LISTENER_SERVICE_HOST/cgi-bin/started-exec"]}},
        "preStop": {"exec": {"command": ["sh", "-c", "wget -q -O - http://$LISTENER_SERVICE_HOST/cgi-bin/stopped-exec"]}}})]},
    "changing": {"restartPolicy": "Always", "containers": [container("sleep 600", resources=SMALL, resizePolicy=[
        {"resourceName": name, "restartPolicy": "NotRequired"} for name in ("cpu", "memory")])]},
    "whole": {"resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}},
              "containers": [container("sleep 600")]},
    "guaranteed": {"containers": [container("sleep 600", resources={"requests": {"cpu": "10m", "memory": "16Mi"},
                                                                    "limits": {"cpu": "10m", "memory": "16Mi"}})]},
}
LISTEN = ("mkdir -p /w/cgi-bin; for n in started-exec stopped-exec started-http stopped-http; do "
          "printf '#!/bin/sh\\necho %s >>/seen\\nprintf \"Content-Type: text/plain\\\\r\\\\n\\\\r\\\\n\"\\n' $n >/w/cgi-bin/$n; done; "
          "chmod +x /w/cgi-bin/*; touch /seen; httpd -f -p 8080 -h /w")


@pytest.fixture(scope="module")
def lasting(batch: Batch, results: dict[str, Result]) -> Batch:
    """Pods that go on running; those with hooks once there is one that notes their calls."""
    batch.apply(batch.pod("listener", {"containers": [container(LISTEN, image=ECHO)]}, labels={"app": "listener"}),
                {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "listener"},
                 "spec": {"selector": {"app": "listener"}, "ports": [{"port": 80, "targetPort": 8080}]}})
    batch.kubectl("wait", "--for=condition=Ready", "pod/listener", "--timeout=150s")
    address = batch.get("pod", "listener")["status"]["podIP"]
    http = {event: {"httpGet": {"host": address, "port": 8080, "path": f"/cgi-bin/{path}-http"}}
            for event, path in (("postStart", "started"), ("preStop", "stopped"))}
    url = f"http://{batch.get('service', 'listener')['spec']['clusterIP']}/x"
    eventually("the service reaches it", lambda: "404" in batch.cluster.run("curl", "-s", "-m", "2", "-i", url, check=False))
    batch.apply(*(batch.pod(name, spec) for name, spec in LASTING.items()), batch.pod("hooked-http", {
        "terminationGracePeriodSeconds": 15, "containers": [container("sleep 600", lifecycle=http)]}))
    return batch


def status(batch: Batch, name: str) -> Any:
    return (batch.get("pod", name)["status"].get("containerStatuses") or [{}])[0]


def is_ready(batch: Batch, name: str) -> bool:
    return any(item["type"] == "Ready" and item["status"] == "True" for item in batch.get("pod", name)["status"].get("conditions") or ())


@pytest.mark.parametrize("name", ["exec-dies", "http-dies", "tcp-dies"])
def test_a_failing_liveness_probe_restarts(lasting: Batch, name: str) -> None:
    eventually("it is restarted, and again", lambda: status(lasting, name).get("restartCount", 0) >= 2, 120)


def test_other_probes_restart_nothing(lasting: Batch) -> None:
    eventually("all run", lambda: all("running" in status(lasting, name).get("state", {}) for name in (
        "exec-lives", "http-lives", "tcp-lives", "never-ready")))
    eventually("ready after its delay", lambda: is_ready(lasting, "later-ready"))
    pod = lasting.get("pod", "later-ready")["status"]
    ready = next(item["lastTransitionTime"] for item in pod["conditions"] if item["type"] == "Ready")
    assert ready > pod["containerStatuses"][0]["state"]["running"]["startedAt"]
    for name in ("exec-lives", "http-lives", "tcp-lives", "never-ready", "later-ready"):
        assert status(lasting, name)["restartCount"] == 0, name
    assert not is_ready(lasting, "never-ready")


def test_a_pod_whose_init_container_fails_never_starts_its_containers(lasting: Batch) -> None:
    def failing() -> bool:
        found = lasting.get("pod", "init-fails")["status"]
        return bool(found["phase"] == "Pending" and found["initContainerStatuses"][0]["restartCount"] >= 2
                    and "waiting" in found["containerStatuses"][0]["state"])
    eventually("the init container is tried again", failing)


def test_a_pod_that_always_fails_says_why_and_can_be_deleted(lasting: Batch, repeated: bool) -> None:
    if repeated:
        lasting.again("always-fails")
    eventually("it has ended with a reason", lambda: (status(lasting, "always-fails").get("lastState") or {}).get("terminated", {}).get(
        "reason") == "Error")
    lasting.kubectl("delete", "pod", "always-fails", "--timeout=150s")


@pytest.mark.parametrize(("name", "kind"), [("hooked", "exec"), ("hooked-http", "http")])
def test_hooks_run_after_the_start_and_before_the_end(lasting: Batch, name: str, kind: str, repeated: bool) -> None:
    def seen() -> list[str]:
        return lasting.kubectl("exec", "listener", "--", "cat", "/seen").split()
    if repeated:
        lasting.kubectl("delete", "pod", name, "--ignore-not-found", "--timeout=150s")
        lasting.kubectl("exec", "listener", "--", "sed", "-i", f"/-{kind}$/d", "/seen")
        lasting.again(name)
    eventually("postStart has run", lambda: f"started-{kind}" in seen())
    lasting.kubectl("wait", "--for=condition=Ready", f"pod/{name}", "--timeout=150s")
    assert f"stopped-{kind}" not in seen()
    lasting.kubectl("delete", "pod", name, "--timeout=150s")
    eventually("preStop has run", lambda: f"stopped-{kind}" in seen())


def test_a_running_pod_changes(lasting: Batch, repeated: bool) -> None:
    """Labels, the deadline, an ephemeral container, its generation, resources in place (by patch and by replace)."""
    if repeated:
        lasting.again("changing", "whole")
    eventually("it runs", lambda: is_ready(lasting, "changing"))
    assert lasting.get("pod", "changing")["metadata"]["generation"] == 1
    lasting.kubectl("label", "pod", "changing", "time=changed")
    assert lasting.get("pods", "-l", "time=changed")["items"][0]["metadata"]["name"] == "changing"
    resources = {"requests": {"cpu": "150m", "memory": "40Mi"}, "limits": {"cpu": "250m", "memory": "80Mi"}}
    lasting.kubectl("patch", "pod", "changing", "--subresource=resize", "-p", json.dumps(
        {"spec": {"containers": [{"name": "c", "resources": resources}]}}))
    eventually("it is resized", lambda: status(lasting, "changing")["resources"] == resources)
    limit = lasting.kubectl("exec", "changing", "--", "sh", "-c",
                            "cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || cat /sys/fs/cgroup/memory.max")
    assert int(limit) == 80 << 20
    pod = lasting.get("pod", "changing")
    pod["spec"]["containers"][0]["resources"] = SMALL
    lasting.kubectl("replace", "--raw", f"/api/v1/namespaces/{lasting.namespace}/pods/changing/resize", "-f", "-", input=json.dumps(pod))
    eventually("and back", lambda: status(lasting, "changing")["resources"] == SMALL)
    eventually("another runs, with resources of the pod itself", lambda: is_ready(lasting, "whole"))
    whole = {"requests": {"cpu": "20m", "memory": "20Mi"}, "limits": {"memory": "80Mi"}}
    lasting.kubectl("patch", "pod", "whole", "--subresource=resize", "-p", json.dumps({"spec": {"resources": whole}}))
    eventually("it is resized too", lambda: lasting.get("pod", "whole")["status"].get("resources") == whole)
    assert lasting.get("pod", "whole")["status"]["allocatedResources"] == whole["requests"]
    assert status(lasting, "changing")["restartCount"] == 0
    pod = lasting.get("pod", "changing")
    assert pod["metadata"]["generation"] == 3
    eventually("the node has seen it", lambda: lasting.get("pod", "changing")["status"]["observedGeneration"] == 3)
    body = {"spec": {"ephemeralContainers": [{**container("echo polo; sleep 600"), "name": "debugger", "targetContainerName": "c"}]}}
    lasting.kubectl("patch", "pod", "changing", "--subresource=ephemeralcontainers", "-p", json.dumps(body))
    eventually("it has an ephemeral container", lambda: "polo" in lasting.kubectl("logs", "changing", "-c", "debugger", check=False))
    lasting.kubectl("patch", "pod", "changing", "-p", '{"spec": {"activeDeadlineSeconds": 2}}')
    eventually("its deadline ends it", lambda: lasting.get("pod", "changing")["status"].get("reason") == "DeadlineExceeded")
    assert lasting.get("pod", "changing")["status"]["phase"] == "Failed"


def test_a_pod_is_submitted_watched_and_removed(lasting: Batch, repeated: bool) -> None:
    if repeated:
        lasting.again("guaranteed")
    eventually("it runs", lambda: is_ready(lasting, "guaranteed"))
    found = lasting.get("pod", "guaranteed")
    assert (found["status"]["qosClass"], found["status"]["hostIP"]) == ("Guaranteed", "198.51.100.2")
    with lasting.cluster.popen("timeout", "100", "kubectl", "-n", lasting.namespace, "get", "pod", "guaranteed", "--watch",
                               "--output-watch-events") as watch:
        assert watch.stdout is not None
        seen = [watch.stdout.readline(), watch.stdout.readline()]
        assert seen[1].startswith("ADDED"), seen  # it watches from here on
        lasting.kubectl("delete", "pod", "guaranteed", "--timeout=150s")
        for line in iter(watch.stdout.readline, ""):
            seen.append(line)
            if line.startswith("DELETED"):
                break
        watch.terminate()
    assert seen[-1].startswith("DELETED"), seen
    lasting.kubectl("delete", "pods", "--all", "--grace-period=0", "--force", "--wait=false")
    eventually("a collection is deleted", lambda: not lasting.kubectl("get", "pods", "-o", "name"))
