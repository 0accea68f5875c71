"""Workloads on real pods: rollouts and their undoing, data that stays, patterns of Jobs, budgets, accounts, and kubectl's verbs."""
from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.cluster import Cluster, eventually
from tests.e2e.space import Space

IMAGE = "busybox:1.36"
SERVE = "hostname > /tmp/index.html; exec httpd -f -p 8080 -h /tmp"


def pod_spec(command: str, **spec: Any) -> dict[str, Any]:
    return {"terminationGracePeriodSeconds": 1, "containers": [{"name": "c", "image": IMAGE, "command": ["sh", "-c", command]}], **spec}


def template(name: str, command: str, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"labels": {"app": name}}, "spec": pod_spec(command, **spec)}


def apply(cluster: Cluster, *objects: dict[str, Any]) -> None:
    cluster.kubectl("apply", "-f", "-", input=yaml.safe_dump_all(objects))


def deployment(cluster: Cluster, name: str, replicas: int = 1) -> None:
    """As `kubectl create deployment` makes it, but of pods that end at once."""
    made = json.loads(cluster.kubectl("create", "deployment", name, f"--image={IMAGE}", f"--replicas={replicas}", "--dry-run=client", "-o",
                                      "json", "--", "sleep", "3600"))
    made["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = 0
    apply(cluster, made)
    cluster.kubectl("rollout", "status", f"deployment/{name}", "--timeout=150s")


def items(cluster: Cluster, *arguments: str) -> list[Any]:
    return list(cluster.get(*arguments)["items"])


@pytest.fixture(scope="module", autouse=True)
def cron(one_node: Cluster) -> Iterator[Cluster]:
    """Early, so that its minute passes while the others run."""
    space = Space(one_node.kubectl, "cron")
    space.kubectl("create", "cronjob", "tick", f"--image={IMAGE}", "--schedule=* * * * *", "--", "sh", "-c", "echo ticked")
    yield one_node.within(space.namespace)
    space.delete()


def test_every_replica_serves(cluster: Cluster) -> None:
    labels = {"app": "each"}
    apply(cluster, {"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "each"}, "spec": {
        "replicas": 2, "selector": {"matchLabels": labels}, "template": template("each", SERVE)}},
        {"apiVersion": "v1", "kind": "ReplicationController", "metadata": {"name": "old"}, "spec": {
            "replicas": 1, "selector": {"app": "old"}, "template": template("old", SERVE)}})
    for kind, name, count in (("rs", "each", 2), ("rc", "old", 1)):
        eventually("all are ready", lambda: cluster.get(kind, name)["status"].get("readyReplicas") == count)
        pods = items(cluster, "pods", "-l", f"app={name}")
        assert len(pods) == count
        for pod in pods:
            address = f"http://{pod['status']['podIP']}:8080/"
            assert eventually("an answer", lambda url=address: cluster.run("curl", "-s", "--max-time", "3", url)).strip() == pod[  # type: ignore[misc]
                "metadata"]["name"]
    cluster.kubectl("scale", "rs/each", "--current-replicas=7", "--replicas=1", check=False)
    assert cluster.get("rs", "each")["spec"]["replicas"] == 2, "the precondition did not hold"
    cluster.kubectl("scale", "rs/each", "--current-replicas=2", "--replicas=1")
    eventually("one replica", lambda: cluster.get("rs", "each")["status"]["replicas"] == 1)
    cluster.kubectl("expose", "rs/each", "--port=80", "--target-port=8080", "--name=each")
    service = cluster.get("service", "each")["spec"]["clusterIP"]
    answer = eventually("the service answers", lambda: cluster.run("curl", "-s", "--max-time", "3", f"http://{service}/", check=False))
    assert answer.startswith("each-")
    cluster.kubectl("delete", "rs/each", "rc/old", "service/each")


def test_a_rollout_is_rolled_over_and_undone(cluster: Cluster) -> None:
    deployment(cluster, "verbs", 2)
    cluster.kubectl("set", "image", "deployment/verbs", "busybox=localhost/none:1")
    assert "timed out" in cluster.kubectl("rollout", "status", "deployment/verbs", "--timeout=2s", check=False)
    cluster.kubectl("set", "env", "deployment/verbs", "A=b")  # rolls over the stuck one
    cluster.kubectl("set", "image", "deployment/verbs", f"busybox={IMAGE}")
    cluster.kubectl("set", "resources", "deployment/verbs", "--limits=memory=64Mi")
    cluster.kubectl("set", "serviceaccount", "deployment/verbs", "default")
    cluster.kubectl("rollout", "status", "deployment/verbs", "--timeout=150s")
    [container] = cluster.get("deployment", "verbs")["spec"]["template"]["spec"]["containers"]
    assert (container["env"], container["resources"]["limits"]) == ([{"name": "A", "value": "b"}], {"memory": "64Mi"})
    assert "revision #3" in cluster.kubectl("rollout", "history", "deployment/verbs", "--revision=3")
    cluster.kubectl("rollout", "pause", "deployment/verbs")
    cluster.kubectl("set", "env", "deployment/verbs", "A=c")
    eventually("the pause is seen", lambda: any(item.get("reason") == "DeploymentPaused" for item in cluster.get(
        "deployment", "verbs")["status"]["conditions"]))
    values = {pod["spec"]["containers"][0].get("env", [{}])[0].get("value") for pod in items(cluster, "pods", "-l", "app=verbs")}
    assert "c" not in values, "a paused Deployment rolled on"
    cluster.kubectl("rollout", "resume", "deployment/verbs")
    cluster.kubectl("rollout", "status", "deployment/verbs", "--timeout=150s")
    before = {pod["metadata"]["name"] for pod in items(cluster, "pods", "-l", "app=verbs")}
    cluster.kubectl("rollout", "restart", "deployment/verbs")
    cluster.kubectl("rollout", "status", "deployment/verbs", "--timeout=150s")
    eventually("all pods are new", lambda: not before & {pod["metadata"]["name"] for pod in items(cluster, "pods", "-l", "app=verbs")})
    cluster.kubectl("rollout", "undo", "deployment/verbs", "--to-revision=1")
    cluster.kubectl("rollout", "status", "deployment/verbs", "--timeout=150s")
    assert "env" not in cluster.get("deployment", "verbs")["spec"]["template"]["spec"]["containers"][0]
    cluster.kubectl("autoscale", "deployment/verbs", "--min=1", "--max=3", "--cpu-percent=80")
    assert cluster.get("hpa", "verbs")["spec"]["maxReplicas"] == 3
    cluster.kubectl("delete", "deployment/verbs", "hpa/verbs")


def test_a_stateful_set_keeps_its_data_through_an_update(cluster: Cluster) -> None:
    claim = {"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}}
    spec = pod_spec("hostname >> /data/starts; exec sleep 3600")
    spec["containers"][0]["volumeMounts"] = [{"name": "data", "mountPath": "/data"}]
    service = {"clusterIP": "None", "selector": {"app": "db"}}
    apply(cluster, {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "db"}, "spec": service},
          {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db"}, "spec": {
              "replicas": 2, "serviceName": "db", "selector": {"matchLabels": {"app": "db"}}, "volumeClaimTemplates": [claim],
              "persistentVolumeClaimRetentionPolicy": {"whenScaled": "Delete", "whenDeleted": "Delete"},
              "template": {"metadata": {"labels": {"app": "db"}}, "spec": spec}}})
    cluster.kubectl("rollout", "status", "statefulset/db", "--timeout=150s")
    cluster.kubectl("delete", "pod", "db-0", "--wait=true")
    cluster.kubectl("rollout", "restart", "statefulset/db")
    cluster.kubectl("rollout", "status", "statefulset/db", "--timeout=150s")
    assert cluster.kubectl("exec", "db-0", "--", "cat", "/data/starts") == "db-0\n" * 3
    assert cluster.kubectl("exec", "db-1", "--", "cat", "/data/starts") == "db-1\n" * 2
    name = f"db-1.db.{cluster.namespace}.svc.cluster.local"
    eventually("their names are known", lambda: "db-1.db" in cluster.kubectl("exec", "db-0", "--", "nslookup", name))
    cluster.kubectl("rollout", "undo", "statefulset/db")
    cluster.kubectl("scale", "statefulset/db", "--replicas=1")
    eventually("the claim of the replica that went is gone", lambda: [item["metadata"]["name"] for item in items(cluster, "pvc")
                                                                      if "-db-" in item["metadata"]["name"]] == ["data-db-0"])
    cluster.kubectl("rollout", "status", "statefulset/db", "--timeout=150s")
    assert cluster.kubectl("exec", "db-0", "--", "cat", "/data/starts").count("db-0") == 4
    cluster.kubectl("delete", "statefulset/db", "service/db")
    eventually("the last claim is gone", lambda: not [item for item in items(cluster, "pvc") if "-db-" in item["metadata"]["name"]])


def job(name: str, command: str, restart: str = "Never", **spec: Any) -> dict[str, Any]:
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": {
        **spec, "template": {"spec": pod_spec(command, restartPolicy=restart)}}}


def test_jobs_of_every_pattern(cluster: Cluster) -> None:
    again = job("again", "test -e /keep/seen || { touch /keep/seen; exit 1; }", "OnFailure", completions=2, parallelism=2)
    inner = again["spec"]["template"]["spec"]
    inner["volumes"] = [{"name": "keep", "emptyDir": {}}]
    inner["containers"][0]["volumeMounts"] = [{"name": "keep", "mountPath": "/keep"}]
    apply(cluster, again,
          job("indexed", "echo index $JOB_COMPLETION_INDEX on $(hostname)", completionMode="Indexed", completions=3, parallelism=2),
          job("queue", "exit 0", parallelism=2),
          job("refused", "exit 42", backoffLimit=6, podFailurePolicy={"rules": [{
              "action": "FailJob", "onExitCodes": {"containerName": "c", "operator": "In", "values": [42]}}]}),
          job("enough", 'test "$JOB_COMPLETION_INDEX" = 0 || sleep 3600', completionMode="Indexed", completions=2, parallelism=2,
              successPolicy={"rules": [{"succeededIndexes": "0"}]}),
          job("spared", "trap 'exit 1' TERM; sleep 3600 & wait", completionMode="Indexed", completions=2, parallelism=2, backoffLimit=0,
              podFailurePolicy={"rules": [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}]}),
          job("odd", "exit $((JOB_COMPLETION_INDEX % 2))", completionMode="Indexed", completions=4, parallelism=4, backoffLimitPerIndex=1),
          job("counted", 'test "$JOB_COMPLETION_INDEX" = 0 || sleep 3600', completionMode="Indexed", completions=3, parallelism=3,
              backoffLimit=0, successPolicy={"rules": [{"succeededCount": 1}]}),
          job("held", "exit 0", suspend=True))
    for name in ("again", "indexed", "queue", "enough", "counted"):
        cluster.kubectl("wait", "--for=condition=Complete", f"job/{name}", "--timeout=150s")
    cluster.kubectl("wait", "--for=condition=Failed", "job/refused", "--timeout=150s")
    assert [item["reason"] for item in cluster.get("job", "refused")["status"]["conditions"]] == ["PodFailurePolicy", "PodFailurePolicy"]
    assert cluster.get("job", "enough")["status"]["conditions"][-1]["reason"] == "SuccessPolicy"
    restarts = [pod["status"]["containerStatuses"][0]["restartCount"] for pod in items(cluster, "pods", "-l", "job-name=again")]
    assert restarts == [1, 1]
    said = cluster.kubectl("logs", "-l", "job-name=indexed", "--tail=1")
    assert sorted(line.split(" on ")[0] for line in said.splitlines()) == ["index 0", "index 1", "index 2"]
    assert "on indexed-1" in said
    cluster.kubectl("wait", "--for=condition=Failed", "job/odd", "--timeout=150s")
    odd = cluster.get("job", "odd")["status"]
    assert (odd["completedIndexes"], odd["failedIndexes"], odd["failed"]) == ("0,2", "1,3", 4), "each index once more"
    eventually("both run", lambda: [pod["status"]["phase"] for pod in items(cluster, "pods", "-l", "job-name=spared")]
               == ["Running"] * 2)
    first = {pod["metadata"]["name"] for pod in items(cluster, "pods", "-l", "job-name=spared")}
    for name in first:
        cluster.kubectl("create", "--raw", f"/api/v1/namespaces/{cluster.namespace}/pods/{name}/eviction", "-f", "-", input=json.dumps(
            {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}))
    eventually("evicted pods are replaced and do not fail it", lambda: [
        pod["status"]["phase"] for pod in items(cluster, "pods", "-l", "job-name=spared") if pod["metadata"]["name"] not in first
    ] == ["Running"] * 2)
    assert not cluster.get("job", "spared")["status"].get("conditions")
    assert not items(cluster, "pods", "-l", "job-name=held")
    cluster.kubectl("patch", "job", "held", "-p", '{"spec":{"suspend":false}}')
    cluster.kubectl("wait", "--for=condition=Complete", "job/held", "--timeout=150s")
    cluster.kubectl("delete", "jobs", "again", "indexed", "queue", "refused", "enough", "held", "spared", "odd", "counted")
    eventually("their pods are gone", lambda: not items(cluster, "pods", "-l", "job-name in (again,indexed,queue,refused,held)"))


def test_a_budget_holds_a_drain_up(cluster: Cluster) -> None:
    node = items(cluster, "nodes")[0]["metadata"]["name"]
    deployment(cluster, "guarded")
    cluster.kubectl("create", "pdb", "guard", "--selector=app=guarded", "--min-available=1")
    eventually("the budget knows its pod", lambda: cluster.get("pdb", "guard")["status"].get("currentHealthy") == 1)
    try:
        drain = ("drain", node, "--pod-selector=app=guarded", "--ignore-daemonsets", "--delete-emptydir-data")
        output = cluster.kubectl(*drain, "--timeout=6s", check=False)
        assert "Cannot evict pod as it would violate the pod's disruption budget." in output
        assert "SchedulingDisabled" in cluster.kubectl("get", "nodes")
        cluster.kubectl("patch", "pdb", "guard", "-p", '{"spec":{"minAvailable":0}}')
        assert "drained" in cluster.kubectl(*drain, "--timeout=150s")
        eventually("the new pod waits", lambda: [
            pod["status"]["phase"] for pod in items(cluster, "pods", "-l", "app=guarded")] == ["Pending"])
    finally:
        cluster.kubectl("uncordon", node)
    cluster.kubectl("rollout", "status", "deployment/guarded", "--timeout=150s")
    try:
        cluster.kubectl("cordon", node)
        assert "SchedulingDisabled" in cluster.kubectl("get", "nodes")
    finally:
        cluster.kubectl("uncordon", node)
    cluster.kubectl("delete", "deployment/guarded", "pdb/guard")


def test_accounts_reach_pods_as_they_are_told_to(cluster: Cluster) -> None:
    where = "/var/run/secrets/kubernetes.io/serviceaccount"
    source = {"serviceAccountToken": {"path": "t", "audience": "vault", "expirationSeconds": 600}}
    projected = pod_spec("sleep 3600", automountServiceAccountToken=False, volumes=[{"name": "t", "projected": {"sources": [source]}}])
    projected["containers"][0]["volumeMounts"] = [{"name": "t", "mountPath": "/t"}]
    apply(cluster, {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "with"}, "spec": pod_spec("sleep 3600")},
          {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "without"}, "spec": projected})
    cluster.kubectl("wait", "--for=condition=Ready", "pod/with", "pod/without", "--timeout=150s")
    assert cluster.kubectl("exec", "with", "--", "ls", where).split() == ["ca.crt", "namespace", "token"]
    assert cluster.kubectl("exec", "with", "--", "cat", f"{where}/namespace") == cluster.namespace
    assert "No such file" in cluster.kubectl("exec", "without", "--", "ls", where, check=False)
    issuer = json.loads(cluster.kubectl("get", "--raw", "/.well-known/openid-configuration"))
    assert json.loads(cluster.kubectl("get", "--raw", "/openid/v1/jwks"))["keys"]
    for pod, path, wanted in (("with", f"{where}/token", None), ("without", "/t/t", ["vault"])):
        token = cluster.kubectl("exec", pod, "--", "cat", path).strip()
        claims = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
        assert claims["iss"] == issuer["issuer"]
        assert claims["kubernetes.io"]["pod"]["name"] == pod
        review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
                  "spec": {"token": token, **({"audiences": wanted} if wanted else {})}}
        status = json.loads(cluster.kubectl("create", "-o", "json", "-f", "-", input=json.dumps(review)))["status"]
        assert (status["authenticated"], status["user"]["username"]) == (True, f"system:serviceaccount:{cluster.namespace}:default")
        assert wanted is None or status["audiences"] == wanted
    cluster.kubectl("delete", "pod", "with", "without", "--wait=false")


def test_pods_are_run_and_debugged(cluster: Cluster) -> None:
    cluster.kubectl("run", "bare", f"--image={IMAGE}", "--labels=app=bare", "--port=8080", "--expose", "--command", "--", "sh", "-c", SERVE)
    cluster.kubectl("wait", "--for=condition=Ready", "pod/bare", "--timeout=150s")
    assert cluster.get("service", "bare")["spec"]["ports"][0]["port"] == 8080
    cluster.kubectl("debug", "bare", f"--image={IMAGE}", "--container=look", "--target=bare", "--profile=general", "--attach=false", "--",
                    "sh", "-c", "tr '\\0' ' ' </proc/1/cmdline; echo; sleep 3600")
    eventually("the process of the other container is seen", lambda: cluster.kubectl(
        "logs", "bare", "-c", "look", check=False).startswith("httpd -f"))
    cluster.kubectl("debug", "bare", "--copy-to=copied", f"--set-image=*={IMAGE}", "--same-node", "--attach=false")
    node = items(cluster, "nodes")[0]["metadata"]["name"]
    said = cluster.kubectl("debug", f"node/{node}", f"--image={IMAGE}", "--profile=sysadmin", "--attach=false", "--",
                           "sh", "-c", "ls -d /host/etc/passwd; grep Cap /proc/self/status; hostname")
    debugger = next(word for word in said.split() if word.startswith("node-debugger-"))
    eventually("the node's own files and name are seen", lambda: {"/host/etc/passwd", node} <= set(
        cluster.kubectl("logs", debugger, check=False).split()))
    own = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("CapEff"))
    assert own in cluster.kubectl("logs", debugger).splitlines(), "it may do what the node may"
    cluster.kubectl("wait", "--for=condition=Ready", "pod/copied", "--timeout=150s")
    cluster.kubectl("set", "selector", "service/bare", "app=other")
    assert cluster.get("service", "bare")["spec"]["selector"] == {"app": "other"}
    cluster.kubectl("create", "rolebinding", "readers", "--clusterrole=view", "--user=one")
    cluster.kubectl("set", "subject", "rolebinding/readers", "--serviceaccount=default:default", "--user=two")
    assert [item["name"] for item in cluster.get("rolebinding", "readers")["subjects"]] == ["one", "two", "default"]
    cluster.kubectl("taint", "nodes", node, "here=yes:PreferNoSchedule", "--overwrite")
    cluster.kubectl("taint", "nodes", node, "here-")
    assert "here" not in [taint["key"] for taint in cluster.get("node", node)["spec"].get("taints") or ()]
    cluster.kubectl("delete", "pod/bare", "pod/copied", f"pod/{debugger}", "service/bare", "rolebinding/readers", "--wait=false")


def test_the_api_server_has_endpoints_and_slices(one_node: Cluster) -> None:
    address = one_node.get("endpoints", "kubernetes")["subsets"][0]["addresses"][0]["ip"]
    [found] = items(one_node, "endpointslices", "-l", "kubernetes.io/service-name=kubernetes")
    assert found["endpoints"][0]["addresses"] == [address]


def test_slices_made_by_hand_are_served(cluster: Cluster) -> None:
    """Several addresses and several ports, each in a slice of its own."""
    for name in ("left", "right"):
        apply(cluster, {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": pod_spec(SERVE)})
    cluster.kubectl("wait", "--for=condition=Ready", "pod/left", "pod/right", "--timeout=150s")
    address = {name: cluster.get("pod", name)["status"]["podIP"] for name in ("left", "right")}
    apply(cluster, {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "hand"}, "spec": {
        "ports": [{"name": "both", "port": 80}, {"name": "one", "port": 81}]}},
        *({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
           "metadata": {"name": f"hand-{number}", "labels": {"kubernetes.io/service-name": "hand"}},
           "endpoints": [{"addresses": [address[name]], "conditions": {"ready": True}}],
           "ports": [{"name": port, "port": 8080, "protocol": "TCP"}]}
          for number, (name, port) in enumerate((("left", "both"), ("right", "both"), ("right", "one")))))
    virtual = cluster.get("service", "hand")["spec"]["clusterIP"]

    def answers(port: int) -> set[str]:
        return {cluster.run("curl", "-s", "--max-time", "3", f"http://{virtual}:{port}/", check=False).strip() for _ in range(8)}

    eventually("both answer on one port", lambda: answers(80) == {"left", "right"})
    eventually("one answers on the other", lambda: answers(81) == {"right"})
    cluster.kubectl("delete", "service/hand", "pod/left", "pod/right", "--wait=false")
    cluster.kubectl("delete", "endpointslices", "-l", "kubernetes.io/service-name=hand")


def test_a_cron_job_runs_and_one_is_made_by_hand(cron: Cluster, repeated: bool) -> None:
    if repeated:
        cron.kubectl("delete", "job/by-hand", "cronjob/tick", "--ignore-not-found")
        cron.kubectl("create", "cronjob", "tick", f"--image={IMAGE}", "--schedule=* * * * *", "--", "sh", "-c", "echo ticked")
    cron.kubectl("create", "job", "by-hand", "--from=cronjob/tick")
    cron.kubectl("wait", "--for=condition=Complete", "job/by-hand", "--timeout=150s")
    assert cron.get("job", "by-hand")["metadata"]["annotations"]["cronjob.kubernetes.io/instantiate"] == "manual"
    eventually("the minute has passed", lambda: cron.get("cronjob", "tick")["status"].get("lastSuccessfulTime"), 180, 1)
    assert "ticked" in cron.kubectl("logs", "job/by-hand")
    cron.kubectl("delete", "cronjob/tick", "--cascade=foreground")
    eventually("its jobs are gone", lambda: not [item for item in items(cron, "jobs") if item["metadata"]["name"].startswith("tick-")])
