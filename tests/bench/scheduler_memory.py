#!/usr/bin/env python3
"""How much memory the scheduler needs: `scheduler_memory.py [--nodes 5000] [--pods 30000] [--limit 300]`.

Runs `kubepy scheduler` against a server that only lists and watches: so many nodes, and so many bound pods of 300 Deployments with what
API servers add to them (managedFields, status, volumes, tolerations). Prints one line of JSON; ends with 1 above the limit (MB).
"""
from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import orjson
import yaml
from aiohttp import web

ROOT = Path(__file__).resolve().parents[2]
START = "import sys; from kubepy.scheduler.main import main; sys.exit(main(sys.argv[1:]))"


def node(index: int) -> dict:
    amounts = {"cpu": "32", "memory": "64Gi", "pods": "110", "ephemeral-storage": "100Gi"}
    return {"metadata": {"name": f"node-{index:05d}", "uid": f"00000000-0000-0000-0000-{index:012d}", "resourceVersion": "1", "labels": {
        "kubernetes.io/hostname": f"node-{index:05d}", "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64",
        "topology.kubernetes.io/zone": f"zone-{index % 3}", "topology.kubernetes.io/region": "r"}}, "spec": {"podCIDR": "10.0.0.0/24"},
        "status": {"capacity": amounts, "allocatable": amounts, "conditions": [
            {"type": kind, "status": "False", "reason": "KubeletHas", "message": "kubelet has sufficient of it",
             "lastHeartbeatTime": "2030-01-01T00:00:00Z", "lastTransitionTime": "2030-01-01T00:00:00Z"}
            for kind in ("MemoryPressure", "DiskPressure", "PIDPressure", "Ready")],
            "images": [{"names": [f"registry.example.com/image-{number}@sha256:{'0' * 64}", f"registry.example.com/image-{number}:1"],
                        "sizeBytes": 50000000 + number} for number in range(20)]}}


def pod(index: int, nodes: int) -> dict:
    group = index % 300
    name = f"web-{group}-5d8f7c9b6-{index:05d}"
    uid = f"11111111-0000-0000-0000-{index:012d}"
    return {"metadata": {
        "name": name, "namespace": f"team-{group % 20}", "uid": uid, "resourceVersion": str(index + 2), "generateName": f"web-{group}-",
        "labels": {"app": f"web-{group}", "pod-template-hash": "5d8f7c9b6", "tier": "front"},
        "annotations": {"example.com/checksum": "0" * 64}, "creationTimestamp": "2030-01-01T00:00:00Z",
        "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": f"web-{group}-5d8f7c9b6", "uid": f"rs-{group}",
                             "controller": True, "blockOwnerDeletion": True}],
        "managedFields": [{"manager": "kube-controller-manager", "operation": "Update", "apiVersion": "v1", "time": "2030-01-01T00:00:00Z",
                           "fieldsType": "FieldsV1", "fieldsV1": {f"f:{number}": {} for number in range(40)}}]},
        "spec": {"nodeName": f"node-{index % nodes:05d}", "schedulerName": "default-scheduler", "priority": 0, "restartPolicy": "Always",
                 "volumes": [{"name": "token", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}],
                 "containers": [{"name": "c", "image": f"registry.example.com/image-{group % 20}:1",
                                 "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}},
                                 "env": [{"name": f"E{number}", "value": "v"} for number in range(10)]}],
                 "tolerations": [{"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
                                 for key in ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")]},
        "status": {"phase": "Running", "podIP": "10.0.0.1", "startTime": "2030-01-01T00:00:00Z", "conditions": [
            {"type": kind, "status": "True", "lastTransitionTime": "2030-01-01T00:00:00Z"}
            for kind in ("PodScheduled", "Initialized", "ContainersReady", "Ready")],
            "containerStatuses": [{
                "name": "c", "ready": True, "restartCount": 0, "image": "x", "imageID": f"sha256:{'0' * 64}",
                "containerID": f"containerd://{'0' * 64}", "state": {"running": {"startedAt": "2030-01-01T00:00:00Z"}}}]}}


def page(request: web.Request, make: Callable[[int], dict], count: int) -> web.Response:
    first, limit = int(request.query.get("continue") or 0), int(request.query.get("limit") or count)
    more = {"continue": str(first + limit)} if first + limit < count else {}
    return web.Response(body=orjson.dumps({"kind": "List", "metadata": {"resourceVersion": "99999", **more},
                                           "items": [make(index) for index in range(first, min(count, first + limit))]}),
                        content_type="application/json")


def application(nodes: int, pods: int) -> web.Application:
    async def answer(request: web.Request) -> web.StreamResponse:
        if "watch" in request.query:
            stream = web.StreamResponse()
            await stream.prepare(request)
            await asyncio.sleep(3600)
            return stream
        items: list[dict] = []
        if request.path == "/api/v1/nodes":
            return page(request, node, nodes)
        elif request.path == "/api/v1/pods":
            return page(request, lambda index: pod(index, nodes), pods)
        elif request.method != "GET":
            return web.json_response({"kind": "Status", "code": 403, "reason": "Forbidden"}, status=403)
        return web.Response(body=orjson.dumps({"kind": "List", "metadata": {"resourceVersion": "99999"}, "items": items}),
                            content_type="application/json")

    found = web.Application()
    found.router.add_route("*", "/{rest:.*}", answer)
    return found


def status_of(pid: int) -> dict[str, str]:
    return dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line)


async def measure(nodes: int, pods: int, timeout: float = 120) -> dict:
    """Starts the server and the scheduler; memory in MB once it knows the cluster, and the most it had until then."""
    runner = web.AppRunner(application(nodes, pods), shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    with tempfile.TemporaryDirectory() as home:
        kubeconfig, log = Path(home) / "kubeconfig", Path(home) / "log"
        kubeconfig.write_text(yaml.safe_dump({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{port}"}}], "users": [{"name": "u", "user": {}}]}))
        began = time.monotonic()
        with log.open("wb") as output:
            process = subprocess.Popen([sys.executable, "-c", START, "--kubeconfig", str(kubeconfig), "--secure-port=0",
                                        "--leader-elect=false"], cwd=ROOT, stderr=output)
        try:
            while "Caches are synced" not in (text := log.read_text()):
                if process.poll() is not None or time.monotonic() > began + timeout:
                    raise RuntimeError(f"the scheduler has not come up:\n{text}")
                await asyncio.sleep(0.1)
            took = time.monotonic() - began
            await asyncio.sleep(1.5)
            status = status_of(process.pid)
            synced = next(line for line in text.splitlines() if "Caches are synced" in line)
            return {"nodes": nodes, "pods": pods, "seconds": round(took, 1), "mb": int(status["VmRSS"].split()[0]) // 1024,
                    "peak_mb": int(status["VmHWM"].split()[0]) // 1024, "known": synced.partition("scheduling")[2].strip(' "')}
        finally:
            process.terminate()
            process.wait(10)
            await runner.cleanup()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=5000)
    parser.add_argument("--pods", type=int, default=30000)
    parser.add_argument("--limit", type=int, default=300)
    options = parser.parse_args()
    found = asyncio.run(measure(options.nodes, options.pods))
    print(orjson.dumps(found).decode())
    return int(found["peak_mb"] > options.limit)


if __name__ == "__main__":
    sys.exit(main())
