"""Credentials from a program that a kubeconfig names: when it is run, what it is told, what becomes of its answers."""
from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml

from kubepy.base.clock import VirtualClock, format_time
from kubepy.cli.pki import ensure_pki
from kubepy.client.credentials import Credentials
from kubepy.client.kubeconfig import ConfigError, load
from kubepy.client.plugin import Granted, PluginError, parse

V1 = "client.authentication.k8s.io/v1"


def kubeconfig(tmp_path: Path, script: str, **more: Any) -> Path:
    program = tmp_path / "bin" / "login"
    program.parent.mkdir(exist_ok=True)
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    entry = {"apiVersion": V1, "command": "./bin/login", "args": ["get", "token"], "env": [{"name": "WHO", "value": "me"}],
             "interactiveMode": "IfAvailable", **more}
    path = tmp_path / "config"
    path.write_text(yaml.safe_dump({
        "current-context": "c", "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": "https://192.0.2.1", "extensions": [
            {"name": "client.authentication.k8s.io/exec", "extension": {"audience": "a"}}]}}],
        "users": [{"name": "u", "user": {"exec": entry}}]}))
    return path


def answer(**status: str) -> str:
    return orjson.dumps({"apiVersion": V1, "kind": "ExecCredential", "status": status}).decode()


async def test_it_runs_once_until_its_answer_ends_or_is_refused(tmp_path: Path) -> None:
    clock = VirtualClock()
    until = format_time(clock.now() + 60)
    script = f"echo run >> {tmp_path}/runs; cat {tmp_path}/answer"
    config = load(kubeconfig(tmp_path, script))
    (tmp_path / "answer").write_text(answer(token="one", expirationTimestamp=until))
    credentials = Credentials(config, clock)
    assert credentials.plugin is not None
    await asyncio.gather(*(credentials.plugin.ready() for _ in range(5)))
    assert credentials.authorization() == "Bearer one"
    (tmp_path / "answer").write_text(answer(token="two"))
    await credentials.plugin.ready()
    assert credentials.authorization() == "Bearer one"
    await clock.advance(61)
    await credentials.plugin.ready()
    assert credentials.authorization() == "Bearer two"
    (tmp_path / "answer").write_text(answer(token="three"))
    credentials.forget_token()
    await credentials.plugin.ready()
    assert credentials.authorization() == "Bearer three"
    assert (tmp_path / "runs").read_text().count("run") == 3


async def test_it_is_told_what_it_needs(tmp_path: Path) -> None:
    script = f"echo \"$KUBERNETES_EXEC_INFO\" > {tmp_path}/told; echo \"$@ $WHO\" > {tmp_path}/words; echo '{answer(token='t')}'"
    credentials = Credentials(load(kubeconfig(tmp_path, script, provideClusterInfo=True)), VirtualClock())
    assert credentials.plugin is not None
    await credentials.plugin.ready()
    assert (tmp_path / "words").read_text() == "get token me\n"
    assert orjson.loads((tmp_path / "told").read_bytes()) == {"kind": "ExecCredential", "apiVersion": V1, "spec": {
        "cluster": {"server": "https://192.0.2.1", "config": {"audience": "a"}}, "interactive": False}}


async def test_a_certificate_makes_another_identity_towards_the_server(tmp_path: Path) -> None:
    pki = ensure_pki(tmp_path / "pki", node_name="n", addresses=["127.0.0.1"], service_ip="10.96.0.1")
    pair = pki.kubelet_client
    (tmp_path / "answer").write_text(answer(clientCertificateData=pair.cert.read_text(), clientKeyData=pair.key.read_text()))
    credentials = Credentials(load(kubeconfig(tmp_path, f"cat {tmp_path}/answer")), VirtualClock())
    assert credentials.plugin is not None
    await credentials.plugin.ready()
    first = credentials.context()
    assert credentials.context() is first
    pair = pki.admin
    (tmp_path / "answer").write_text(answer(clientCertificateData=pair.cert.read_text(), clientKeyData=pair.key.read_text()))
    credentials.forget_token()
    await credentials.plugin.ready()
    assert credentials.context() is not first


async def test_one_that_fails_says_how_to_mend_it_and_is_not_run_for_each_request(tmp_path: Path) -> None:
    clock = VirtualClock()
    config = load(kubeconfig(tmp_path, f"echo run >> {tmp_path}/runs; exit 3", installHint="get it from there"))
    credentials = Credentials(config, clock)
    assert credentials.plugin is not None
    for _ in range(3):
        with pytest.raises(PluginError, match=r"failed with exit code 3\n\nget it from there"):
            await credentials.plugin.ready()
    assert (tmp_path / "runs").read_text().count("run") == 1
    await clock.advance(2)
    with pytest.raises(PluginError):
        await credentials.plugin.ready()
    assert (tmp_path / "runs").read_text().count("run") == 2


@pytest.mark.parametrize(("changes", "why"), [
    pytest.param({"apiVersion": "client.authentication.k8s.io/v1alpha1"}, "invalid apiVersion", id="a version that is gone"),
    pytest.param({"interactiveMode": None}, "interactiveMode must be specified", id="no word about a terminal"),
    pytest.param({"interactiveMode": "Always"}, "needs a terminal", id="one that needs a terminal"),
    pytest.param({"command": ""}, "command must be specified", id="no command"),
])
def test_what_a_kubeconfig_may_not_say(tmp_path: Path, changes: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        load(kubeconfig(tmp_path, "true", **changes))


@pytest.mark.parametrize(("output", "why"), [
    pytest.param(b"hello", "decoding stdout", id="no JSON"),
    pytest.param(b'{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1beta1"}', "plugin returned version",
                 id="another version"),
    pytest.param(answer().encode(), "didn't return a token or cert/key pair", id="nothing"),
    pytest.param(answer(clientKeyData="k").encode(), "only certificate or key", id="half a pair"),
    pytest.param(answer(token="t", expirationTimestamp="soon").encode(), "soon", id="no time"),
])
def test_answers_that_are_none(output: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse(output, V1)


def test_an_answer_without_an_end_holds() -> None:
    assert parse(answer(token="t").encode(), V1) == Granted("t")
