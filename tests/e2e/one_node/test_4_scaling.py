"""What works out of the box: kubectl top, autoscaling under real load, volumes by the default class, load balancer addresses, tokens."""
from __future__ import annotations

import base64
import json
import os

from tests.e2e.cluster import Cluster, eventually

BURN = """
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: burn-data}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 10Mi}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: burn}
spec:
  selector: {matchLabels: {app: burn}}
  template:
    metadata: {labels: {app: burn}}
    spec:
      terminationGracePeriodSeconds: 1
      volumes: [{name: d, persistentVolumeClaim: {claimName: burn-data}}]
      containers:
      - name: c
        image: busybox:1.36
        command: [sh, -c, "echo kept >> /data/x; while true; do i=$((i+1)); done"]
        resources: {requests: {cpu: 50m}, limits: {cpu: 200m}}
        volumeMounts: [{name: d, mountPath: /data}]
"""
SERVED = """
apiVersion: v1
kind: Pod
metadata: {name: served, labels: {app: served}}
spec:
  terminationGracePeriodSeconds: 0
  volumes:
  - name: s
    ephemeral: {volumeClaimTemplate: {spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Mi}}}}}
  containers:
  - name: c
    image: busybox:1.36
    command: [sh, -c, "echo balanced > /s/index.html; exec httpd -f -p 8080 -h /s"]
    volumeMounts: [{name: s, mountPath: /s}]
---
apiVersion: v1
kind: Service
metadata: {name: balanced}
spec: {type: LoadBalancer, selector: {app: served}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Secret
metadata: {name: legacy, annotations: {kubernetes.io/service-account.name: default}}
type: kubernetes.io/service-account-token
"""


def test_a_deployment_with_a_volume_is_scaled_by_its_load(cluster: Cluster) -> None:
    cluster.kubectl("apply", "-f", "-", input=BURN)
    cluster.kubectl("autoscale", "deployment", "burn", "--cpu-percent=50", "--min=1", "--max=2")
    eventually("a second replica", lambda: cluster.get("deployment", "burn")["spec"]["replicas"] == 2, timeout=240, every=1)
    assert "SuccessfulRescale" in cluster.kubectl("get", "events", "--field-selector=involvedObject.kind=HorizontalPodAutoscaler")
    assert "burn-" in cluster.kubectl("top", "pods", "--sort-by=cpu")
    assert " c " in cluster.kubectl("top", "pods", "--containers")
    eventually("what it is scaled by", lambda: "ValidMetricFound" in (shown := cluster.kubectl("describe", "hpa", "burn"))
               and "<unknown>" not in shown)
    assert "%" in cluster.kubectl("top", "nodes")
    cluster.kubectl("delete", "hpa", "burn")
    cluster.kubectl("delete", "pods", "-l", "app=burn", "--wait=false")
    directories = os.listdir(cluster.data / "volumes")
    assert any(name.endswith(f"_{cluster.namespace}_burn-data") for name in directories)
    cluster.kubectl("wait", "--for=condition=Available", "deployment/burn", "--timeout=150s")
    written = eventually("data that outlives the pod", lambda: cluster.kubectl("exec", "deployment/burn", "--", "cat", "/data/x"))
    assert written.count("kept") > 1
    cluster.kubectl("delete", "deployment", "burn")
    cluster.kubectl("delete", "pvc", "burn-data", "--timeout=150s")
    eventually("the directory to be removed", lambda: not any(
        name.endswith(f"_{cluster.namespace}_burn-data") for name in os.listdir(cluster.data / "volumes")))
    eventually("and the volume", lambda: f"{cluster.namespace}/burn-data" not in cluster.kubectl("get", "pv"))


def test_a_load_balancer_has_an_address_that_answers(cluster: Cluster) -> None:
    cluster.kubectl("apply", "-f", "-", input=SERVED)
    cluster.kubectl("wait", "--for=condition=Ready", "pod/served", "--timeout=150s")
    ingress = eventually("an address", lambda: cluster.get("service", "balanced")["status"]["loadBalancer"]["ingress"])
    url = f"http://{ingress[0]['ip']}/"
    assert eventually("an answer", lambda: cluster.run("curl", "-s", "--max-time", "5", url)) == "balanced\n"
    token = base64.b64decode(eventually("a token", lambda: cluster.get("secret", "legacy")["data"]["token"])).decode()
    review = cluster.kubectl("create", "--raw", "/apis/authentication.k8s.io/v1/tokenreviews", "-f", "-", input=json.dumps(
        {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}}))
    assert json.loads(review)["status"]["user"]["username"] == f"system:serviceaccount:{cluster.namespace}:default"
    cluster.kubectl("delete", "service/balanced", "pod/served", "secret/legacy", "--timeout=150s")
    eventually("the ephemeral claim to go with its pod", lambda: "served" not in cluster.kubectl("get", "pvc"))
