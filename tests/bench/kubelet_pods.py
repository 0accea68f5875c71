"""How fast pods start and go on a real containerd: through the kubelet, and by the same CRI calls without one.

    python -m tests.bench.kubelet_pods 1 20 50
    python -m tests.bench.kubelet_pods --rounds 5 --trace 20
    python -m tests.bench.kubelet_pods idle 100 60

Runs itself in network and mount namespaces of its own. Prints, in seconds, p50 and p99 of the time from creation to Running for N pods
at once, the time of deletion, and what the bare CRI calls need for the same: in turns, and in the end the kubelet's share by the medians
of all rounds, since a shared machine is never the same twice. `--trace` tells in which step of a start the time goes. With `idle`: what N
pods that do nothing cost the kubelet in a minute: its CPU (of one core), its memory, and the calls it makes.
"""
from __future__ import annotations

import argparse
import asyncio
import contextlib
import cProfile
import os
import pstats
import shutil
import statistics
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
from kubepy.client.informer import Informer
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


Run = tuple[list[float], float, float, float]
"""The times of the starts, of all deletions, and until all ran the CPU of this process and of it with the runtime and all that starts."""


class Spent:
    """CPU seconds of this process, and of it with all it has started, by a cgroup of its own: unlike time, hardly anybody's business."""

    group = Path("/sys/fs/cgroup/cpuacct", f"kubepy-bench-{os.getpid()}")
    alone, together = 0.0, 0.0

    @classmethod
    def join(cls) -> None:
        if cls.group.parent.is_dir():
            cls.group.mkdir()
            (cls.group / "cgroup.procs").write_text(str(os.getpid()))

    @classmethod
    def leave(cls) -> None:
        if cls.group.is_dir():
            (cls.group.parent / "cgroup.procs").write_text(str(os.getpid()))
            with contextlib.suppress(OSError):  # a shim may be about to end
                cls.group.rmdir()

    def __enter__(self) -> Spent:
        self._alone, self._together = time.process_time(), self._all()
        return self

    def __exit__(self, *_: object) -> None:
        self.alone, self.together = time.process_time() - self._alone, self._all() - self._together

    def _all(self) -> float:
        return int((self.group / "cpuacct.usage").read_text()) / 1e9 if self.group.is_dir() else 0.0


async def bare(runtime: GrpcRuntime, count: int, directory: Path, at_once: int) -> Run:
    """The CRI calls of a pod's life and nothing else; `at_once` of them at the same time."""
    times: list[float] = []
    found: list[tuple[str, str]] = []

    limit = asyncio.Semaphore(at_once)

    async def start(index: int) -> None:
        began = time.monotonic()
        async with limit:
            await make(index)
        times.append(time.monotonic() - began)

    async def make(index: int) -> None:
        config = pb.PodSandboxConfig(metadata=pb.PodSandboxMetadata(name=f"b{index}", uid=f"b{index}", namespace="default"),
                                     log_directory=str(directory / f"b{index}"))
        sandbox = await runtime.run_sandbox(config)
        wanted = pb.ContainerConfig(metadata=pb.ContainerMetadata(name="c"), image=pb.ImageSpec(image=images.BUSYBOX),
                                    command=pod(0)["spec"]["containers"][0]["command"], log_path="c.log")
        container = await runtime.create_container(sandbox, wanted, config)
        await runtime.start_container(container)
        found.append((sandbox, container))

    async def stop(sandbox: str, container: str) -> None:
        await runtime.stop_container(container, 30)
        await runtime.stop_sandbox(sandbox)
        await runtime.remove_container(container)
        await runtime.remove_sandbox(sandbox)

    with Spent() as spent:
        await asyncio.gather(*(start(index) for index in range(count)))
    began = time.monotonic()
    await asyncio.gather(*(stop(*pair) for pair in found))
    return times, time.monotonic() - began, spent.alone, spent.together


async def through(client: MemoryClient, count: int) -> Run:
    began: dict[str, float] = {}
    times: dict[str, float] = {}
    done = asyncio.Event()

    def seen(_: Any, found: dict[str, Any]) -> None:
        name = found["metadata"]["name"]
        if name not in times and (found.get("status") or {}).get("phase") == "Running":
            times[name] = time.monotonic() - began[name]
            if len(times) == count:
                done.set()

    informer = Informer(client, PODS)
    informer.add_handler(None, seen, None)
    watching = asyncio.ensure_future(informer.run())
    await informer.wait_synced()
    with Spent() as spent:
        for index in range(count):
            began[f"p{index}"] = time.monotonic()
            await client.create(PODS, pod(index), "default")
        await done.wait()
    watching.cancel()
    await asyncio.sleep(2)
    ending = time.monotonic()
    for index in range(count):
        await client.delete(PODS, f"p{index}", "default")
    await until(lambda: not client.all(PODS))
    return list(times.values()), time.monotonic() - ending, spent.alone, spent.together


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


class Trace:
    """Where the time of starts goes: how long each step took for each pod, and when after the pod's first step it began."""

    def __init__(self, kubelet: Kubelet, cri: GrpcRuntime) -> None:
        self._steps: dict[str, list[tuple[float, float]]] = {}
        self._first: dict[str, float] = {}
        for owner, names in ((kubelet.cgroups, ("ensure",)), (kubelet.volumes, ("mount",)), (kubelet.actor, ("create_sandbox", "start")),
                             (kubelet.images, ("ensure",)), (kubelet.actor.observer, ("observe", "with_sandbox", "with_containers")),
                             (cri, ("run_sandbox", "create_container", "start_container", "sandbox_status", "container_status"))):
            for name in names:
                self._wrap(owner, name)

    def _wrap(self, owner: Any, name: str) -> None:
        work, label = getattr(owner, name), f"{type(owner).__name__}.{name}"

        def note(began: float) -> None:
            task = asyncio.current_task()
            pod = task.get_name() if task is not None else ""
            self._steps.setdefault(label, []).append((began - self._first.setdefault(pod, began), time.monotonic() - began))

        async def waited(*arguments: Any, **named: Any) -> Any:
            began = time.monotonic()
            try:
                return await work(*arguments, **named)
            finally:
                note(began)

        def called(*arguments: Any, **named: Any) -> Any:
            began = time.monotonic()
            try:
                return work(*arguments, **named)
            finally:
                note(began)

        setattr(owner, name, waited if asyncio.iscoroutinefunction(work) else called)

    def show(self) -> None:
        for label, taken in self._steps.items():
            spans = [span for _, span in taken]
            print(f"    {label:32} {len(taken):4} times, begins p50 {quantile([at for at, _ in taken], 0.5):6.3f}, "
                  f"takes p50 {quantile(spans, 0.5):6.3f} p99 {quantile(spans, 0.99):6.3f} s")
        self._steps.clear()
        self._first.clear()


async def main(options: argparse.Namespace) -> None:
    configure(0)
    arguments: list[str] = options.counts
    Spent.join()
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
        trace = Trace(kubelet, cri) if options.trace else None
        for count in map(int, arguments or ["20"]):
            await compare(kubelet, client, cri, count, directory / "bare", options, trace)
    finally:
        await kubelet.stop()
        await cri.close()
        private.stop(runtime)
        kubelet.cgroups.remove_all()
        Spent.leave()
        shutil.rmtree(directory, ignore_errors=True)


async def compare(kubelet: Kubelet, client: MemoryClient, cri: GrpcRuntime, count: int, directory: Path, options: argparse.Namespace,
                  trace: Trace | None) -> None:
    found: dict[str, list[tuple[float, ...]]] = {"bare CRI": [], "kubelet": []}
    for turn in range(options.rounds):
        for name in found if turn % 2 == 0 else reversed(found):
            kubelet.pods.ready = name == "kubelet"  # else it would clear pods away that it does not know
            before = calls()
            times, ending, cpu, every = await (
                bare(cri, count, directory, options.at_once) if name == "bare CRI" else through(client, count))
            found[name].append((quantile(times, 0.5), quantile(times, 0.99), ending, 1000 * cpu / count, 1000 * every / count or 1.0))
            print(f"{name:9} {count} pods: start p50 {quantile(times, 0.5):.2f} p99 {quantile(times, 0.99):.2f} s, "
                  f"deletion {ending:.2f} s, CPU of this process {1000 * cpu / count:.1f} ms a start, "
                  f"with the runtime's {1000 * every / count:.0f}", flush=True)
            after = calls()
            if options.rounds == 1:
                print("   ", {key: round(after[key] - before[key], 2) for key in sorted(after) if after[key] - before[key] > 0.01})
            if name == "kubelet" and trace is not None:
                trace.show()
            await asyncio.sleep(3)
    medians = {name: [statistics.median(column) for column in zip(*rows, strict=True)] for name, rows in found.items()}
    ratios = [mine / other for mine, other in zip(medians["kubelet"], medians["bare CRI"], strict=True)]
    print(f"{count} pods, kubelet / bare CRI by medians: p50 {ratios[0]:.2f}, p99 {ratios[1]:.2f}, deletion {ratios[2]:.2f}; "
          f"CPU of all {ratios[4]:.2f}; of this process {medians['kubelet'][3]:.1f} and {medians['bare CRI'][3]:.1f} ms a start",
          flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("counts", nargs="*", metavar="N", help="pods at once (default 20); or: idle N SECONDS")
    parser.add_argument("--rounds", type=int, default=1, help="how often, in turns with the bare calls")
    parser.add_argument("--at-once", type=int, default=1000, help="how many pods the bare calls start at the same time (default: all)")
    parser.add_argument("--trace", action="store_true", help="print where the time of starts goes")
    chosen = parser.parse_args()
    if os.environ.get("KUBEPY_BENCH_INSIDE"):
        uvloop.run(main(chosen))
    else:
        command = SETUP + f"{sys.executable} -m tests.bench.kubelet_pods {' '.join(sys.argv[1:])}"
        sys.exit(subprocess.run(["unshare", "--net", "--mount", "sh", "-c", command], env={**os.environ, "KUBEPY_BENCH_INSIDE": "1"},
                                check=False).returncode)
