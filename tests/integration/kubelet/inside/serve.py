"""The kubelet's server: streams, logs, statistics."""
from __future__ import annotations

import asyncio
import struct
import subprocess
import time
import uuid
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from kubepy.base.clock import SystemClock, parse_time
from kubepy.base.http.spdy import DICTIONARY
from kubepy.kubelet.cgroup.tree import Cgroups
from kubepy.kubelet.server.app import App
from kubepy.kubelet.server.listener import Listener
from kubepy.kubelet.server.pressure import Pressures, of_group, of_node, show
from tests.integration.kubelet.inside.world import World, pod, sh

pytestmark = [pytest.mark.root, pytest.mark.asyncio(loop_scope="session")]

async def ask(port: int, head: str, more: bytes = b"", *, until: bytes = b"") -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(head.replace("\n", "\r\n").encode() + b"host: x\r\n\r\n" + more)
    answer = b""
    async with asyncio.timeout(15):
        while data := await reader.read(65536):
            answer += data
            if until and until in answer:
                break
    writer.close()
    return answer


async def test_exec_by_websocket_passes_through(world: World, server: int) -> None:
    await world.until(lambda: world.all_ready("web"))
    answer = await ask(server,
                       "GET /exec/default/web/c?command=echo&command=hi&output=1 HTTP/1.1\nconnection: Upgrade\nupgrade: websocket\n"
                               "sec-websocket-version: 13\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\n"
                               "sec-websocket-protocol: v4.channel.k8s.io\n")
    assert answer.startswith(b"HTTP/1.1 101 ")
    assert b"\x01hi\n" in answer
    assert b'"status":"Success"' in answer


def syn_stream(number: int, kind: str) -> bytes:
    """A SPDY/3.1 SYN_STREAM with one header, stored without compression (which zlib permits)."""
    headers = struct.pack(">I", 1) + b"".join(struct.pack(">I", len(text)) + text for text in (b"streamtype", kind.encode()))
    if number == 1:
        syn_stream.compressor = zlib.compressobj(zdict=DICTIONARY)  # type: ignore[attr-defined]
    compressor = syn_stream.compressor  # type: ignore[attr-defined]
    block = compressor.compress(headers) + compressor.flush(zlib.Z_SYNC_FLUSH)
    body = struct.pack(">IIBB", number, 0, 0, 0) + block
    return struct.pack(">HHI", 0x8003, 1, len(body)) + body


async def test_exec_by_spdy_passes_through_bytes_as_they_are(world: World, server: int) -> None:
    await world.until(lambda: world.all_ready("web"))
    frames = b"".join(syn_stream(number, kind) for number, kind in ((1, "error"), (3, "stdout")))
    answer = await ask(server, "POST /exec/default/web/c?command=printf&command=spdy-%25s&command=works&output=1 HTTP/1.1\n"
                               "connection: Upgrade\nupgrade: SPDY/3.1\nx-stream-protocol-version: v4.channel.k8s.io\ncontent-length: 0\n",
                       frames)
    head, _, rest = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 ")
    assert b"spdy-works" in rest
    assert b'"status":"Success"' in rest


async def test_what_the_server_refuses(world: World, server: int) -> None:
    assert b"Upgrade request required" in await ask(server, "POST /exec/default/web/c?command=x&output=1 HTTP/1.1\nconnection: close\n")
    assert b" 404 " in await ask(server, "GET /containerLogs/default/nopod/c HTTP/1.1\nconnection: close\n")
    assert b'previous terminated container "c" in pod "web" not found' in \
        await ask(server, "GET /containerLogs/default/web/c?previous=true HTTP/1.1\nconnection: close\n")


async def test_logs_and_statistics_are_served(world: World, server: int) -> None:
    await world.until(lambda: world.all_ready("init"))
    assert (await ask(server,
                      "GET /containerLogs/default/init/c?tailLines=5 HTTP/1.1\nconnection: close\n")).endswith(b"from-init\n\r\n0\r\n\r\n")
    summary = (await ask(server, "GET /stats/summary HTTP/1.1\nconnection: close\n")).partition(b"\r\n\r\n")[2]
    assert any(entry["podRef"]["name"] == "web" and entry["containers"] for entry in orjson.loads(summary)["pods"])


async def test_the_nodes_own_logs_are_listed_and_read_and_nothing_else(world: World, server: int) -> None:
    listed = await ask(server, "GET /logs/ HTTP/1.1\nconnection: close\n")
    assert b'<a href="dpkg.log">dpkg.log</a>' in listed
    assert Path("/var/log/dpkg.log").read_bytes()[:40] in await ask(server, "GET /logs/dpkg.log HTTP/1.1\nconnection: close\n")  # noqa: ASYNC240
    for path in ("/logs/../../etc/passwd", "/logs/nothing", "/logs/%2e%2e/%2e%2e/etc/passwd"):
        assert b" 404 " in await ask(server, f"GET {path} HTTP/1.1\nconnection: close\n")


async def test_the_nodes_services_are_asked_for_their_logs_where_that_is_allowed(world: World, server: int) -> None:
    close = "HTTP/1.1\nconnection: close\n"
    assert b"<a href=" in await ask(server, f"GET /logs/?query=dpkg {close}"), "off by default"
    settings = replace(world.settings, system_log_query=True)
    app = App(settings, world.kubelet.pods, world.runtime, world.kubelet.statistics, SystemClock(), None)
    listener = Listener(app)
    port = await listener.start("127.0.0.1", 0, None)
    answer = await ask(port, f"GET /logs/?query=dpkg {close}")  # journald knows no such unit: its usual file
    assert Path("/var/log/dpkg.log").read_bytes()[:40] in answer  # noqa: ASYNC240
    assert Path("/var/log/dpkg.log").read_bytes()[:40] in await ask(port, f"GET /logs/?query=/dpkg.log {close}")  # noqa: ASYNC240
    assert b"log not found for nosuch" in await ask(port, f"GET /logs/?query=nosuch {close}")
    assert b" 406 " in await ask(port, f"GET /logs/?query=/../shadow {close}")
    assert b" 406 " in await ask(port, f"GET /logs/sub?query=dpkg {close}")
    await listener.stop()


async def test_metrics_are_what_the_metrics_server_reads(world: World, server: int) -> None:
    await world.until(lambda: world.all_ready("web"))
    where = 'container="c",namespace="default",pod="web"'
    samples: dict[str, list[str]] = {}

    async def measured() -> bool:
        text = (await ask(server, "GET /metrics/resource HTTP/1.1\nconnection: close\n")).partition(b"\r\n\r\n")[2].decode()
        samples.update({line.rpartition("} ")[0] + "}": line.rpartition("} ")[2].split() for line in text.splitlines() if "} " in line})
        return f"container_cpu_usage_seconds_total{{{where}}}" in samples

    await world.until(measured)
    cpu, started = samples[f"container_cpu_usage_seconds_total{{{where}}}"], samples[f"container_start_time_seconds{{{where}}}"]
    assert float(cpu[0]) > 0
    assert abs(int(cpu[1]) / 1000 - time.time()) < 30, "a sample says when it was measured"
    running = (await world.container("web"))["state"]["running"]["startedAt"]
    assert abs(float(started[0]) - parse_time(running)) < 10
    assert int(float(samples[f"container_memory_working_set_bytes{{{where}}}"][0])) > 0
    probes = await ask(server, "GET /metrics/probes HTTP/1.1\nconnection: close\n")
    assert b'prober_probe_total{container="c",namespace="default",pod="web",probe_type="Readiness",result="successful"}' in probes


async def test_the_kernel_tells_how_long_a_pod_has_waited_for_a_cpu(tmp_path: Path) -> None:
    """By a second mount of the machine's cgroups: version 2 is there too, with pressure and without controllers."""
    if not of_node():
        pytest.skip("this kernel does not count pressure")
    subprocess.run(["mount", "-t", "cgroup2", "cgroup2", str(tmp_path)], check=True)
    tree = Cgroups(f"kubepy-{uuid.uuid4().hex[:8]}", root=tmp_path)
    spec = pod("waits", sh("true"))
    spec["metadata"]["uid"] = "u"
    tree.ensure(spec)
    group = Pressures(tree).pod("u")
    assert group is not None
    busy = [subprocess.Popen(["taskset", "-c", "0", "sh", "-c", f"echo $$ > {group}/cgroup.procs; while :; do :; done"]) for _ in range(3)]
    try:
        end = time.monotonic() + 60
        while not (of_group(group).get("cpu", {}).get("some", {}).get("total") or 0) > 100_000:
            assert time.monotonic() < end, of_group(group)
            await asyncio.sleep(0.1)
        shown: dict[str, Any] = {"cpu": {}, "memory": {}}
        show(shown, of_group(group), "now")
        assert shown["cpu"]["psi"]["some"]["total"] > 100_000
        assert {"total", "avg10", "avg60", "avg300"} == set(shown["memory"]["psi"]["full"])
        assert set(of_node()) == {"cpu", "memory", "io"}
    finally:
        for process in busy:
            process.kill()
            process.wait()
        for _ in range(200):
            if tree.remove_all():
                break
            await asyncio.sleep(0.05)  # who was killed goes in a moment
        subprocess.run(["umount", str(tmp_path)], check=True)
