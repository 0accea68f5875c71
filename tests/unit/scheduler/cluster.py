"""Builders for scheduler tests, and random clusters."""
from __future__ import annotations

import random

from kubepy.scheduler.pod import Parser
from kubepy.scheduler.snapshot import Snapshot

PARSER = Parser()


def node(name, cpu="4", memory="8Gi", pods="110", labels=None, taints=(), unschedulable=False, images=(), features=(), **resources):
    return {"metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, **(labels or {})}},
            "spec": {"taints": list(taints), "unschedulable": unschedulable},
            "status": {"allocatable": {"cpu": cpu, "memory": memory, "pods": pods, **resources}, "images": list(images),
                       "declaredFeatures": list(features)}}


def pod(name, namespace="default", requests=None, labels=None, node=None, ports=(), uid=None, status=None, image="app", metadata=None,
        **spec):
    return {"metadata": {"name": name, "namespace": namespace, "uid": uid or f"uid-{name}", "labels": labels or {}, **(metadata or {})},
            "spec": {"containers": [{"name": "c", "image": image, "resources": {"requests": requests or {}}, "ports": list(ports)}],
                     **({"nodeName": node} if node else {}), **spec},
            "status": status or {}}


def parsed(*args, **kwargs):
    return PARSER.parse(pod(*args, **kwargs))


def snapshot(nodes, pods=(), namespaces=None):
    found = Snapshot(capacity=2)
    for name, labels in (namespaces or {"default": {}}).items():
        found.tallies.set_namespace(name, labels)
    for one in nodes:
        found.set_node(one)
    for one in pods:
        found.set_pod(PARSER.parse(one))
    return found


ZONES, GROUPS, DISKS = ("a", "b", "c"), ("web", "db", "job"), ("ssd", "hdd")
EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")


def random_selector(rng):
    return rng.choice([
        {"matchLabels": {"group": rng.choice(GROUPS)}}, {},
        {"matchExpressions": [{"key": "group", "operator": rng.choice(["In", "NotIn"]), "values": rng.sample(GROUPS, 2)}]},
        {"matchExpressions": [{"key": "tier", "operator": rng.choice(["Exists", "DoesNotExist"])}]},
    ])


def random_term(rng):
    term = {"topologyKey": rng.choice(["zone", "kubernetes.io/hostname", "rack"]), "labelSelector": random_selector(rng)}
    kind = rng.random()
    if kind < 0.2:
        term["namespaces"] = ["other"]
    elif kind < 0.4:
        term["namespaceSelector"] = rng.choice([{}, {"matchLabels": {"team": "x"}}])
    return term


def random_node(rng, name):
    labels = {"size": str(rng.randrange(10)), "disk": rng.choice(DISKS)}
    if rng.random() < 0.85:
        labels["zone"] = rng.choice(ZONES)
        if rng.random() < 0.6:
            labels["topology.kubernetes.io/zone"] = labels["zone"]
    if rng.random() < 0.5:
        labels["rack"] = rng.choice("12345")
    taints = [{"key": rng.choice("xy"), "value": rng.choice(["", "1"]), "effect": rng.choice(EFFECTS)}
              for _ in range(rng.choice([0, 0, 1, 2]))]
    images = [{"names": [f"{image}:latest"], "sizeBytes": rng.randrange(10, 900) * 2**20} for image in ("app", "big") if rng.random() < 0.4]
    extra = {"example.com/gpu": str(rng.randrange(4))} if rng.random() < 0.3 else {}
    return node(name, cpu=str(rng.randrange(1, 9)), memory=f"{rng.randrange(1, 17)}Gi", pods=str(rng.choice([1, 3, 110])), labels=labels,
                taints=taints, unschedulable=rng.random() < 0.1, images=images, **extra)


def random_pod(rng, name, nodes=()):
    requests = {}
    if rng.random() < 0.8:
        requests["cpu"] = f"{rng.choice([0, 100, 500, 1500, 20000])}m"
    if rng.random() < 0.6:
        requests["memory"] = f"{rng.choice([1, 512, 4096])}Mi"
    if rng.random() < 0.2:
        requests["example.com/gpu"] = "1"
    spec, affinity = {}, {}
    if rng.random() < 0.3:
        spec["nodeSelector"] = {"disk": rng.choice(DISKS)}
    if rng.random() < 0.4:
        affinity["nodeAffinity"] = {
            "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
                {"matchExpressions": [{"key": "size", "operator": rng.choice(["Gt", "Lt"]), "values": [str(rng.randrange(10))]}]},
                {"matchExpressions": [{"key": "zone", "operator": rng.choice(["In", "NotIn"]), "values": [rng.choice(ZONES)]}]}]},
            "preferredDuringSchedulingIgnoredDuringExecution": [
                {"weight": rng.randrange(1, 100), "preference": {"matchExpressions": [
                    {"key": "rack", "operator": rng.choice(["Exists", "DoesNotExist"])}]}}]}
    if rng.random() < 0.4:
        affinity["podAffinity"] = {
            **({"requiredDuringSchedulingIgnoredDuringExecution": [random_term(rng)]} if rng.random() < 0.5 else {}),
            "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": rng.randrange(1, 100), "podAffinityTerm": random_term(rng)}]}
    if rng.random() < 0.4:
        affinity["podAntiAffinity"] = {
            **({"requiredDuringSchedulingIgnoredDuringExecution": [random_term(rng)]} if rng.random() < 0.5 else {}),
            "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": rng.randrange(1, 100), "podAffinityTerm": random_term(rng)}]}
    if affinity:
        spec["affinity"] = affinity
    if rng.random() < 0.4:
        spec["topologySpreadConstraints"] = [
            {"maxSkew": rng.randrange(1, 3), "topologyKey": rng.choice(["zone", "kubernetes.io/hostname", "rack"]),
             "whenUnsatisfiable": rng.choice(["DoNotSchedule", "ScheduleAnyway"]), "labelSelector": random_selector(rng),
             **({"nodeTaintsPolicy": "Honor"} if rng.random() < 0.3 else {}),
             **({"nodeAffinityPolicy": "Ignore"} if rng.random() < 0.3 else {})}
            for _ in range(rng.randrange(1, 3))]
        for constraint in spec["topologySpreadConstraints"]:
            if constraint["whenUnsatisfiable"] == "DoNotSchedule" and rng.random() < 0.3:
                constraint["minDomains"] = rng.randrange(1, 6)
    if rng.random() < 0.3:
        spec["tolerations"] = [{"key": rng.choice("xy"), "operator": "Exists", "effect": rng.choice(["", *EFFECTS])}]
    ports = [{"containerPort": 80, "hostPort": rng.choice([80, 81]), **({"hostIP": "10.0.0.1"} if rng.random() < 0.3 else {})}] \
        if rng.random() < 0.2 else []
    namespace = rng.choice(["default", "default", "other"])
    if rng.random() < 0.35:
        known = [*VOLUME_CLAIMS, "missing"] if rng.random() < 0.1 else VOLUME_CLAIMS
        spec["volumes"] = [{"name": claim, "persistentVolumeClaim": {"claimName": claim}}
                           for claim in rng.sample(known, rng.randrange(1, 3))]
    if rng.random() < 0.3:
        spec["resourceClaims"] = [{"name": claim, "resourceClaimName": claim} for claim in rng.sample(DEVICE_CLAIMS, rng.randrange(1, 3))]
    labels = {"group": rng.choice(GROUPS), **({"tier": "1"} if rng.random() < 0.3 else {})}
    metadata = {"deletionTimestamp": "2030-01-01T00:00:00Z"} if nodes and rng.random() < 0.1 else {}
    if rng.random() < 0.5:
        kind = rng.choice(["ReplicaSet", "ReplicaSet", "StatefulSet", "ReplicationController", "Job"])
        metadata["ownerReferences"] = [{"kind": kind, "name": "r", "uid": "r", "controller": True}]
    return pod(name, namespace=namespace, requests=requests, labels=labels, ports=ports,
               image=rng.choice(["app", "big", "none"]), priority=rng.choice([0, 0, 10]), metadata=metadata,
               node=rng.choice(nodes) if nodes else None, **spec)


def random_cluster(seed, nodes=8, pods=20):
    rng = random.Random(seed)
    names = [f"n{index}" for index in range(rng.randrange(1, nodes))]
    found = snapshot([random_node(rng, name) for name in names],
                     [random_pod(rng, f"p{index}", [*names, "gone"]) for index in range(rng.randrange(pods))],
                     namespaces={"default": {}, "other": {"team": "x"}})
    for _ in range(rng.randrange(90)):
        random_related(rng, found, names)
    return rng, found


VOLUME_CLAIMS, DEVICE_CLAIMS = [f"v{number}" for number in range(3)], [f"d{number}" for number in range(2)]
STORAGE = ("local", "made", "zoned")


def random_related(rng, found, names):
    """One object beside nodes and pods comes, changes or goes."""
    rng.choice([random_storage, random_devices, random_owner])(rng, found, names)


def random_storage(rng, found, names):
    volumes, zones = found.volumes, {"key": "zone", "operator": "In", "values": rng.sample(ZONES, 2)}
    for name in STORAGE:
        volumes.classes[name] = {
            "metadata": {"name": name}, "volumeBindingMode": "WaitForFirstConsumer",
            "provisioner": "kubernetes.io/no-provisioner" if name == "local" else "driver",
            **({"allowedTopologies": [{"matchLabelExpressions": [{"key": "zone", "values": ["a", "b"]}]}]} if name == "zoned" else {})}
    kind = rng.random()
    if kind < 0.35:
        name = f"pv{rng.randrange(6)}"
        volumes.volumes[name] = {
            "metadata": {"name": name, "labels": {"topology.kubernetes.io/zone": rng.choice(["a", "a__b"])} if rng.random() < 0.2 else {}},
            "status": {"phase": "Available"}, "spec": {
                "capacity": {"storage": f"{rng.randrange(1, 4)}Gi"}, "accessModes": ["ReadWriteOnce"],
                "storageClassName": rng.choice(STORAGE),
                **({"csi": {"driver": "driver", "volumeHandle": name}} if rng.random() < 0.5 else {}),
                **({"nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [zones]}]}}} if rng.random() < 0.5 else {})}}
    elif kind < 0.8:
        name, namespace = rng.choice(VOLUME_CLAIMS), rng.choice(["default", "other"])
        bound = rng.choice([*volumes.volumes, "gone"]) if rng.random() < 0.4 else ""
        annotations = {"pv.kubernetes.io/bind-completed": "yes"} if bound else {}
        if not bound and rng.random() < 0.2:
            annotations["volume.kubernetes.io/selected-node"] = rng.choice(names)
        volumes.claims[f"{namespace}/{name}"] = {
            "metadata": {"name": name, "namespace": namespace, "uid": name, "annotations": annotations},
            "spec": {"storageClassName": rng.choice(STORAGE), "accessModes": [rng.choice(["ReadWriteOnce", "ReadWriteOncePod"])],
                     "resources": {"requests": {"storage": f"{rng.randrange(1, 4)}Gi"}}, **({"volumeName": bound} if bound else {})}}
    elif kind < 0.9:
        volumes.drivers["driver"] = {"metadata": {"name": "driver"}, "spec": {"storageCapacity": rng.random() < 0.7}}
        volumes.capacities[rng.choice("xyz")] = {
            "storageClassName": rng.choice(STORAGE), "capacity": f"{rng.randrange(4)}Gi",
            "nodeTopology": rng.choice([{}, {"matchLabels": {"zone": rng.choice(ZONES)}}, None])}
    else:
        volumes.set_csi_node({"metadata": {"name": rng.choice(names)}, "spec": {"drivers": [
            {"name": "driver", "allocatable": {"count": rng.randrange(3)}}]}})


def random_devices(rng, found, names):
    devices = found.devices
    devices.set_class("any", {"metadata": {"name": "any"}, "spec": {}})
    if rng.random() < 0.7:
        where = rng.choice([{"nodeName": rng.choice(names)}, {"nodeName": rng.choice(names)}, {"allNodes": True}, {"nodeSelector": {
            "nodeSelectorTerms": [{"matchExpressions": [{"key": "zone", "operator": "In", "values": [rng.choice(ZONES)]}]}]}}])
        name = where.get("nodeName") or "shared"
        devices.set_slice(name, None if rng.random() < 0.1 else {"metadata": {"name": name}, "spec": {
            "driver": "driver", "pool": {"name": name, "generation": 1, "resourceSliceCount": rng.choice([1, 1, 1, 2])}, **where,
            "devices": [{"name": f"dev{number}", "attributes": {"model": {"string": rng.choice("ab")}},
                         **({"taints": [{"key": "x", "effect": "NoSchedule"}]} if rng.random() < 0.2 else {})}
                        for number in range(rng.randrange(4))]}})
        return
    name, namespace = rng.choice(DEVICE_CLAIMS), rng.choice(["default", "other"])
    wanted = [{"deviceClassName": "any" if rng.random() < 0.97 else "none", "count": rng.randrange(1, 3), "selectors": [
        {"cel": {"expression": f'device.attributes["driver"].model == "{model}"'}}]} for model in rng.sample("ab", 2)]
    request = {"name": "r", "exactly": wanted[0]} if rng.random() < 0.6 else {
        "name": "r", "firstAvailable": [{"name": f"s{number}", **one} for number, one in enumerate(wanted)]}
    here = {"nodeSelectorTerms": [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": [rng.choice(names)]}]}]}
    taken = {"allocation": {"devices": {"results": [{"driver": "driver", "pool": rng.choice([*names, "shared"]),
                                                     "device": f"dev{rng.randrange(4)}", "request": "r"}]},
                            **({"nodeSelector": here} if rng.random() < 0.7 else {})}}
    constraints = [{"matchAttribute": "driver/model"}] if rng.random() < 0.3 else []
    devices.set_claim(f"{namespace}/{name}", {
        "metadata": {"name": name, "namespace": namespace, "uid": f"{namespace}-{name}", "resourceVersion": str(rng.randrange(10**9))},
        "spec": {"devices": {"requests": [request], "constraints": constraints}}, "status": taken if rng.random() < 0.4 else {}})


def random_owner(rng, found, names):
    kind = rng.choice(["Service", "ReplicaSet", "StatefulSet", "ReplicationController"])
    labels = {"group": rng.choice(GROUPS)}
    found.owners.set(kind, {"metadata": {"namespace": rng.choice(["default", "other"]), "name": "r"},
                            "spec": {"selector": {"matchLabels": labels} if kind.endswith("Set") else labels}})
