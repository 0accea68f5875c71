"""Which events wake a pod that a plugin refused."""
from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from kubepy.base.clock import VirtualClock
from kubepy.scheduler import config
from kubepy.scheduler.framework import Event
from kubepy.scheduler.queue import Queue

spec = importlib.util.spec_from_file_location("cluster", Path(__file__).with_name("cluster.py"))
cluster = importlib.util.module_from_spec(spec)
spec.loader.exec_module(cluster)
PROFILES = config.default().profiles
TAINT = {"key": "k", "effect": "NoSchedule"}
SSD = {"labels": {"disk": "ssd"}}


def node(**kwargs):
    return cluster.snapshot([cluster.node("n", **kwargs)]).nodes["n"]


def other(**kwargs):
    return cluster.parsed("other", node="n", **kwargs)


def claim(name):
    return {"metadata": {"namespace": "default", "name": name}}


def affinity(kind, app):
    return {"affinity": {kind: {"requiredDuringSchedulingIgnoredDuringExecution": [
        {"topologyKey": "zone", "labelSelector": {"matchLabels": {"app": app}}}]}}}


VOLUME = {"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]}
PORT = [{"containerPort": 80, "hostPort": 80}]


@pytest.mark.parametrize(("plugin", "pod", "event", "woken"), [
    pytest.param("NodeAffinity", {"nodeSelector": {"disk": "ssd"}}, Event("Node", "label", None, node(**SSD)), True, id="a label it wants"),
    pytest.param("NodeAffinity", {"nodeSelector": {"disk": "hdd"}}, Event("Node", "label", None, node(**SSD)), False, id="another label"),
    pytest.param("NodeAffinity", {"nodeSelector": {"disk": "ssd"}}, Event("Node", "taint", None, node(**SSD)), False, id="not a label"),
    pytest.param("TaintToleration", {}, Event("Node", "taint", None, node()), True, id="a taint is gone"),
    pytest.param("TaintToleration", {}, Event("Node", "add", None, node(taints=[TAINT])), False, id="a node with a taint"),
    pytest.param("TaintToleration", {"tolerations": [{"key": "k", "operator": "Exists"}]}, Event("Node", "add", None, node(taints=[TAINT])),
                 True, id="a node with a taint it tolerates"),
    pytest.param("NodeUnschedulable", {}, Event("Node", "taint", None, node()), True, id="a node is uncordoned"),
    pytest.param("NodeUnschedulable", {}, Event("Node", "add", None, node(unschedulable=True)), False, id="a cordoned node"),
    pytest.param("NodeResourcesFit", {"requests": {"cpu": "8"}}, Event("Node", "add", None, node(cpu="16")), True,
                 id="a node large enough"),
    pytest.param("NodeResourcesFit", {"requests": {"cpu": "8"}}, Event("Node", "add", None, node(cpu="4")), False, id="a node too small"),
    pytest.param("NodeResourcesFit", {}, Event("AssignedPod", "delete", other(), None), True, id="a pod is gone"),
    pytest.param("NodeResourcesFit", {}, Event("AssignedPod", "add", None, other()), False, id="a pod more"),
    pytest.param("NodePorts", {"ports": PORT}, Event("AssignedPod", "delete", other(ports=PORT), None), True, id="its port is free"),
    pytest.param("NodePorts", {"ports": PORT}, Event("AssignedPod", "delete", other(), None), False, id="a pod without ports is gone"),
    pytest.param("InterPodAffinity", affinity("podAffinity", "x"), Event("AssignedPod", "add", None, other(labels={"app": "x"})), True,
                 id="one it wants to be near to"),
    pytest.param("InterPodAffinity", affinity("podAffinity", "x"), Event("AssignedPod", "add", None, other(labels={"app": "y"})), False,
                 id="somebody else"),
    pytest.param("InterPodAffinity", affinity("podAntiAffinity", "x"), Event("AssignedPod", "delete", other(labels={"app": "x"}), None),
                 True, id="one it avoids is gone"),
    pytest.param("VolumeBinding", VOLUME, Event("PersistentVolumeClaim", "update", None, claim("c")), True, id="its claim"),
    pytest.param("VolumeBinding", VOLUME, Event("PersistentVolumeClaim", "update", None, claim("d")), False, id="another's claim"),
    pytest.param("VolumeBinding", VOLUME, Event("CSIStorageCapacity", "update", None, {}), True, id="room for volumes"),
    pytest.param("DynamicResources", {"resourceClaims": [{"name": "g", "resourceClaimName": "c"}]},
                 Event("ResourceClaim", "update", {**claim("x"), "status": {"allocation": {}}}, claim("x")), True, id="devices are free"),
    pytest.param("DynamicResources", {"resourceClaims": [{"name": "g", "resourceClaimName": "c"}]},
                 Event("ResourceClaim", "update", claim("x"), claim("x")), False, id="another's claim of devices"),
    pytest.param("Unheard", {}, Event("AssignedPod", "delete", other(), None), True, id="a plugin that does not say what helps"),
])
def test_hints(plugin, pod, event, woken):
    queue = Queue(VirtualClock(), PROFILES)
    queue.add(cluster.parsed("new", **pod))
    entry = queue._next()
    entry.where, entry.attempts = "tried", 1
    queue.failed(entry, [plugin])
    assert queue.happened(event) == woken
