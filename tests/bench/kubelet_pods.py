"""How fast pods start and go on a real containerd: through the kubelet, and by the same CRI calls without one.

    python -m tests.bench.kubelet_pods 1 20 50
    python -m tests.bench.kubelet_pods idle 100 60

Runs itself in network and mount namespaces of its own. Prints, in seconds, p50 and p99 of the time from creation to Running for N pods
at once, the time of deletion, and what the bare CRI calls need for the same; or, with `idle`, what N pods that do nothing cost the
kubelet in a minute: its CPU (of one core), its memory, and the calls it makes.
"""
from __future__ import annotations

import argparse
import asyncio
import cProfile
import os
import pstats
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import uvloop

from kubepy.api.resource import NODES, PODS
from kubepy.base.clock import SystemClock
from kubepy.base.log import configure
from kubepy.base.metrics import REGISTRY
from kubepy.client.memory import MemoryClient
from kubepy.kubelet.agent import Kubelet
from kubepy.kubelet.cri import runtime_pb2 as pb
from kubepy.kubelet.cri.client import GrpcRuntime
from kubepy.kubelet.settings import Settings
from tests import containerd as private
from tests import images

SETUP = ("mount --make-rshared / && mkdir -p /run/netns && mount -t tmpfs tmpfs /run/netns && ip link set lo up "
         "&& ip link add up0 type veth peer name up1 && ip addr add 198.51.100.1/24 dev up0 && ip link set up0 up && ip link set up1 up "
         "&& ip route add default dev up0 && exec ")
FOREVER = "trap 'exit 0' TERM; while :; do sleep 3600 & wait $!; done"


def pod(index: int) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": f"p{index}", "namespace": "default"},
            "spec": {"nodeName": "n1", "terminationGracePeriodSeconds": 30, "containers": [
                {"name": "c", "image": images.BUSYBOX, "command": ["sh", "-c", FOREVER]}]}}


def quantile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


async def until(what: Callable[[], bool]) -> None:
    while not what():  # noqa: ASYNC110 - the memory client tells nobody
        await asyncio.sleep(0.02)


async def bare(runtime: GrpcRuntime, count: int, directory: Path) -> tuple[list[float], float]:
    """The CRI calls of a pod's life and nothing else."""
    times: list[float] = []
    found: list[tuple[str, str]] = []

    async def start(index: int) -> None:
        began = time.monotonic()
        config = pb.PodSandboxConfig(metadata=pb.PodSandboxMetadata(name=f"b{index}", uid=f"b{index}", namespace="default"),
                                     log_directory=str(directory / f"b{index}"))
        sandbox = await runtime.run_sandbox(config)
        wanted = pb.ContainerConfig(metadata=pb.ContainerMetadata(name="c"), image=pb.ImageSpec(image=images.BUSYBOX),
                                    command=pod(0)["spec"]["containers"][0]["command"], log_path="c.log")
        container = await runtime.create_container(sandbox, wanted, config)
        await runtime.start_container(container)
        times.append(time.monotonic() - began)
        found.append((sandbox, container))

    async def stop(sandbox: str, container: str) -> None:
        await runtime.stop_container(container, 30)
        await runtime.stop_sandbox(sandbox)
        await runtime.remove_container(container)
        await runtime.remove_sandbox(sandbox)

    await asyncio.gather(*(start(index) for index in range(count)))
    began = time.monotonic()
    await asyncio.gather(*(stop(*pair) for pair in found))
    return times, time.monotonic() - began


async def through(client: MemoryClient, count: int) -> tuple[list[float], float]:
    began = {}
    for index in range(count):
        began[f"p{index}"] = time.monotonic()
        await client.create(PODS, pod(index), "default")
    times: dict[str, float] = {}
    while len(times) < count:
        await asyncio.sleep(0.02)
        for found in client.all(PODS):
            name = found["metadata"]["name"]
            if name not in times and (found.get("status") or {}).get("phase") == "Running":
                times[name] = time.monotonic() - began[name]
    await asyncio.sleep(2)
    ending = time.monotonic()
    for index in range(count):
        await client.delete(PODS, f"p{index}", "default")
    await until(lambda: not client.all(PODS))
    return list(times.values()), time.monotonic() - ending


def calls() -> Counter[str]:
    found: Counter[str] = Counter()
    for family in REGISTRY.collect():
        if family.name == "kubelet_runtime_operations_duration_seconds":
            for sample in family.samples:
                if sample.name.endswith(("_sum", "_count")):
                    found[sample.labels["operation_type"] + sample.name[-4:].replace("ount", "#")] += sample.value  # type: ignore[assignment]
    return found


def memory() -> int:
    """MiB this process has in memory."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) >> 10


async def idle(client: MemoryClient, count: int, seconds: float) -> None:
    print(f"before: {memory()} MiB")
    for index in range(count):
        await client.create(PODS, pod(index), "default")
    await until(lambda: sum((found.get("status") or {}).get("phase") == "Running" for found in client.all(PODS)) == count)
    await asyncio.sleep(5)
    before, cpu, began = calls(), time.process_time(), time.monotonic()
    if os.environ.get("KUBEPY_PROFILE"):
        profile = cProfile.Profile()
        profile.enable()
        await asyncio.sleep(seconds)
        profile.disable()
        pstats.Stats(profile).sort_stats("tottime").print_stats(35)
    else:
        await asyncio.sleep(seconds)
    spent = time.monotonic() - began
    print(f"{count} idle pods: {100 * (time.process_time() - cpu) / spent:.1f} % of a core, {memory()} MiB")
    after = calls()
    print("   ", {key: round(after[key] - before[key], 2) for key in sorted(after) if after[key] - before[key] > 0.01})


async def main(arguments: list[str]) -> None:
    configure(0)
    directory = Path(tempfile.mkdtemp(prefix="kubepy-kubelet-bench-"))
    runtime = private.start(directory / "containerd", own_mounts=False)
    for archive in images.archives().values():
        runtime.ctr("images", "import", "-", data=archive)
    client, cri = MemoryClient(), GrpcRuntime(runtime.endpoint)
    settings = replace(Settings(), node_name="n1", node_ip="198.51.100.1", root_dir=str(directory / "root"),
                       pod_logs_dir=str(directory / "logs"), container_logs_dir=str(directory / "links"),
                       runtime_endpoint=runtime.endpoint, cgroup_root=f"/{directory.name}", cni_conf_dir=str(runtime.cni_conf_dir),
                       cni_data_dir=str(directory / "cni"))
    kubelet = Kubelet(settings, client, cri, SystemClock())
    try:
        await kubelet.start()
        await until(lambda: bool(client.all(NODES)))
        await client.patch(NODES, "n1", {"spec": {"podCIDR": "10.77.0.0/24", "podCIDRs": ["10.77.0.0/24"]}}, type="merge")
        await until(lambda: any(entry["type"] == "Ready" and entry["status"] == "True"
                                for entry in client.all(NODES)[0]["status"]["conditions"]))
        if arguments[:1] == ["idle"]:
            await idle(client, int(arguments[1]), float(arguments[2]) if len(arguments) > 2 else 60.0)
            return
        await through(client, 2)  # warm
        await asyncio.sleep(3)
        for count in map(int, arguments or ["20"]):
            await compare(kubelet, client, cri, count, directory / "bare")
    finally:
        await kubelet.stop()
        await cri.close()
        private.stop(runtime)
        kubelet.cgroups.remove_all()
        shutil.rmtree(directory, ignore_errors=True)


async def compare(kubelet: Kubelet, client: MemoryClient, cri: GrpcRuntime, count: int, directory: Path) -> None:
    for name, work in (("bare CRI", lambda: bare(cri, count, directory)), ("kubelet", lambda: through(client, count))):
        kubelet.pods.ready = name == "kubelet"  # else it would clear pods away that it does not know
        before, cpu = calls(), time.process_time()
        times, ending = await work()
        print(f"{name:9} {count} pods: start p50 {quantile(times, 0.5):.2f} p99 {quantile(times, 0.99):.2f} s, "
              f"deletion {ending:.2f} s, CPU of this process {time.process_time() - cpu:.2f} s", flush=True)
        after = calls()
        print("   ", {key: round(after[key] - before[key], 2) for key in sorted(after) if after[key] - before[key] > 0.01})
        await asyncio.sleep(3)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("counts", nargs="*", metavar="N", help="pods at once (default 20); or: idle N SECONDS")
    parser.parse_args()
    if os.environ.get("KUBEPY_BENCH_INSIDE"):
        uvloop.run(main(sys.argv[1:]))
    else:
        command = SETUP + f"{sys.executable} -m tests.bench.kubelet_pods {' '.join(sys.argv[1:])}"
        sys.exit(subprocess.run(["unshare", "--net", "--mount", "sh", "-c", command], env={**os.environ, "KUBEPY_BENCH_INSIDE": "1"},
                                check=False).returncode)
