#!/usr/bin/env python3
"""Planning a preemption, without a server: `preemption.py [--nodes 5000] [--each 10]`.

A full cluster in memory, each node with ten pods of lower priority; CPU milliseconds that finding victims for one pod takes, by what the
pod asks for. `hopeless` fits nowhere whoever leaves, so that all nodes are tried instead of a tenth of them.
"""
from __future__ import annotations

import argparse
import random
import time

from kubepy.api.types import Object
from kubepy.scheduler import config, cycle
from kubepy.scheduler.pod import Parser
from kubepy.scheduler.preemption import plan_preemption
from kubepy.scheduler.snapshot import Snapshot

PROFILE = config.default().profiles["default-scheduler"]
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


def term(key: str, **labels: str) -> Object:
    return {REQUIRED: [{"topologyKey": key, "labelSelector": {"matchLabels": labels}}]}


HOST, ZONE = "kubernetes.io/hostname", "topology.kubernetes.io/zone"
CASES: dict[str, Object] = {
    "room": {},
    "anti-affinity by node": {"affinity": {"podAntiAffinity": term(HOST, app="a0")}},
    "anti-affinity by zone": {"affinity": {"podAntiAffinity": term(ZONE, app="new")}},
    "affinity by zone": {"affinity": {"podAffinity": term(ZONE, app="a1")}},
    "spread by zone": {"topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": ZONE, "whenUnsatisfiable": "DoNotSchedule",
                                                      "labelSelector": {"matchLabels": {"app": "a2"}}}]},
    "spread by node": {"topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": HOST, "whenUnsatisfiable": "DoNotSchedule",
                                                      "labelSelector": {"matchLabels": {"app": "a2"}}}]},
    "hopeless": {"affinity": {"podAntiAffinity": term(ZONE, app="everywhere")}},
}


def cluster(nodes: int, each: int) -> Snapshot:
    found, parser = Snapshot(), Parser()
    found.tallies.set_namespace("default", {})
    for number in range(nodes):
        name = f"n{number}"
        found.set_node({"metadata": {"name": name, "labels": {HOST: name, ZONE: f"z{number % 3}"}}, "spec": {}, "status": {
            "allocatable": {"cpu": str(each + 1), "memory": "64Gi", "pods": "110"}}})
        for index in range(each + 1):
            app = "everywhere" if index == each else f"a{index}"
            apart = {"affinity": {"podAntiAffinity": term(HOST, app="nobody")}} if index == 3 else {}
            found.set_pod(parser.parse({
                "metadata": {"namespace": "default", "name": f"{name}-{index}", "uid": f"{name}-{index}", "labels": {"app": app}},
                "spec": {"nodeName": name, "priority": 100 if index == each else index % 3, "containers": [
                    {"name": "c", "image": "i", "resources": {"requests": {"cpu": "1", "memory": "1Gi"}}}], **apart},
                "status": {"startTime": f"2030-01-01T00:00:{index % 60:02d}Z"}}))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=5000)
    parser.add_argument("--each", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    snapshot, parse = cluster(options.nodes, options.each), Parser().parse
    for name, spec in CASES.items():
        made: Object = {"metadata": {"namespace": "default", "name": "new", "uid": "new", "labels": {"app": "new"}}, "spec": {
            "priority": 10, "containers": [{"name": "c", "image": "i", "resources": {"requests": {"cpu": "2"}}}], **spec}}
        spent = []
        for seed in range(options.rounds):
            pod = parse(made)
            decision = cycle.decide(pod, snapshot, PROFILE, random.Random(seed))
            assert decision.unfit is not None, name
            began = time.process_time()
            outcome = plan_preemption(pod, snapshot, PROFILE, decision.unfit, (), random.Random(seed))
            spent.append((time.process_time() - began) * 1000)
        victims = f"{len(outcome.chosen.victims)} victims, {len(outcome.candidates)} candidates" if outcome.chosen else outcome.message
        print(f"{name:24}{min(spent):8.0f} ms   {victims}", flush=True)


if __name__ == "__main__":
    main()
