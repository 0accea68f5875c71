"""An operator for websites: a Website becomes a ConfigMap, a Deployment and a Service, and has a status and a finalizer.

    kubectl apply -f crd.yaml
    pip install kopf kubernetes && kopf run operator.py --namespace default
    kubectl apply -f website.yaml && kubectl get websites

The children belong to the Website (owner references) and are collected with it. What does not, an entry in the ConfigMap `archive` that
tells which websites there were, is written by the finalizer before the Website goes.
"""
from __future__ import annotations

from typing import Any

import kopf
from kubernetes import client, config
from kubernetes.dynamic import DynamicClient

GROUP, VERSION, PLURAL = "web.kubepy.io", "v1", "websites"


@kopf.on.startup()
def configure(settings: kopf.OperatorSettings, **_: Any) -> None:
    config.load_config()
    settings.persistence.finalizer = f"{GROUP}/archive"


def children(name: str, spec: Any) -> list[dict[str, Any]]:
    """What a website consists of."""
    labels = {"app": name, "app.kubernetes.io/managed-by": "website-operator"}
    container = {"name": "web", "image": "busybox:1.36", "command": ["httpd", "-f", "-p", "8080", "-h", "/www"],
                 "ports": [{"containerPort": 8080}], "volumeMounts": [{"name": "www", "mountPath": "/www"}]}
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [container], "volumes": [{"name": "www", "configMap": {"name": name}}]}}
    return [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"index.html": spec["text"]}},
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": {
            "replicas": spec["replicas"], "selector": {"matchLabels": labels}, "template": pod}},
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": {
            "selector": labels, "ports": [{"port": 80, "targetPort": 8080, "protocol": "TCP"}]}},
    ]


def apply(objects: list[dict[str, Any]]) -> None:
    """By server-side apply, so that what others set stays theirs."""
    api = DynamicClient(client.ApiClient())
    for obj in objects:
        resource = api.resources.get(api_version=obj["apiVersion"], kind=obj["kind"])
        api.server_side_apply(resource, body=obj, name=obj["metadata"]["name"], namespace=obj["metadata"]["namespace"],
                              field_manager="website-operator", force_conflicts=True)


@kopf.on.create(GROUP, VERSION, PLURAL)
@kopf.on.update(GROUP, VERSION, PLURAL, field="spec")
@kopf.on.resume(GROUP, VERSION, PLURAL)
def serve(name: str, spec: Any, patch: kopf.Patch, body: Any, **_: Any) -> None:
    objects = children(name, spec)
    kopf.adopt(objects)
    apply(objects)
    patch.status["phase"] = "Served"
    patch.status["replicas"] = spec["replicas"]
    kopf.info(body, reason="Served", message=f"{name} has {spec['replicas']} replicas")


@kopf.on.delete(GROUP, VERSION, PLURAL)
def archive(name: str, namespace: str, spec: Any, **_: Any) -> None:
    metadata = {"name": "archive", "namespace": namespace}
    apply([{"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {name: spec["text"]}}])
