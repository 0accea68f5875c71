"""Who may ask the kubelet's server, what the node's logs are asked for, and pressure of pods and containers."""
from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization

from kubepy.api.resource import SUBJECT_ACCESS_REVIEWS
from kubepy.base.clock import VirtualClock
from kubepy.base.watched import Files
from kubepy.cli.pki.issue import Subject, make_ca, make_leaf, new_key
from kubepy.client.memory import MemoryClient
from kubepy.kubelet.cgroup.tree import Cgroups
from kubepy.kubelet.server import pressure
from kubepy.kubelet.server.access import Access
from kubepy.kubelet.server.nodelog import QueryError, journal_arguments, query_of
from kubepy.kubelet.settings import Settings

KEY, OTHER_KEY = new_key(), new_key()
CA, OTHER = make_ca("kubernetes", KEY), make_ca("stranger", OTHER_KEY)


def leaf(name: str, authority: Any = CA, key: Any = KEY) -> bytes:
    made = make_leaf(Subject(name, ("people",), client=True), new_key(), authority, key)
    return bytes(made.public_bytes(serialization.Encoding.DER))


class Reviews(MemoryClient):
    """Allows everything to alice; can be away."""

    away = False
    asked = 0

    async def create(self, resource: Any, obj: Any, *args: Any, **more: Any) -> Any:
        self.asked += 1
        if self.away:
            raise ConnectionError("connection refused")
        assert resource is SUBJECT_ACCESS_REVIEWS
        return {**obj, "status": {"allowed": obj["spec"]["user"] == "alice"}}


@pytest.fixture
def access(tmp_path: Path) -> tuple[Access, Reviews, VirtualClock]:
    import time
    ca = tmp_path / "ca.crt"
    ca.write_bytes(CA.public_bytes(serialization.Encoding.PEM))
    clock, client = VirtualClock(time.time()), Reviews()
    settings = replace(Settings(node_name="n1"), client_ca_file=str(ca))
    return Access(settings, client, clock, Files(clock)), client, clock


async def test_a_certificate_of_an_unknown_authority_is_unauthorized(access: Any) -> None:
    checker, client, _ = access
    assert await checker.check("GET", "/pods", [leaf("alice", OTHER, OTHER_KEY)], "") == (401, "Unauthorized")
    assert await checker.check("GET", "/pods", [], "") == (401, "Unauthorized")
    assert client.asked == 0
    assert await checker.check("GET", "/pods", [leaf("alice")], "") is None
    assert await checker.check("GET", "/pods", [leaf("bob")], "") == (
        403, "Forbidden (user=bob, verb=get, resource=nodes, subresource(s)=[pods proxy])")


async def test_who_was_allowed_is_served_while_the_api_server_is_away(access: Any) -> None:
    checker, client, clock = access
    alice, carol = [leaf("alice")], [leaf("carol")]
    assert await checker.check("POST", "/exec/d/p/c", alice, "") is None
    client.away = True
    await clock.advance(240)
    assert await checker.check("POST", "/exec/d/p/c", alice, "") is None
    refused = await checker.check("POST", "/exec/d/p/c", carol, "")
    assert refused == (500, "Authorization error (user=carol, verb=create, resource=nodes, subresource(s)=[proxy])")
    await clock.advance(61)
    assert (await checker.check("POST", "/exec/d/p/c", alice, ""))[0] == 500


@pytest.mark.parametrize(("query", "said"), [
    pytest.param({"query": [" "]}, (400, 'query: Invalid value: [" "]: query cannot be empty'), id="nothing is asked for"),
    pytest.param({"query": ["kubelet"], "tailLines": ["x"]}, (400, 'tailLines: Invalid value: "x": must be an integer'), id="no number"),
    pytest.param({"query": ["kubelet", "/a.log"]}, (406, 'query: Invalid value: ["kubelet","/a.log"]: cannot specify both services and '
                                                         'files'), id="a service and a file"),
    pytest.param({"query": ["/a.log"], "tailLines": ["1"]}, (406, 'query: Invalid value: ["/a.log"]: cannot specify file with options'),
                 id="part of a file"),
    pytest.param({"query": ["/../etc/shadow"]}, (406, 'query: Invalid value: "/../etc/shadow": path must not contain ..'), id="outside"),
    pytest.param({"query": ["kubelet"], "boot": ["1"]}, (406, "boot: Invalid value: 1: must be less than 1"), id="a boot to come"),
])
def test_log_queries_that_are_refused(query: Any, said: tuple[int, str]) -> None:
    with pytest.raises(QueryError) as raised:
        query_of(query)
    assert (raised.value.code, str(raised.value)) == said


def test_what_journald_is_asked_for() -> None:
    assert query_of({}) is None
    found = query_of({"query": ["kubelet", "containerd"], "sinceTime": ["2026-01-01T02:00:00+02:00"], "tailLines": ["5"],
                      "pattern": ["err;or"], "boot": ["-1"]})
    assert found is not None
    assert journal_arguments(found)[3:] == ["--since=2026-01-01 00:00:00", "--pager-end", "--lines=5", "--unit=kubelet",
                                            "--unit=containerd", "--grep=err;or", "--case-sensitive=false", "--boot", "-1"]


@pytest.mark.parametrize(("driver", "path"), [("cgroupfs", "kubepods/burstable/podu1/c1"),
                                              ("systemd", "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podu1.slice/"
                                                          "cri-containerd-c1.scope")])
def test_pressure_of_a_container(tmp_path: Path, driver: str, path: str) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpu memory io")
    directory = tmp_path / path
    directory.mkdir(parents=True)
    line = "{} avg10=1.50 avg60=0.10 avg300=0.00 total={}\n"
    (directory / "cpu.pressure").write_text(line.format("some", 77) + line.format("full", 5))
    (directory / "io.pressure").write_text(line.format("some", 9) + line.format("full", 8))
    pressures = pressure.Pressures(Cgroups(driver=driver, root=tmp_path))
    entry: dict[str, Any] = {"cpu": {}}
    pressure.show(entry, pressure.of_group(pressures.container("u1", "c1")), "now")
    assert entry["cpu"]["psi"]["some"] == {"total": 77, "avg10": 1.5, "avg60": 0.1, "avg300": 0.0}
    assert entry["io"]["psi"]["full"]["total"] == 8
    assert pressure.of_group(pressures.container("u2", "c1")) == {}


