"""A machine that starts has lost its packet rules: pods get no network before policies are in force again."""
from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from kubepy.api.resource import NETWORK_POLICIES
from kubepy.base import boot
from kubepy.base.clock import SystemClock, VirtualClock
from kubepy.base.task import Tasks
from kubepy.cli.component import plan_components
from kubepy.cli.settings import Settings
from kubepy.client.events import EventRecorder
from kubepy.client.informer import InformerFactory
from kubepy.client.memory import MemoryClient
from kubepy.kubelet.cri.fake import FakeRuntime
from kubepy.kubelet.node.agent import NodeAgent
from kubepy.kubelet.node.machine import Machine
from kubepy.kubelet.settings import Settings as KubeletSettings
from kubepy.proxy.backend import BackendError
from kubepy.proxy.policy import enforcer

POLICY = {"metadata": {"name": "deny", "namespace": "x"}, "spec": {"podSelector": {}, "policyTypes": ["Ingress"]}}


@pytest.mark.parametrize(("policies", "works", "ready"), [
    pytest.param([POLICY], True, True, id="policies written"),
    pytest.param([POLICY], False, False, id="policies that cannot be written"),
    pytest.param([], True, True, id="no policies"),
    pytest.param([], False, True, id="no policies, on a machine that could keep none"),
])
async def test_the_enforcer_says_when_policies_are_in_force(tmp_path, monkeypatch, policies, works, ready):
    tried = asyncio.Event()

    async def nft(*command, stdin=b""):
        tried.set()
        if not works:
            raise BackendError("no nft here")
        return b""

    monkeypatch.setattr(enforcer, "run", nft)
    client, tasks, marker = MemoryClient(), Tasks("test"), tmp_path / "ready"
    client.load(NETWORK_POLICIES, *policies)
    factory = InformerFactory(client)
    found = enforcer.Enforcer("node", SystemClock(), marker)
    found.register(factory)
    factory.start(tasks)
    tasks.keep(found.run, "policy")
    async with asyncio.timeout(20):
        await tried.wait()
        while ready and not marker.exists():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    await tasks.stop()
    assert boot.marked(marker) is ready


@pytest.mark.parametrize(("written", "problem"), [
    pytest.param("", "not yet in force", id="nothing written"),
    pytest.param("5d2c-of-an-earlier-boot\n", "not yet in force", id="written before the machine was started"),
    pytest.param(f"{boot.boot_id()}\n", "", id="written in this boot"),
])
async def test_the_node_has_no_network_before(tmp_path, written, problem):
    marker = tmp_path / "ready"
    if written:
        marker.write_text(written)
    clock, client = VirtualClock(), MemoryClient()
    agent = NodeAgent(KubeletSettings(node_name="n", network_ready_file=str(marker)), client, FakeRuntime(clock), Machine(),
                      EventRecorder(client, "kubelet", "n", clock), clock, ips=("192.0.2.1",), port=lambda: 10250, problem=lambda: "",
                      pressures=frozenset)
    await agent.look()
    assert problem in agent.state.network_problem
    assert bool(agent.state.network_problem) is bool(problem)
    boot.mark(marker)
    await agent.look()
    assert not agent.state.network_problem


@pytest.mark.parametrize("backend", ["host-gw", "vxlan", "none"])
def test_proxy_and_kubelet_agree_on_the_file_and_an_add_on_is_not_waited_for(backend):
    parts = {part.name: part.argv for part in plan_components(Settings(data_dir=Path("/data"), network_backend=backend))}
    proxy, kubelet = ({word for word in parts[name] if "network-ready-file" in word} for name in ("proxy", "kubelet"))
    assert proxy == kubelet
    assert bool(kubelet) is (backend != "none")
