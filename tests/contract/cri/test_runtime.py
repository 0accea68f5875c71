"""What the kubelet relies on in a container runtime; the fake must not drift from the real one."""
from __future__ import annotations

import asyncio
import itertools
import uuid

import pytest

from kubepy.kubelet.cri import runtime_pb2 as pb
from kubepy.kubelet.cri.fake import FakeRuntime
from kubepy.kubelet.cri.interface import CriError, Runtime
from kubepy.kubelet.pod.observed import EXITED, RUNNING, pod_view
from tests.images import BUSYBOX

_numbers = itertools.count()


def sandbox_config(name: str = "pod", attempt: int = 0, uid: str = "") -> pb.PodSandboxConfig:
    uid = uid or str(uuid.uuid4())
    return pb.PodSandboxConfig(
        metadata=pb.PodSandboxMetadata(name=name, namespace="default", uid=uid, attempt=attempt), labels={"io.kubernetes.pod.uid": uid},
        log_directory=f"/tmp/kubepy-contract-logs/{uid}", annotations={"a": "b"},
        linux=pb.LinuxPodSandboxConfig(
            cgroup_parent=f"/kubepy-contract/{uid}",
            security_context=pb.LinuxSandboxSecurityContext(namespace_options=pb.NamespaceOption(network=pb.NODE, pid=pb.CONTAINER))))


def container_config(script: str = "sleep 60", name: str = "c", attempt: int = 0, image: str = BUSYBOX) -> pb.ContainerConfig:
    return pb.ContainerConfig(
        metadata=pb.ContainerMetadata(name=name, attempt=attempt), image=pb.ImageSpec(image=image), command=["sh", "-c", script],
        labels={"io.kubernetes.container.name": name}, log_path=f"{name}/{attempt}.log",
        linux=pb.LinuxContainerConfig(security_context=pb.LinuxContainerSecurityContext(
            namespace_options=pb.NamespaceOption(network=pb.NODE, pid=pb.CONTAINER))))


async def started(runtime: Runtime, config: pb.PodSandboxConfig, container: pb.ContainerConfig) -> tuple[str, str]:
    sandbox = await runtime.run_sandbox(config)
    container_id = await runtime.create_container(sandbox, container, config)
    await runtime.start_container(container_id)
    return sandbox, container_id


async def state(runtime: Runtime, container_id: str) -> pb.ContainerStatus:
    return (await runtime.container_status(container_id)).status


async def test_a_sandbox_is_found_by_its_labels_and_keeps_metadata_and_annotations(runtime: Runtime) -> None:
    config = sandbox_config()
    sandbox = await runtime.run_sandbox(config)
    found = await runtime.list_sandboxes({"io.kubernetes.pod.uid": config.metadata.uid})
    assert [item.id for item in found] == [sandbox]
    assert await runtime.list_sandboxes({"io.kubernetes.pod.uid": "another"}) == []
    status = (await runtime.sandbox_status(sandbox)).status
    assert (status.metadata, status.state, dict(status.annotations)) == (config.metadata, pb.SANDBOX_READY, {"a": "b"})
    assert status.linux.namespaces.options.network == pb.NODE


async def test_sandbox_names_are_reserved_for_each_attempt(runtime: Runtime) -> None:
    config = sandbox_config()
    first = await runtime.run_sandbox(config)
    with pytest.raises(CriError, match="reserve"):
        await runtime.run_sandbox(config)
    await runtime.stop_sandbox(first)
    again = sandbox_config(attempt=1, uid=config.metadata.uid)
    second = await runtime.run_sandbox(again)
    assert (await runtime.sandbox_status(first)).status.state == pb.SANDBOX_NOTREADY
    assert (await runtime.sandbox_status(second)).status.state == pb.SANDBOX_READY


async def test_a_container_is_created_then_running_then_exited_with_143_when_stopped(runtime: Runtime) -> None:
    config = sandbox_config()
    sandbox = await runtime.run_sandbox(config)
    container_id = await runtime.create_container(sandbox, container_config("trap 'exit 143' TERM; while :; do sleep 0.05; done"), config)
    assert (await state(runtime, container_id)).state == pb.CONTAINER_CREATED
    await runtime.start_container(container_id)
    await asyncio.sleep(0.3)
    assert (await state(runtime, container_id)).state == pb.CONTAINER_RUNNING
    await runtime.stop_container(container_id, 10)
    ended = await state(runtime, container_id)
    assert (ended.state, ended.exit_code, ended.reason) == (pb.CONTAINER_EXITED, 143, "Error")
    assert ended.finished_at >= ended.started_at >= ended.created_at > 0


async def test_a_container_that_ignores_its_signal_is_killed_after_the_timeout(runtime: Runtime) -> None:
    _, container_id = await started(runtime, sandbox_config(), container_config("trap '' TERM; while :; do sleep 0.05; done", "stubborn"))
    await asyncio.sleep(0.3)
    await runtime.stop_container(container_id, 1)
    assert (await state(runtime, container_id)).exit_code == 137


async def test_stopping_and_removing_what_is_gone_is_no_error(runtime: Runtime) -> None:
    sandbox, container_id = await started(runtime, sandbox_config(), container_config())
    await runtime.stop_sandbox(sandbox)
    assert (await state(runtime, container_id)).state == pb.CONTAINER_EXITED
    await runtime.stop_sandbox(sandbox)
    await runtime.remove_sandbox(sandbox)
    await runtime.remove_sandbox(sandbox)
    await runtime.remove_container(container_id)
    await runtime.stop_container(container_id, 0)
    await runtime.stop_sandbox(sandbox)
    for call in (runtime.container_status(container_id), runtime.sandbox_status(sandbox)):
        with pytest.raises(CriError) as raised:
            await call
        assert raised.value.not_found


async def test_the_missing_image_of_a_container_is_not_found(runtime: Runtime) -> None:
    config = sandbox_config()
    sandbox = await runtime.run_sandbox(config)
    with pytest.raises(CriError) as raised:
        await runtime.create_container(sandbox, container_config(image="docker.io/library/nothing:1"), config)
    assert raised.value.not_found
    assert await runtime.image_status("docker.io/library/nothing:1") is None
    image = await runtime.image_status(BUSYBOX)
    assert image is not None
    assert BUSYBOX in image.repo_tags
    assert image.size > 0


@pytest.mark.parametrize(("script", "code", "output"), [("echo hi", 0, b"hi\n"), ("exit 3", 3, b"")])
async def test_exec_sync_gives_the_code_and_the_output(runtime: Runtime, script: str, code: int, output: bytes) -> None:
    _, container_id = await started(runtime, sandbox_config(), container_config())
    done = await runtime.exec_sync(container_id, ["sh", "-c", script], 5)
    assert (done.exit_code, done.stdout) == (code, output)


async def test_a_pod_view_is_newest_first(runtime: Runtime) -> None:
    config = sandbox_config()
    sandbox, first = await started(runtime, config, container_config("trap 'exit 1' TERM; while :; do sleep 0.05; done"))
    await asyncio.sleep(0.2)
    await runtime.stop_container(first, 2)
    second = await runtime.create_container(sandbox, container_config(attempt=1), config)
    await runtime.start_container(second)
    statuses = [(await runtime.container_status(container.id)).status for container in await runtime.list_containers()
                if container.pod_sandbox_id == sandbox]
    view = pod_view(config.metadata.uid, [(await runtime.sandbox_status(sandbox)).status], [(status, sandbox) for status in statuses])
    assert [(container.attempt, container.state) for container in view.containers] == [(1, RUNNING), (0, EXITED)]
    assert view.newest("c") is view.containers[0]


async def test_events_tell_what_happens_in_a_pod_or_the_runtime_says_it_has_none(runtime: Runtime) -> None:
    """UNIMPLEMENTED is containerd 1.6."""
    config = sandbox_config()
    seen: list[tuple[int, str]] = []
    problem: list[str] = []

    async def listen() -> None:
        try:
            async for event in runtime.events():
                if event.pod_sandbox_status.metadata.uid == config.metadata.uid:
                    seen.append((event.container_event_type, event.container_id))
        except CriError as error:
            problem.append(error.code)

    listener = asyncio.create_task(listen())
    await asyncio.sleep(0.1)
    sandbox, container_id = await started(runtime, config, container_config("sleep 0.3; exit 4"))
    if isinstance(runtime, FakeRuntime):
        runtime.exit("c", 4)
    if problem:
        assert problem == ["UNIMPLEMENTED"]
        assert "1.6" in (await runtime.version()).runtime_version or isinstance(runtime, FakeRuntime)
        return
    try:
        async with asyncio.timeout(90):
            while (pb.CONTAINER_STOPPED_EVENT, container_id) not in seen:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
    finally:
        listener.cancel()
    assert {(pb.CONTAINER_CREATED_EVENT, container_id), (pb.CONTAINER_STARTED_EVENT, container_id),
            (pb.CONTAINER_STARTED_EVENT, sandbox)} <= set(seen)
