"""The node's side: its object, CNI, cgroups, settings, admission, static pods, images, the pause program, logs."""
from __future__ import annotations

import asyncio
import base64
import os
import signal
import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest

from kubepy.base.clock import VirtualClock
from kubepy.kubelet.cgroup.process import Processes
from kubepy.kubelet.cgroup.slice import INFINITY, Limits, Slices, parent_of, properties
from kubepy.kubelet.cgroup.tree import Cgroups
from kubepy.kubelet.cni import conflist, write_conflist
from kubepy.kubelet.container.resource import cpu_weight
from kubepy.kubelet.flag import parser, settings_of
from kubepy.kubelet.image.keyring import credentials
from kubepy.kubelet.image.reference import ReferenceError_, normalize
from kubepy.kubelet.node.machine import Machine
from kubepy.kubelet.node.status import RuntimeState, allocatable, node_status, pods_limits, same_but_heartbeat
from kubepy.kubelet.pause import pause_program
from kubepy.kubelet.pod.admission import admit
from kubepy.kubelet.pod.preempt import plan_preemption
from kubepy.kubelet.runtime import write_containerd_config
from kubepy.kubelet.server.access import subresources
from kubepy.kubelet.server.log import LogOptions, OptionsError, options_of, read_log
from kubepy.kubelet.settings import Settings, SettingsError, duration
from kubepy.kubelet.source.file import FileSource, static_pod
from tests.unit.kubelet.test_plan import container, pod

MACHINE = Machine(4, 16 << 30, 100 << 30)
SETTINGS = Settings(node_name="n1", kube_reserved={"cpu": "500m", "memory": "1Gi"})


def test_allocatable_is_capacity_without_what_is_reserved() -> None:
    found = allocatable(SETTINGS, MACHINE)
    assert found["cpu"] == "3500m"
    assert found["memory"] == f"{(16 << 20) - (1 << 20) - 100 * 1024}Ki"
    assert found["ephemeral-storage"] == str((100 << 30) - int((100 << 30) * 0.1))


def test_a_node_without_a_network_is_not_ready_and_says_why() -> None:
    state = RuntimeState("containerd://1.6.20", "", "NetworkReady=false reason:NetworkPluginNotReady message:no CNI")
    found = node_status(SETTINGS, MACHINE, state, [], {}, 1000.0, ips=["192.0.2.1"], port=10250)
    ready = next(entry for entry in found["conditions"] if entry["type"] == "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "KubeletNotReady")
    assert ready["message"] == ("container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message:no CNI")


def test_heartbeats_alone_change_nothing() -> None:
    def at(now: float, old: dict[str, Any], problem: str = "") -> dict[str, Any]:
        return node_status(SETTINGS, MACHINE, RuntimeState("c://1", problem), [], old, now, ips=["192.0.2.1"], port=10250)

    first = at(1000.0, {})
    second = at(2000.0, first)
    assert same_but_heartbeat(first, second)
    third = at(3000.0, second, "down")
    assert not same_but_heartbeat(second, third)
    times = [next(entry for entry in status["conditions"] if entry["type"] == "Ready")["lastTransitionTime"] for status in (first, second,
                                                                                                                            third)]
    assert times[0] == times[1] != times[2]


def test_the_pod_network_follows_the_pod_cidr(tmp_path: Path) -> None:
    assert write_conflist(tmp_path, ["10.244.1.0/24"])
    assert not write_conflist(tmp_path, ["10.244.1.0/24"])
    made = orjson.loads((tmp_path / "10-kubepy.conflist").read_bytes())
    assert made["plugins"][0]["ipam"]["ranges"] == [[{"subnet": "10.244.1.0/24"}]]
    assert [plugin["type"] for plugin in conflist(["10.244.1.0/24", "fd00::/64"])["plugins"]] == ["bridge", "portmap", "bandwidth"]


@pytest.mark.parametrize(("driver", "quality", "name", "path"), [
    ("cgroupfs", "Burstable", "/kubepods/burstable/podu-1", "kubepods/burstable/podu-1"),
    ("cgroupfs", "Guaranteed", "/kubepods/podu-1", "kubepods/podu-1"),
    ("systemd", "BestEffort", "kubepods-besteffort-podu_1.slice",
     "kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-podu_1.slice"),
], ids=["cgroupfs", "guaranteed pods are at the top", "systemd slices"])
def test_cgroup_names(tmp_path: Path, driver: str, quality: str, name: str, path: str) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpu memory pids")
    tree = Cgroups(driver=driver, root=tmp_path)
    assert tree.name(quality, "u-1") == name
    assert tree.directories(name) == {"": tmp_path / path}


def test_a_pods_cgroup_v2_has_its_limits(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpu memory pids")
    tree = Cgroups(root=tmp_path, pids_limit=100)
    spec = pod(container(resources={"limits": {"cpu": "500m", "memory": "64Mi"}}))
    directory = tmp_path / "kubepods" / "podu"
    directory.mkdir(parents=True)
    for file in ("cpu.weight", "cpu.max", "memory.max", "pids.max"):
        (directory / file).write_text("")
    assert tree.ensure(spec) == "/kubepods/podu"
    assert {file: (directory / file).read_text() for file in ("cpu.max", "memory.max", "pids.max")} == {
        "cpu.max": "50000 100000", "memory.max": str(64 << 20), "pids.max": "100"}
    assert tree.pods() == {"u"}


@pytest.mark.parametrize(("text", "seconds"), [("1m30s", 90), ("0", 0), ("100ms", 0.1), ("24h0m0s", 86400)])
def test_durations(text: str, seconds: float) -> None:
    assert duration(text) == pytest.approx(seconds)


def test_flags_win_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\nmaxPods: 50\nclusterDNS: [10.0.0.10]\n"
                    "syncFrequency: 2m\nauthentication: {x509: {clientCAFile: /ca}}\n")
    found = settings_of(parser().parse_args(["--config", str(file), "--max-pods", "20", "--hostname-override", "N1",
                                             "--fail-swap-on=false"]))
    assert (found.max_pods, found.cluster_dns, found.sync_frequency, found.client_ca_file) == (20, ("10.0.0.10",), 120.0, "/ca")
    assert (found.node_name, found.fail_swap_on, found.register_node) == ("n1", False, True)
    file.write_text("kind: Other")
    with pytest.raises(SettingsError):
        settings_of(parser().parse_args(["--config", str(file)]))


@pytest.mark.parametrize(("spec", "others", "reason"), [
    (pod(), [], None),
    (pod(container(resources={"requests": {"cpu": "3"}})), [pod(container(resources={"requests": {"cpu": "1"}}))], "OutOfcpu"),
    (pod(container(ports=[{"containerPort": 1, "hostPort": 80}])), [pod(container(ports=[{"containerPort": 2, "hostPort": 80}]))],
     "NodePorts"),
    (pod(nodeSelector={"a": "b"}), [], "NodeAffinity"),
    (pod(affinity={"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
        {"matchExpressions": [{"key": "a", "operator": "Exists"}]}]}}}), [], "NodeAffinity"),
    (pod(container(securityContext={"appArmorProfile": {"type": "RuntimeDefault"}})), [], "AppArmor"),
    (pod(container(securityContext={"appArmorProfile": {"type": "Unconfined"}})), [], None),
    (pod(securityContext={"sysctls": [{"name": "kernel.msgmax", "value": "1"}]}), [], "SysctlForbidden"),
    (pod(securityContext={"sysctls": [{"name": "kernel.shm_rmid_forced", "value": "1"}]}), [], None),
], ids=["an ordinary pod", "no CPU left", "a taken host port", "another node's labels", "another node's affinity",
        "AppArmor on a kernel without it", "no AppArmor on a kernel without it", "an unsafe sysctl", "a safe sysctl"])
def test_admission(spec: dict[str, Any], others: list[dict[str, Any]], reason: str | None) -> None:
    refused = admit(spec, others, node=lambda: {"metadata": {"labels": {}, "name": "n1"}}, settings=SETTINGS, machine=MACHINE,
                    apparmor=False)
    assert (refused and refused[0]) == reason


def test_static_pods_have_the_nodes_name_and_a_uid_of_their_content(tmp_path: Path) -> None:
    manifest = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "etcd"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    made = static_pod(manifest, "/m/etcd.yaml", "n1", 0.0)
    assert made["metadata"]["name"] == "etcd-n1"
    assert made["metadata"]["annotations"]["kubernetes.io/config.source"] == "file"
    manifest["spec"] = {"containers": [{"name": "c", "image": "j"}]}
    assert static_pod(manifest, "/m/etcd.yaml", "n1", 0.0)["metadata"]["uid"] != made["metadata"]["uid"]
    seen: list[list[str]] = []
    source = FileSource(str(tmp_path), "n1", VirtualClock(), lambda pods: seen.append([entry["metadata"]["name"] for entry in pods]))
    source.look()
    (tmp_path / "a.yaml").write_bytes(orjson.dumps(manifest))
    (tmp_path / "broken.yaml").write_text("kind: Service")
    source.look()
    source.look()
    (tmp_path / "a.yaml").unlink()
    source.look()
    assert seen == [[], ["etcd-n1"], []]


@pytest.mark.parametrize(("image", "full"), [
    ("busybox", "docker.io/library/busybox:latest"), ("a/b:1", "docker.io/a/b:1"), ("localhost:5000/x", "localhost:5000/x:latest"),
    ("registry.k8s.io/pause:3.10", "registry.k8s.io/pause:3.10"),
    ("x@sha256:" + "0" * 64, "docker.io/library/x@sha256:" + "0" * 64)], ids=["bare", "of a user", "of a local registry", "full",
                                                                              "by digest"])
def test_image_names(image: str, full: str) -> None:
    assert normalize(image) == full


def test_an_image_name_that_is_none() -> None:
    with pytest.raises(ReferenceError_):
        normalize("Not/Valid:")


def test_pull_secrets_fit_their_registry() -> None:
    def secret(**auths: dict[str, str]) -> dict[str, Any]:
        data = base64.b64encode(orjson.dumps({"auths": {host.replace("__", "."): entry for host, entry in auths.items()}})).decode()
        return {"type": "kubernetes.io/dockerconfigjson", "data": {".dockerconfigjson": data}}

    both = [secret(reg__example={"username": "a", "password": "b"}), secret(other__example={"auth": base64.b64encode(b"c:d").decode()})]
    assert [(auth.username, auth.password) for auth in credentials("reg.example/x:1", both)] == [("a", "b")]
    assert [auth.username for auth in credentials("other.example/y", both)] == ["c"]
    assert credentials("busybox", both) == []


@pytest.mark.parametrize(("arch", "machine"), [("amd64", 62), ("arm64", 183)])
def test_the_pause_program_is_a_small_static_executable(arch: str, machine: int) -> None:
    program = pause_program(arch)
    assert program[:6] == b"\x7fELF\x02\x01"
    assert struct.unpack_from("<HH", program, 16) == (2, machine)
    assert struct.unpack_from("<Q", program, 24)[0] == 0x400078
    assert len(program) < 400


def test_containerd_has_directories_of_its_own(tmp_path: Path) -> None:
    text = write_containerd_config(tmp_path, cni_conf_dir=tmp_path / "cni", restrict_oom=True, disable_apparmor=True).read_text()
    for line in ("restrict_oom_score_adj = true", "disable_apparmor = true", f'root = "{tmp_path}/root"', f'conf_dir = "{tmp_path}/cni"'):
        assert line in text


LOG = "".join(f"2026-01-01T00:00:{second:02d}.000000000Z std{'err' if second == 2 else 'out'} {tag} {text}\n"
              for second, tag, text in ((1, "F", "one"), (2, "F", "two"), (3, "P", "thr"), (3, "F", "ee"), (4, "F", "four")))


@pytest.mark.parametrize(("query", "expected"), [
    ("", "one\ntwo\nthree\nfour\n"), ("tailLines=1", "four\n"), ("tailLines=0", ""), ("limitBytes=5", "one\nt"), ("stream=Stderr", "two\n"),
    ("sinceTime=2026-01-01T00:00:03Z", "three\nfour\n"), ("timestamps=true&tailLines=1", "2026-01-01T00:00:04.000000000Z four\n"),
    ("tailLines=100", "one\ntwo\nthree\nfour\n"),
], ids=["all", "the last line", "none", "so many bytes", "one stream", "since a time", "with times", "more than there are"])
async def test_logs(tmp_path: Path, query: str, expected: str) -> None:
    path = tmp_path / "0.log"
    path.write_text(LOG)
    options = options_of({key: [value] for key, _, value in (part.partition("=") for part in query.split("&") if part)}, 0.0)

    async def running() -> bool:
        return False

    assert b"".join([piece async for piece in read_log(str(path), options, running, VirtualClock())]).decode() == expected


async def test_a_followed_log_goes_on_through_rotation_and_ends_with_the_container(tmp_path: Path) -> None:
    path, clock, alive = tmp_path / "0.log", VirtualClock(), True
    path.write_text(LOG[:LOG.index("\n") + 1])
    seen: list[bytes] = []

    async def running() -> bool:
        return alive

    async def follow() -> None:
        async for piece in read_log(str(path), LogOptions(follow=True), running, clock):
            seen.append(piece)

    task = asyncio.ensure_future(follow())
    await clock.advance(1)
    path.rename(tmp_path / "0.log.1")
    path.write_text("2026-01-01T00:00:09.000000000Z stdout F nine\n")
    await clock.advance(1)
    alive = False
    await clock.advance(3)
    await task
    assert b"".join(seen) == b"one\nnine\n"


def test_log_options_are_checked() -> None:
    with pytest.raises(OptionsError):
        options_of({"tailLines": ["-1"]}, 0.0)


@pytest.mark.parametrize(("path", "expected"), [("/exec/a/b/c", ("proxy",)), ("/stats/summary", ("stats",)), ("/pods", ("pods", "proxy"))])
def test_what_a_path_needs(path: str, expected: tuple[str, ...]) -> None:
    assert tuple(subresources(path)) == expected


def sized(name: str, cpu: str, *, priority: int = 0, limit: bool = False) -> dict[str, Any]:
    resources: dict[str, Any] = {"requests": {"cpu": cpu}} if cpu else {}
    if limit:
        resources = {side: {"cpu": cpu, "memory": "1Mi"} for side in ("limits", "requests")}
    made = pod(container(resources=resources), priority=priority)
    made["metadata"] = {"name": name, "uid": name, "namespace": "default"}
    return made


CRITICAL = sized("critical", "1", priority=2_000_000_000)


@pytest.mark.parametrize(("others", "expected"), [
    ([sized("a", "500m"), sized("b", "1")], ["a"]),
    ([sized("a", "1"), sized("g", "1", limit=True)], ["a"]),
    ([sized("low", "1"), sized("high", "1", priority=10)], ["low"]),
    ([sized("a", "500m"), sized("b", "500m"), sized("big", "1")], ["big"]),
    ([sized("other", "2", priority=2_000_000_000)], None),
], ids=["one that is enough", "the burstable one before the guaranteed one", "the less important one", "one rather than two",
        "critical pods make no room for each other"])
def test_who_makes_room_for_a_critical_pod(others: list[dict[str, Any]], expected: list[str] | None) -> None:
    found = plan_preemption(CRITICAL, others, {"cpu": "2", "memory": "8Gi", "pods": "10"})
    names = None if found is None else [victim["metadata"]["name"] for victim in found]
    assert names == expected


def test_qos_levels_share_the_cpu_by_what_their_pods_ask_for(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpu memory pids")
    files = ("cpu.weight", "cpu.max", "memory.max")
    tree = Cgroups(root=tmp_path, top=pods_limits(SETTINGS, Machine(4, 16 << 30)))
    for name in ("kubepods", "kubepods/burstable", "kubepods/besteffort"):
        (tmp_path / name).mkdir()
        for file in files:
            (tmp_path / name / file).write_text("")
    tree.start()
    assert (tmp_path / "kubepods" / "memory.max").read_text() == str(15 << 30)
    assert (tmp_path / "kubepods" / "cpu.weight").read_text() == str(cpu_weight(3584))
    assert (tmp_path / "kubepods" / "besteffort" / "cpu.weight").read_text() == "1"
    tree.balance([sized("a", "500m"), sized("b", "500m"), sized("g", "2", limit=True), sized("none", "")])
    assert (tmp_path / "kubepods" / "burstable" / "cpu.weight").read_text() == str(cpu_weight(1024))


def test_memory_that_better_pods_have_asked_for_is_kept_from_the_others(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpu memory pids")
    tree = Cgroups(root=tmp_path, top=Limits(memory=8 << 30), reserved={"memory": "50%"})
    for name in ("kubepods", "kubepods/burstable", "kubepods/besteffort"):
        (tmp_path / name).mkdir()
        for file in ("cpu.weight", "cpu.max", "memory.max"):
            (tmp_path / name / file).write_text("")

    def asking(name: str, memory: str, *sides: str) -> dict[str, Any]:
        return pod(container(name, resources={side: {"cpu": "1", "memory": memory} for side in sides}))

    tree.balance([asking("g", "2Gi", "requests", "limits"), asking("b", "1Gi", "requests")])
    limits = {name: int((tmp_path / "kubepods" / name / "memory.max").read_text()) for name in ("burstable", "besteffort")}
    assert limits == {"burstable": 7 << 30, "besteffort": (7 << 30) - (1 << 29)}


def test_the_kubelet_and_the_system_have_cgroups_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpu memory pids")
    (tmp_path / "cgroup.procs").write_text(f"1\n20\n30\n{os.getpid()}\n")
    for name in ("kubelet", "system"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "cgroup.procs").write_text("")
    (tmp_path / "proc" / "20").mkdir(parents=True)
    (tmp_path / "proc" / "20" / "exe").symlink_to("/usr/sbin/sshd")
    Processes(Cgroups(root=tmp_path), "/kubelet", "/system", tmp_path / "proc").place()
    assert (tmp_path / "kubelet" / "cgroup.procs").read_text().split() == [str(os.getpid())]
    assert (tmp_path / "system" / "cgroup.procs").read_text().split() == ["20"], "not process 1, and not a thread of the kernel"


def test_with_systemd_pods_are_slices_that_are_changed_when_something_changes(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpu memory pids")
    asked: list[list[str]] = []
    there: set[str] = set()

    def run(command: Sequence[str]) -> int:
        words = list(command)[7:]
        asked.append([words[0], words[2]])
        if words[0] == "StartTransientUnit" and words[2] in there:
            return 1
        there.add(words[2])
        return 0

    slices = Slices(v2=True, run=run)
    tree = Cgroups(driver="systemd", root=tmp_path, slices=slices)
    spec = pod(container(resources={"limits": {"cpu": "500m", "memory": "64Mi"}, "requests": {"cpu": "100m"}}))
    assert tree.ensure(spec) == tree.ensure(spec) == "kubepods-burstable-podu.slice"
    tree.relax(spec)
    tree.ensure(spec)
    assert asked == [["StartTransientUnit", "kubepods-burstable-podu.slice"], *[["SetUnitProperties", "kubepods-burstable-podu.slice"]] * 2]
    assert tree.pods() == {"u"}
    Slices(v2=True, run=run).ensure("kubepods-burstable-podu.slice", Limits(102))
    assert [method for method, _ in asked[-2:]] == ["StartTransientUnit", "SetUnitProperties"], "left over from the kubelet before"
    tree.remove_pod("u")
    assert asked[-1] == ["StopUnit", "kubepods-burstable-podu.slice"]
    assert not tree.pods()
    assert properties(Limits(102, 50_000, 64 << 20), v2=True) == [
        "CPUWeight", "t", "4", "CPUQuotaPerSecUSec", "t", "500000", "MemoryMax", "t", str(64 << 20), "TasksMax", "t", str(INFINITY)]
    assert parent_of("kubepods-burstable.slice") == "kubepods.slice"


def test_what_still_runs_in_a_pods_cgroup_is_killed(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").touch()
    left = subprocess.Popen(["sleep", "600"])
    leaf = tmp_path / "kubepods" / "besteffort" / "podu" / "sandbox"
    leaf.mkdir(parents=True)
    (leaf / "cgroup.procs").write_text(f"0\n{left.pid}\n")
    assert not Cgroups(root=tmp_path).remove_pod("u"), "asked again when it has ended"
    assert left.wait(30) == -signal.SIGKILL
